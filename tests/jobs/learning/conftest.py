"""Made-up pixels, and a map's folder with everything that the step `train` reads."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from landcover_jobs.configuration.map_configuration import MapConfiguration
from landcover_jobs.configuration.reading import parse_map
from landcover_jobs.folder import MapFolder
from landcover_jobs.job import write_json
from landcover_jobs.learning.recipe import Labelled
from landcover_jobs.preparation.normalisation import Statistics
from landcover_jobs.samples.training_set import TrainingSet

MAP = {
    "name": "toy",
    "title": "Made-up ground",
    "area": {"bounds": [0, 0, 320, 320]},
    "grid": {"kind": "regular", "crs": "EPSG:3035", "resolution": 10, "tile_pixels": 32},
    "years": {"first": 2018, "last": 2019},
    "source": {"kind": "folder", "path": "{data}/scenes"},
    "bands": {"B3": {}, "B4": {}, "B8A": {}},
    "composites": {"cloud_mask": {"band": "SCL", "clear": [4]}, "indices": {"NDVI": ["B8A", "B4"]}},
    "classes": [
        {"value": 1, "name": "Water", "colour": "#0000ff"},
        {"value": 2, "name": "Grass", "colour": "#00ff00"},
        {"value": 5, "name": "Forest", "colour": "#005500"},
    ],
    "samples": {"given": {"path": "{data}/points.csv", "year": 2018}, "trials": 2},
    "model": {
        "kinds": ["transformer", "random_forest"],
        "transformer": {"width": 16, "layers": 1, "heads": 2, "learning_rate": 5e-3},
        "epochs": 6,
        "batch": 64,
        "trees": 10,
    },
    "tuning": {"epochs": 4},
    "validation": {"folds": 3, "block_size": 80, "groups": {"Green": [2, 5], "Blue": [1]}},
}
PIXELS = 240


@dataclass
class Ground:
    """A map's configuration and folder."""

    data: Path
    configuration: MapConfiguration

    @property
    def folder(self):
        """Return the map's paths."""
        return MapFolder(self.data / self.configuration.name)

    @property
    def variables(self):
        """Return what the job's environment says of the map."""
        return {"LANDCOVER_MAP": self.configuration.model_dump_json(), "LANDCOVER_DATA": str(self.data)}


def labelled(count=300, *, classes=3, seed=5):
    """Return pixels of classes that differ in summer, one composite of each hidden."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, count)
    features = random.normal(size=(count, 12, 4)).astype(np.float32)
    features[:, 5:8, 0] += 2.5 * (labels[:, None] - 1)
    hidden = np.zeros((count, 12), dtype=bool)
    hidden[np.arange(count), random.integers(0, 12, count)] = True
    return Labelled(features, hidden, labels)


@pytest.fixture
def pixels():
    """Return the function that makes pixels up."""
    return labelled


def training_set():
    """Return two draws of labelled pixels in three folds."""
    random = np.random.default_rng(1)
    made = labelled(PIXELS)
    observations = np.where(made.hidden, 0, 2).astype(np.uint8)
    place = np.arange(PIXELS, dtype=np.float64)
    return TrainingSet(
        features=0.2 + 0.02 * made.features,
        observations=observations,
        labels=made.labels,
        folds=np.arange(PIXELS) // 20 % 3,
        x=place,
        y=-place,
        trials=random.random((2, PIXELS)) < 0.8,
    )


@pytest.fixture
def ground(tmp_path):
    """Return a function that makes a map's folder; arguments replace parts of the configuration's `model`."""

    def make(**model):
        configuration = parse_map(json.loads(json.dumps(MAP | {"model": MAP["model"] | model})), "the test's map")
        made = Ground(tmp_path / "data", configuration)
        samples = training_set()
        samples.save(made.folder.samples("0a1b"))
        write_json(made.folder.samples("0a1b") / "samples.json", {"key": "0a1b"})
        write_json(made.folder.current_samples, {"key": "0a1b"})
        frame = {"crs": "EPSG:3035", "left": 0.0, "top": 320.0, "resolution": 10.0, "height": 32, "width": 32}
        write_json(made.folder.tiles, {"tiles": [{"name": "r0c0", "frame": frame}], "frame": frame})
        statistics = Statistics.of(samples.features).as_dict()
        record = made.folder.composites(2018, "r0c0").with_suffix(".json")
        write_json(record, {"key": "c0", "outputs": {}, "statistics": statistics})
        return made

    return make
