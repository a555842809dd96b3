"""A small map on the disk as `search`, `train` and `classify` leave it, made of real files."""

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
from landcover_jobs.grid.frame import Frame, Tile
from landcover_jobs.grid.tiles import mosaic_frame, tiles_of, write_tiles
from landcover_jobs.job import write_json
from landcover_jobs.product.predictions import SCORE_SCALE, UNSEEN
from landcover_jobs.records import file_sha256, record_made

JOBS = Path(__file__).parents[3] / "dags" / "landcover" / "jobs"
LEFT, TOP = 5_271_000.0, 2_533_000.0
CLASSES = (
    {"value": 10, "name": "forest", "colour": "#126136"},
    {"value": 20, "name": "grass", "colour": "#a8c256"},
    {"value": 40, "name": "bare ground", "colour": "#c9b48a"},
)


def content(*, height=40, width=60, tile=24, overlap=6, **more: Any) -> dict[str, Any]:
    """Return a map's configuration of so many pixels of 20 m, cut into tiles."""
    bounds = [LEFT, TOP - height * 20, LEFT + width * 20, TOP]
    grid = {"kind": "regular", "crs": "EPSG:3035", "resolution": 20, "tile_pixels": tile}
    return {
        "name": "valley", "title": "A valley", "area": {"bounds": bounds},
        "grid": grid | {"overlap_pixels": overlap, "origin": [LEFT, TOP]},
        "years": {"first": 2018, "last": 2022}, "source": {"kind": "folder", "path": "{data}/images"},
        "bands": {"B04": {}, "B08": {}}, "composites": {"cloud_mask": {"band": "SCL", "clear": [4, 5]}},
        "classes": list(CLASSES), "validation": {"block_size": 200},
        "old_map": {"path": "{data}/old.tif", "year": 2018, "legend": [
            {"becomes": 10, "values": [1]}, {"becomes": 20, "values": [2]}, {"becomes": 40, "values": [3]}]},
    } | more  # fmt: skip


@dataclass
class MadeMap:
    """The map's data folder, its tiles, and how to run a step on it."""

    configuration: MapConfiguration
    folder: MapFolder
    tiles: tuple[Tile, ...]
    frame: Frame
    file: Path

    def predict(self, year: int, tile: Tile, scores: np.ndarray, observations: np.ndarray, *, models="m1") -> Path:
        """Write a tile's predictions: scores (class, y, x) with NaN where unseen, observations (y, x)."""
        path = self.folder.predictions(year, tile.name)
        write_predictions(path, tile.frame, scores, observations)
        record = {"tile": tile.name, "year": year, "by": "transformer", "models": models}
        key = f"{models}-{year}-{tile.name}-{file_sha256(path)}"
        record_made(path.with_suffix(".json"), key, [path], record)
        return path

    def predict_all(self, year: int, scores: np.ndarray, observations: np.ndarray) -> None:
        """Cut scores (class, y, x) of the whole mosaic into the tiles, which then agree where they overlap."""
        for tile in self.tiles:
            rows, columns = self.frame.window_of(tile.frame).slices
            self.predict(year, tile, scores[:, rows, columns], observations[rows, columns])

    def use_models(self, key: str = "m1", **record: Any) -> None:
        """Let a set of models be the current one."""
        write_json(self.folder.models(key) / "training.json", {"better": "transformer"} | record)
        write_json(self.folder.current_models, {"key": key})

    def run(self, step: str, year: int) -> subprocess.CompletedProcess[str]:
        """Run a step as the job does; its result is the last line's."""
        words = [sys.executable, "-m", f"landcover_jobs.steps.{step}", "--data", str(self.folder.root.parent)]
        words += ["--map", str(self.file), "--year", str(year)]
        outside = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "HEADNODE_"))}
        return subprocess.run(words, cwd=JOBS, env=outside, capture_output=True, text=True, check=False, timeout=120)


def write_predictions(path: Path, frame: Frame, scores: np.ndarray, observations: np.ndarray) -> None:
    """Write what `classify` writes of a tile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unseen = ~np.isfinite(scores).all(axis=0)
    stored = np.where(unseen, UNSEEN, np.rint(np.nan_to_num(scores) * SCORE_SCALE)).astype(np.uint8)
    with rasterio.open(
        path, "w", driver="GTiff", dtype="uint8", count=len(scores) + 1, height=frame.height, width=frame.width,
        crs=frame.crs, transform=frame.transform, tiled=True, blockxsize=16, blockysize=16, compress="deflate",
    ) as file:  # fmt: skip
        file.write(np.concatenate([stored, observations[None].astype(np.uint8)]))


def make_map(root: Path, described: dict[str, Any]) -> MadeMap:
    """Write the tiles and models of a map into a folder."""
    configuration = parse_map(described, "test")
    file = root / "map.yaml"
    root.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(described), encoding="utf-8")  # JSON is YAML
    folder = MapFolder(root / "data" / configuration.name)
    tiles = tiles_of(configuration)
    frame = mosaic_frame(configuration, tiles)
    write_tiles(folder, tiles, frame)
    made = MadeMap(configuration, folder, tiles, frame, file)
    made.use_models()
    return made


@pytest.fixture
def valley(tmp_path: Path) -> MadeMap:
    """Return a map of 40 x 60 pixels in six overlapping tiles."""
    return make_map(tmp_path, content())


@pytest.fixture
def make(tmp_path: Path):
    """Return a maker of maps of other sizes and settings."""
    return lambda **settings: make_map(tmp_path, content(**settings))


def random_scores(classes: int, shape: tuple[int, int], seed: int) -> np.ndarray:
    """Return probabilities (class, y, x)."""
    return np.random.default_rng(seed).dirichlet(np.ones(classes), size=shape).transpose(2, 0, 1).astype(np.float32)


@pytest.fixture(name="random_scores")
def _random_scores():
    return random_scores


@pytest.fixture(name="write_predictions")
def _write_predictions():
    return write_predictions


@pytest.fixture(name="make_map")
def _make_map():
    return make_map
