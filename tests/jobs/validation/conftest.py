"""A map as `train` and `mosaic` leave it, with an old map beside it: real files of known content."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from landcover_jobs.configuration.map_configuration import MapConfiguration
from landcover_jobs.configuration.reading import parse_map
from landcover_jobs.folder import MapFolder
from landcover_jobs.grid.frame import Frame
from landcover_jobs.grid.tiles import mosaic_frame, tiles_of, write_tiles
from landcover_jobs.job import write_json
from landcover_jobs.product.layers import class_layer, new_draft, publishable
from landcover_jobs.records import record_made
from landcover_jobs.validation.accuracy import scores_with_groups
from pyproj import Transformer

JOBS = Path(__file__).parents[3] / "dags" / "landcover" / "jobs"
LEFT, TOP = 5_271_000.0, 2_533_000.0
HEIGHT, WIDTH = 60, 80
# Rows are what the map says.
CROSS_VALIDATED = {
    "transformer": [[450, 30, 0], [20, 380, 5], [0, 10, 105]],
    "random_forest": [[400, 90, 0], [70, 320, 30], [0, 10, 80]],
}


def described(**more: Any) -> dict[str, Any]:
    """Return a configuration of three classes in blocks of 10 x 10 pixels."""
    return {
        "name": "valley", "title": "A valley",
        "area": {"bounds": [LEFT, TOP - HEIGHT * 20, LEFT + WIDTH * 20, TOP]},
        "grid": {"kind": "regular", "crs": "EPSG:3035", "resolution": 20, "tile_pixels": 100, "origin": [LEFT, TOP]},
        "years": {"first": 2018}, "source": {"kind": "folder", "path": "{data}/images"},
        "bands": {"B04": {}}, "composites": {"cloud_mask": {"band": "SCL", "clear": [4]}},
        "classes": [
            {"value": 10, "name": "forest", "colour": "#126136"}, {"value": 20, "name": "grass", "colour": "#a8c256"},
            {"value": 40, "name": "bare", "colour": "#c9b48a"},
        ],
        "validation": {"block_size": 200, "least_overall_accuracy": 0.9, "least_macro_f1": 0.85},
        "old_map": {"path": "{data}/old.tif", "year": 2018, "legend": [
            {"becomes": 10, "values": [1]}, {"becomes": 20, "values": [2]}, {"becomes": 40, "values": [3]}]},
    } | more  # fmt: skip


@dataclass
class JudgedMap:
    """The map's folder, and how to judge it."""

    configuration: MapConfiguration
    folder: MapFolder
    frame: Frame
    file: Path

    def write_map(self, year: int, pixels: np.ndarray, *, models: str = "m1", **more: Any) -> Path:
        """Write the classes and the record of a year's mosaic."""
        folder = self.folder.mosaic(year)
        folder.mkdir(parents=True, exist_ok=True)
        path, draft, layer = folder / "classes.tif", folder / "draft.tif", class_layer(self.configuration)
        with new_draft(draft, layer, self.frame) as file:
            file.write(pixels.astype(np.uint8), 1)
        publishable(draft, path, layer, {})
        draft.unlink()
        counts = {each.name: int((pixels == each.value).sum()) for each in self.configuration.classes}
        content = {"by": "transformer", "models": models, "pixels": counts, "pixel_metres": 20.0}
        content |= {"previous": None, "change": None} | more
        record_made(folder / "mosaic.json", f"key-{pixels.sum()}", [path], content)
        return path

    def write_old_map(self, labels: np.ndarray) -> None:
        """Write the old map: values 1, 2, 3 for the classes' indices; 0 says nothing."""
        with rasterio.open(
            self.folder.root / "old.tif", "w", driver="GTiff", dtype="uint8", count=1, height=HEIGHT, width=WIDTH,
            crs=self.frame.crs, transform=self.frame.transform, nodata=0,
        ) as file:  # fmt: skip
            file.write((labels + 1).astype(np.uint8), 1)

    def write_points(self, rows: np.ndarray, columns: np.ndarray, labels: list, name: str = "points.csv") -> None:
        """Write points at the centres of pixels; a class is its value or its name."""
        x, y = LEFT + (np.asarray(columns) + 0.5) * 20, TOP - (np.asarray(rows) + 0.5) * 20
        lon, lat = Transformer.from_crs("EPSG:3035", "OGC:CRS84", always_xy=True).transform(x, y)
        lines = [f"{one:.8f},{other:.8f},{label}" for one, other, label in zip(lon, lat, labels, strict=True)]
        (self.folder.root / name).write_text("\n".join(["lon,lat,class", *lines]) + "\n")

    def validate(self, year: int) -> subprocess.CompletedProcess[str]:
        """Run the step as the job does."""
        words = [sys.executable, "-m", "landcover_jobs.steps.validate", "--data", str(self.folder.root.parent)]
        words += ["--map", str(self.file), "--year", str(year)]
        outside = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "HEADNODE_"))}
        return subprocess.run(words, cwd=JOBS, env=outside, capture_output=True, text=True, check=False, timeout=120)

    def record(self, year: int) -> dict[str, Any]:
        """Return validation.json."""
        return json.loads(self.folder.validation(year).read_text())


@pytest.fixture
def make(tmp_path: Path):
    """Return a maker of maps with further settings."""

    def make(**more: Any) -> JudgedMap:
        content = described(**more)
        configuration = parse_map(content, "test")
        file = tmp_path / "map.yaml"
        file.write_text(json.dumps(content), encoding="utf-8")
        folder = MapFolder(tmp_path / "data" / configuration.name)
        tiles = tiles_of(configuration)
        frame = mosaic_frame(configuration, tiles)
        write_tiles(folder, tiles, frame)
        names, values, groups = configuration.class_names, configuration.class_values, configuration.validation.groups
        scores = {
            kind: scores_with_groups(np.array(matrix), names, values, groups)
            for kind, matrix in CROSS_VALIDATED.items()
        }
        write_json(folder.models("m1") / "training.json", {"better": "transformer", "scores": scores})
        write_json(folder.current_models, {"key": "m1"})
        return JudgedMap(configuration, folder, frame, file)

    return make


@pytest.fixture
def stripes() -> np.ndarray:
    """Return class indices (y, x) in stripes 20, 40 and 20 pixels wide."""
    return np.tile(np.repeat([0, 1, 2], [20, 40, 20]), (HEIGHT, 1))
