"""What the choice of samples gains where the old map errs: purity of the labels, and accuracy of what learns from them.

The ground is the Romanian valley of the shipped map, as the steps up to `prepare` leave it; its tree cover in classes
is the truth. Out of it old maps are made that err as old maps do, samples are chosen from them by the product's own
code, a random forest learns from each fold's outside, and all pixels of the fold are judged by the truth.
Each seed draws its errors, samples and trees anew. Run from the root of the repository with the jobs' Python:

    PYTHONPATH=dags/landcover/jobs python -m bench.landcover.selection_gain --data DATA
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import rasterio
from landcover_jobs.configuration.map_configuration import MapConfiguration
from landcover_jobs.configuration.reading import parse_map, read_map
from landcover_jobs.folder import MapFolder
from landcover_jobs.grid.frame import Frame, Tile
from landcover_jobs.grid.tiles import read_tiles
from landcover_jobs.samples.choosing import Chooser
from landcover_jobs.samples.old_map import Classes, majority, open_old_map
from landcover_jobs.samples.training_set import TrainingSet
from landcover_jobs.validation.accuracy import confusion, macro_f1, overall_accuracy
from scipy.ndimage import distance_transform_edt
from sklearn.ensemble import RandomForestClassifier

MAP: Final = Path("dags/landcover/maps/romania_valley.yaml")
SEEDS: Final = range(5)
TREES: Final = 100
TOTAL: Final = 500  # pixels of a draw: the same for all ways, where they have as many
WRONG_AT_RANDOM: Final = 0.3
SHIFT: Final = 2  # pixels, 40 m
GROWN: Final = 2
COARSE: Final = 5  # pixels, 100 m

Generator = np.random.Generator
Error = Callable[[Classes, Generator], Classes]


def none(truth: Classes, _random: Generator) -> Classes:
    """Return the truth."""
    return truth


def at_random(truth: Classes, random: Generator) -> Classes:
    """Give three pixels of ten another class, wherever they lie."""
    other = (truth + random.integers(1, truth.max() + 1, truth.shape)) % (truth.max() + 1)
    return np.where(random.random(truth.shape) < WRONG_AT_RANDOM, other, truth).astype(np.int16)


def shifted(truth: Classes, random: Generator) -> Classes:
    """Move the map by 40 m in one of eight directions, as a map of poorer georeferencing lies."""
    rows, columns = [step for step in np.ndindex(3, 3) if step != (1, 1)][int(random.integers(8))]
    padded = np.pad(truth, SHIFT, mode="edge")
    height, width = truth.shape
    return padded[rows * SHIFT : rows * SHIFT + height, columns * SHIFT : columns * SHIFT + width]


def grown(truth: Classes, random: Generator) -> Classes:
    """Grow one class by 40 m over its neighbours, as a generous interpreter draws it."""
    index = int(random.integers(truth.max() + 1))
    near = distance_transform_edt(truth != index) <= GROWN
    return np.where(near, np.int16(index), truth)


def coarse(truth: Classes, random: Generator) -> Classes:
    """Give cells of 100 m the class that most of their pixels have, as CORINE's raster would; cells begin anywhere."""
    top, left = (int(each) for each in random.integers(COARSE, size=2))
    height, width = truth.shape
    ends = (-(top + height) % COARSE, -(left + width) % COARSE)
    padded = np.pad(truth, ((top, ends[0]), (left, ends[1])), mode="edge")
    cells = np.kron(majority(padded, COARSE), np.ones((COARSE, COARSE), dtype=np.int16))
    found = cells[top : top + height, left : left + width]
    return np.where(found < 0, truth, found)  # a tie says nothing


ERRORS: Final[Mapping[str, Error]] = {
    "no error": none, "30 % at random": at_random, "shifted 40 m": shifted, "one class grown 40 m": grown,
    "100 m cells": coarse,
}  # fmt: skip
WAYS: Final[Mapping[str, dict[str, Any]]] = {
    "stratified": {"selection": "stratified", "erosion_pixels": 0},
    "stratified, eroded 1 px": {"selection": "stratified", "erosion_pixels": 1},
    "reliable": {"selection": "reliable", "erosion_pixels": 0},
    "reliable, eroded 1 px": {"selection": "reliable", "erosion_pixels": 1},
}


@dataclass(frozen=True)
class Ground:
    """The valley: its composites on disk, the truth (y, x), and all pixels as a set with folds."""

    configuration: MapConfiguration
    folder: MapFolder
    tiles: tuple[Tile, ...]
    mosaic: Frame
    truth: Classes

    @classmethod
    def of(cls, data: Path) -> Ground:
        """Read the shipped map's folder."""
        configuration = read_map(MAP)
        folder = MapFolder(data / configuration.name)
        tiles, mosaic = read_tiles(folder)
        old_map = configuration.old_map
        if old_map is None:
            raise SystemExit(f"{MAP} has no old map")
        path = Path(old_map.path.replace("{data}", str(folder.root)))
        with open_old_map(path, old_map, configuration.class_values) as reader:
            truth, _ = reader.read(mosaic)
        return cls(configuration, folder, tiles, mosaic, truth)

    def chosen(self, labels: Classes, **samples: Any) -> TrainingSet:
        """Return samples from an old map of these class indices (y, x)."""
        content = self.configuration.model_dump(mode="json")
        values = np.array(self.configuration.class_values, dtype=np.uint8)
        content["samples"] |= {"total": TOTAL, "least_of_class": 1} | samples
        content["old_map"]["legend"] = [{"becomes": value, "values": [value]} for value in values.tolist()]
        content["old_map"]["unknown"] = [0]
        changed = parse_map(content, "measurement")
        stored = np.where(labels < 0, 0, values[labels]).astype(np.uint8)
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            path = Path(folder) / "old.tif"
            with rasterio.open(
                path, "w", driver="GTiff", height=stored.shape[0], width=stored.shape[1], count=1, dtype="uint8",
                crs=self.mosaic.crs, transform=self.mosaic.transform,
            ) as file:  # fmt: skip
                file.write(stored, 1)
            assert changed.old_map is not None  # noqa: S101 - it was set above
            with open_old_map(path, changed.old_map, changed.class_values) as reader:
                return Chooser(self.folder, changed, self.tiles, self.mosaic, reader).choose().training_set

    def truth_of(self, samples: TrainingSet) -> npt.NDArray[np.int64]:
        """Return the true class of each pixel of a set."""
        row = np.floor((self.mosaic.top - samples.y) / self.mosaic.resolution).astype(np.int64)
        column = np.floor((samples.x - self.mosaic.left) / self.mosaic.resolution).astype(np.int64)
        return self.truth[row, column].astype(np.int64)


@dataclass(frozen=True)
class Measured:
    """One seed's figures."""

    pixels: int
    purity: float  # share of the chosen pixels whose label is true
    accuracy: float
    f1: float


def measured(ground: Ground, everything: TrainingSet, error: Error, way: Mapping[str, Any], seed: int) -> Measured:
    """Choose, learn and judge once."""
    labels = error(ground.truth, np.random.default_rng(seed))
    samples = ground.chosen(labels, seed=seed, **way)
    features = samples.features.reshape(len(samples.labels), -1)
    unseen = everything.features.reshape(len(everything.labels), -1)
    said = np.full(len(everything.labels), -1, dtype=np.int64)
    for fold in range(ground.configuration.validation.folds):
        learnt, asked = samples.folds != fold, everything.folds == fold
        model = RandomForestClassifier(TREES, random_state=seed, n_jobs=1)
        said[asked] = model.fit(features[learnt], samples.labels[learnt]).predict(unseen[asked])
    matrix = confusion(everything.labels, said, len(ground.configuration.classes))
    purity = float((samples.labels == ground.truth_of(samples)).mean())
    return Measured(len(samples.labels), purity, overall_accuracy(matrix), macro_f1(matrix))


def spread(figures: list[float], sign: str = "") -> str:
    """Return mean and standard deviation over the seeds."""
    return f"{np.mean(figures):{sign}.3f} ± {np.std(figures, ddof=1):.3f}"


def main() -> None:
    """Print a table: for each kind of error and way of choosing, mean and spread of the seeds."""
    parser = argparse.ArgumentParser(prog="python -m bench.landcover.selection_gain", description=__doc__)
    parser.add_argument("--data", required=True, type=Path, help="the folder with romania_valley, prepared for 2018")
    ground = Ground.of(parser.parse_args().data.expanduser().resolve())
    everything = ground.chosen(ground.truth, selection="all", trials=1)
    print(
        f"{len(everything.labels)} pixels, {np.bincount(everything.labels).tolist()} of the classes; {len(SEEDS)} seeds"
    )
    print(
        "| old map | samples | pixels | purity | overall accuracy | macro F1 | F1 against stratified | seeds better |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name, error in ERRORS.items():
        plain: list[Measured] = []
        for way, settings in WAYS.items():
            found = [measured(ground, everything, error, settings, seed) for seed in SEEDS]
            plain = plain or found
            gains = [one.f1 - other.f1 for one, other in zip(found, plain, strict=True)]
            against = "" if found is plain else spread(gains, "+")
            better = "" if found is plain else f"{sum(gain > 0 for gain in gains)} of {len(gains)}"
            pixels = round(float(np.mean([each.pixels for each in found])))
            columns = [spread([getattr(each, field) for each in found]) for field in ("purity", "accuracy", "f1")]
            print(f"| {name} | {way} | {pixels} | {' | '.join(columns)} | {against} | {better} |", flush=True)


if __name__ == "__main__":
    main()
