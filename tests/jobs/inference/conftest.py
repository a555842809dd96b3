"""Tiny models, and a map of two tiles with composites and models, as the steps before `classify` leave them."""

import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from landcover_jobs.configuration.learning import TransformerSettings
from landcover_jobs.configuration.map_configuration import MapConfiguration
from landcover_jobs.configuration.reading import parse_map
from landcover_jobs.folder import MapFolder
from landcover_jobs.grid.frame import Frame, Tile
from landcover_jobs.grid.tiles import write_tiles
from landcover_jobs.inference.export import export_transformer, export_trees
from landcover_jobs.job import write_json
from landcover_jobs.learning.model_set import ModelSet, member_name
from landcover_jobs.learning.transformer import PixelTransformer, days_of_periods, probabilities
from landcover_jobs.preparation.normalisation import Normalisation, Statistics
from landcover_jobs.preparation.store import NEVER_SEEN, create_store, open_store, read_block
from landcover_jobs.records import record_made
from landcover_jobs.steps import classify as step
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

PERIODS, FEATURES, CLASSES = 12, 3, 3
FOLDS, TRIALS = 3, 3
EDGE = 40
YEAR = 2019
CRS = "EPSG:32634"


def drawn_series(count, *, seed=0):
    """Return normalised features and hidden periods, never all of a pixel's."""
    random = np.random.default_rng(seed)
    hidden = random.random((count, PERIODS)) < 0.3
    hidden[:, 5] = False
    return random.normal(size=(count, PERIODS, FEATURES)).astype(np.float32), hidden


def labels_of(features):
    """Return three classes that two features of a summer composite tell apart."""
    return (features[:, 6, 0] > 0).astype(np.int64) + (features[:, 6, 1] > 0)


@pytest.fixture(scope="session")
def series():
    """Return a function that draws series of 12 periods and 3 features."""
    return drawn_series


@pytest.fixture(scope="session")
def fitted():
    """Return a function that fits trees on series of three classes, or of those only that are asked for."""

    def fit(kind, *, seed=1, classes=(0, 1, 2)):
        features, _ = drawn_series(600, seed=seed)
        labels = labels_of(features)
        keep = np.isin(labels, classes)
        model = {
            "random_forest": RandomForestClassifier(40, random_state=seed, n_jobs=1),
            "gradient_boosting": HistGradientBoostingClassifier(max_iter=30, random_state=seed),
        }[kind]
        return model.fit(features[keep].reshape(int(keep.sum()), -1), labels[keep])

    return fit


@pytest.fixture(scope="session")
def transformer(tmp_path_factory):
    """Return a small transformer, its file, and what PyTorch says of series."""
    torch.manual_seed(7)
    settings = TransformerSettings(width=16, layers=2, heads=2)
    model = PixelTransformer(FEATURES, CLASSES, days_of_periods(PERIODS), settings).eval()
    with torch.no_grad():
        model.head.weight.mul_(8)  # as decided as a trained one
    path = tmp_path_factory.mktemp("transformer") / "transformer.onnx"
    export_transformer(model, path, PERIODS, FEATURES)
    return SimpleNamespace(model=model, path=path, predict=lambda x, hidden: probabilities(model, x, hidden))


def configuration_of(**changes: Any) -> MapConfiguration:
    """Return a map of two tiles of 40 x 40 pixels; `changes` are of whole sections."""
    content = {
        "name": "small",
        "title": "Small",
        "area": {"bounds": [600_000, 5_000_000 - 20 * EDGE, 600_000 + 40 * EDGE, 5_000_000]},
        "grid": {"kind": "regular", "crs": CRS, "resolution": 20, "tile_pixels": EDGE},
        "years": {"first": 2018},
        "source": {"kind": "folder", "path": "{data}/scenes"},
        "bands": {"red": {}, "nir": {}},
        "composites": {
            "cloud_mask": {"band": "SCL", "clear": [4, 5]},
            "indices": {"ndvi": ["nir", "red"]},
            "block_pixels": 16,
        },
        "classes": [
            {"value": 10, "name": "forest", "colour": "#006400"},
            {"value": 20, "name": "meadow", "colour": "#ffff4c"},
            {"value": 30, "name": "water", "colour": "#0064c8"},
        ],
        "old_map": {"path": "{data}/old.tif", "year": 2018, "legend": [{"becomes": 10, "between": [0, 99]}]},
        "samples": {"trials": TRIALS},
        "validation": {"folds": FOLDS, "block_size": 300},
    }
    return parse_map({**content, **changes}, "test")


@dataclass
class SmallMap:
    """A map's folder up to the step `classify`."""

    data: Path
    configuration: MapConfiguration
    tiles: tuple[Tile, ...]
    mosaic: Frame
    forests: dict[tuple[int, int], RandomForestClassifier]

    @property
    def folder(self):
        """The map's own folder."""
        return MapFolder(self.data / self.configuration.name)

    def fill_composites(self, tile, *, seed):
        """Write random composites of a tile; its first row is never seen, and some periods have no observation."""
        random = np.random.default_rng(seed)
        path = self.folder.composites(YEAR, tile.name)
        group = create_store(path, self.configuration, tile.frame, YEAR)
        bands = random.integers(100, 6000, size=group["bands"].shape).astype(np.uint16)
        observations = random.integers(0, 4, size=group["observations"].shape).astype(np.uint8)
        bands[:, :, 0], observations[:, 0] = NEVER_SEEN, 0
        group["bands"][:], group["observations"][:] = bands, observations
        statistics = Statistics.of(self.series(tile).features)
        record_made(path.with_suffix(".json"), f"composites-{seed}", [path], {"statistics": statistics.as_dict()})

    def series(self, tile):
        """Return the series of a whole tile."""
        (whole,) = tile.frame.blocks(10_000)
        return read_block(open_store(self.folder.composites(YEAR, tile.name)), whole, self.configuration)

    @property
    def normalisation(self):
        """That of all tiles of the year together."""
        return Normalisation.of(Statistics.of(self.series(tile).features) for tile in self.tiles)

    def train(self, key, *, seed):
        """Write a set of models, random forests, and make it the current one."""
        folder = self.folder.models(key)
        for trial in range(TRIALS):
            for fold in range(FOLDS):
                features, _ = drawn_series(300, seed=seed + 10 * trial + fold)
                labels = labels_of(features + np.random.default_rng(seed + trial).normal(size=features.shape))
                forest = RandomForestClassifier(5, max_depth=3, random_state=fold, n_jobs=1)
                self.forests[trial, fold] = forest.fit(features.reshape(len(features), -1), labels)
                path = folder / f"{member_name('random_forest', trial, fold)}.onnx"
                export_trees(forest, path, PERIODS, FEATURES, classes=CLASSES)
        content = {
            "kinds": ["random_forest"],
            "better": "random_forest",
            "trials": TRIALS,
            "folds": FOLDS,
            "classes": list(self.configuration.class_names),
            "features": list(self.configuration.features),
            "periods": PERIODS,
            "normalisation": self.normalisation.as_dict(),
        }
        write_json(folder / "training.json", content)
        write_json(self.folder.current_models, {"key": key})
        return ModelSet.current(self.folder)


def begin_map(data: Path, mosaic: Frame | None, **changes: Any) -> SmallMap:
    """Make the two tiles, their composites and a first set of models."""
    configuration = configuration_of(**changes)
    left, middle = 600_000.0, 600_000.0 + 20 * EDGE
    tiles = tuple(
        Tile(name, Frame(CRS, x, 5_000_000.0, 20.0, EDGE, EDGE)) for name, x in (("r0c0", left), ("r0c1", middle))
    )
    whole = mosaic or Frame(CRS, left, 5_000_000.0, 20.0, EDGE, 2 * EDGE)
    made = SmallMap(data, configuration, tiles, whole, {})
    write_tiles(made.folder, tiles, whole)
    for seed, tile in enumerate(tiles):
        made.fill_composites(tile, seed=seed)
    made.train("models-a", seed=100)
    return made


@pytest.fixture
def small_map(tmp_path):
    """Return a function that begins a map; it takes sections that differ, and the mosaic's frame."""
    return lambda mosaic=None, **changes: begin_map(tmp_path, mosaic, **changes)


@pytest.fixture
def classify(monkeypatch):
    """Return a function that runs the step, in this process, for one of a map's tiles."""

    def run(made, element=0):
        monkeypatch.setenv("LANDCOVER_MAP", json.dumps(made.configuration.model_dump(mode="json")))
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", str(element))
        monkeypatch.setenv("SLURM_CPUS_PER_TASK", "2")
        monkeypatch.setattr("sys.argv", ["classify", "--data", str(made.data), "--year", str(YEAR)])
        return step.main()

    return run
