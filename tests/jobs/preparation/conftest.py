"""Small maps, and cubes in memory that are read as scenes are."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from landcover_jobs.configuration.map_configuration import MapConfiguration
from landcover_jobs.configuration.reading import parse_map
from landcover_jobs.grid.frame import Frame
from landcover_jobs.scenes.inventory import Scene

CLEAR, CLOUD, SHOWS_NOTHING = 4, 9, 0
FRAME = Frame("EPSG:3035", 5_200_000.0, 2_600_000.0, 20.0, 40, 50)


def small_map(**changes: Any) -> MapConfiguration:
    """Return a map of two bands and one index; `composites` is merged, other fields replaced."""
    composites = {
        "cloud_mask": {"band": "SCL", "clear": [CLEAR, 5, 7]},
        "indices": {"NDVI": ["B8", "B4"]},
        "block_pixels": 16,
    }
    content: dict[str, Any] = {
        "name": "small",
        "title": "A small map",
        "area": {"bounds": list(FRAME.bounds)},
        "grid": {"kind": "regular", "crs": FRAME.crs, "resolution": 20.0, "tile_pixels": 50},
        "years": {"first": 2018, "last": 2020},
        "source": {"kind": "folder", "path": "{data}/images"},
        "bands": {"B4": {}, "B8": {}},
        "classes": [
            {"value": 1, "name": "forest", "colour": "#006400"},
            {"value": 2, "name": "other", "colour": "#ffff4c"},
        ],
        "old_map": {"path": "{data}/old.tif", "year": 2018, "legend": [{"becomes": 1, "values": [1, 2]}]},
        "validation": {"block_size": 200},
    }
    composites |= changes.pop("composites", {})
    return parse_map(content | {"composites": composites} | changes, "small map")


@dataclass(frozen=True)
class Cube:
    """Images in memory, (date, band, y, x) beyond all sides of FRAME by `margin`; read as the scenes of a tile are."""

    dates: tuple[str, ...]
    values: np.ndarray
    bands: tuple[str, ...] = ("B4", "B8", "SCL")
    margin: int = 0

    @property
    def scenes(self) -> tuple[Scene, ...]:
        """A scene for each date, named by its number."""
        return tuple(Scene(str(number), date, (20, 40, 30, 50), {}, {}) for number, date in enumerate(self.dates))

    def __call__(self, scenes: Sequence[Scene], bands: Sequence[str], frame: Frame) -> np.ndarray:
        """Return (date, band, y, x), 0 where the cube has nothing."""
        window = FRAME.window_of(frame)
        dates, places = [int(scene.id) for scene in scenes], [self.bands.index(band) for band in bands]
        around = np.pad(self.values[np.ix_(dates, places)], ((0, 0), (0, 0), (99, 99), (99, 99)))
        top, left = window.row + 99 + self.margin, window.column + 99 + self.margin
        return around[:, :, top : top + window.height, left : left + window.width].copy()


def random_cube(seed: int, *, margin: int = 0, clouds: float = 0.1, dates: int = 24) -> Cube:
    """Return images of two bands on random days of 2018, with single cloudy pixels, and strips that show nothing."""
    rng = np.random.default_rng(seed)
    height, width = FRAME.height + 2 * margin, FRAME.width + 2 * margin
    values = rng.integers(1, 9000, (dates, 3, height, width), dtype=np.uint16)
    values[:, 2] = np.where(rng.random((dates, height, width)) < clouds, CLOUD, CLEAR)
    for date in rng.choice(dates, dates // 3, replace=False):
        values[date, :, :, : rng.integers(1, width)] = SHOWS_NOTHING
    days = np.datetime64("2018-01-01") + np.sort(rng.choice(365, dates, replace=False))
    return Cube(tuple(f"{day}T09:30:00Z" for day in days), values, margin=margin)


@pytest.fixture(scope="session")
def frame() -> Frame:
    """Return the frame of the small map's tile."""
    return FRAME


@pytest.fixture(scope="session")
def make_map() -> Callable[..., MapConfiguration]:
    """Return what makes a small map."""
    return small_map


@pytest.fixture(scope="session")
def make_cube() -> Callable[..., Cube]:
    """Return what makes a random cube."""
    return random_cube
