"""A map of two overlapping tiles with composites, and an old map on disk, as the steps before `sample` leave them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from landcover_jobs.configuration.map_configuration import MapConfiguration
from landcover_jobs.configuration.reading import parse_map
from landcover_jobs.folder import MapFolder
from landcover_jobs.grid.frame import Frame, Tile
from landcover_jobs.grid.tiles import mosaic_frame, write_tiles
from landcover_jobs.preparation.store import NEVER_SEEN, create_store
from landcover_jobs.records import record_made

CRS = "EPSG:32634"
LEFT, TOP, RESOLUTION = 600_000.0, 5_100_000.0, 10.0
HEIGHT, WIDTH = 48, 80  # of the whole area
TILES = (
    Tile("west", Frame(CRS, LEFT, TOP, RESOLUTION, HEIGHT, 48)),
    Tile("east", Frame(CRS, LEFT + 32 * RESOLUTION, TOP, RESOLUTION, HEIGHT, 48)),
)
WHOLE = Frame(CRS, LEFT, TOP, RESOLUTION, HEIGHT, WIDTH)
YEAR = 2018
WATER, GRASS, FOREST = 0, 1, 2
REFLECTANCE = {WATER: (0.05, 0.02), GRASS: (0.10, 0.30), FOREST: (0.03, 0.40)}  # red, near infrared


def true_classes() -> np.ndarray:
    """Return the ground (y, x): a lake in the west, grass, forest in the east with a clearing."""
    ground = np.full((HEIGHT, WIDTH), GRASS)
    ground[4:24, 4:24] = WATER
    ground[:, 44:] = FOREST
    ground[20:32, 56:68] = GRASS
    return ground


def written(path: Path, values: np.ndarray, frame: Frame = WHOLE, **profile: Any) -> Path:
    """Write one band as GeoTIFF."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = values.shape
    settings = {"crs": frame.crs, "transform": frame.transform, "dtype": values.dtype} | profile
    with rasterio.open(path, "w", driver="GTiff", height=height, width=width, count=1, **settings) as file:
        file.write(values, 1)
    return path


@dataclass
class Ground:
    """A map's configuration and its folder."""

    data: Path
    content: dict[str, Any]

    @property
    def map(self) -> MapConfiguration:
        """The configuration as it is now."""
        return parse_map(self.content, "toy map")

    @property
    def folder(self) -> MapFolder:
        """The map's paths."""
        return MapFolder(self.data / "toy")

    @property
    def mosaic(self) -> Frame:
        """The frame of all tiles."""
        return mosaic_frame(self.map, TILES)

    def samples(self, **settings: Any) -> None:
        """Change settings of the samples."""
        self.content["samples"] = self.content["samples"] | settings


def composites(ground: Ground, *, unseen: np.ndarray | None = None, seed: int = 3) -> None:
    """Write the composites of both tiles: noisy reflectances of the true classes; `unseen` (y, x) is never shown."""
    random = np.random.default_rng(seed)
    classes = true_classes()
    bands = np.stack([np.vectorize(lambda index, band=band: REFLECTANCE[index][band])(classes) for band in range(2)])
    series = bands[None] * random.uniform(0.9, 1.1, (12, 2, HEIGHT, WIDTH))
    stored = np.rint(series * 10_000).astype(np.uint16)
    if unseen is not None:
        stored[:, :, unseen] = NEVER_SEEN
    for tile in TILES:
        path = ground.folder.composites(YEAR, tile.name)
        group = create_store(path, ground.map, tile.frame, YEAR)
        rows, columns = WHOLE.window_of(tile.frame).slices
        group["bands"][:] = stored[:, :, rows, columns]
        group["observations"][:] = 2
        record_made(path.with_suffix(".json"), f"composites of {tile.name} {seed}", [path], {})


CONTENT: dict[str, Any] = {
    "name": "toy",
    "title": "Made-up ground",
    "area": {"bounds": list(WHOLE.bounds)},
    "grid": {"kind": "regular", "crs": CRS, "resolution": RESOLUTION, "tile_pixels": 40},
    "years": {"first": 2018, "last": 2019},
    "source": {"kind": "folder", "path": "{data}/scenes"},
    "bands": {"B4": {}, "B8": {}},
    "composites": {
        "cloud_mask": {"band": "SCL", "clear": [4]},
        "indices": {"NDVI": ["B8", "B4"]},
        "block_pixels": 16,
    },
    "classes": [
        {"value": 5, "name": "Water", "colour": "#0000ff"},
        {"value": 1, "name": "Grass", "colour": "#00ff00"},
        {"value": 9, "name": "Forest", "colour": "#005500"},
    ],
    "old_map": {
        "path": "{data}/old.tif",
        "year": YEAR,
        "legend": [
            {"becomes": 5, "values": [50]},
            {"becomes": 1, "between": [10, 19]},
            {"becomes": 9, "values": [30, 31]},
        ],
        "unknown": [99],
    },
    "samples": {"selection": "stratified", "erosion_pixels": 0, "total": 300, "least_of_class": 20},
    "validation": {"folds": 3, "block_size": 80},
}
VALUES = np.array([50, 12, 30], dtype=np.uint8)  # of the old map, by class index


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    """Return a map whose old map is right everywhere and whose composites are there."""
    found = Ground(tmp_path, {key: dict(value) if isinstance(value, dict) else value for key, value in CONTENT.items()})
    write_tiles(found.folder, TILES, found.mosaic)
    written(found.folder.root / "old.tif", VALUES[true_classes()])
    composites(found)
    return found


@pytest.fixture
def write_raster() -> Callable[..., Path]:
    """Return what writes a raster."""
    return written


@pytest.fixture
def truth() -> np.ndarray:
    """Return the class index of the whole area (y, x)."""
    return true_classes()


@pytest.fixture
def prepare_again() -> Callable[..., None]:
    """Return what writes the composites anew."""
    return composites
