"""A training set: labelled series with the place, fold and trials of each pixel."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

from landcover_jobs.job import StepError, replacing
from landcover_jobs.preparation.store import Series

FILE = "samples.npz"


@dataclass(frozen=True)
class TrainingSet:
    """Arrays of n pixels, in a fixed order (by y from the north, then x), so that the same inputs give the same set."""

    features: npt.NDArray[np.float32]  # (n, period, feature), not normalised, no NaN
    observations: npt.NDArray[np.uint8]  # (n, period)
    labels: npt.NDArray[np.int64]  # (n,) index into configuration.classes
    folds: npt.NDArray[np.int64]  # (n,) 0 to folds - 1
    x: npt.NDArray[np.float64]  # (n,) of the pixel's centre, in the mosaic's CRS
    y: npt.NDArray[np.float64]
    trials: npt.NDArray[np.bool_]  # (trial, n) which pixels each draw has

    @property
    def series(self) -> Series:
        """The pixels' series."""
        return Series(self.features, self.observations)

    def save(self, folder: Path) -> Path:
        """Write the set, whole or not at all."""
        with replacing(folder / FILE) as temporary:
            np.savez_compressed(temporary, **{each.name: getattr(self, each.name) for each in fields(self)})
        return folder / FILE

    @classmethod
    def load(cls, folder: Path) -> TrainingSet:
        """Read a set.

        Raises:
            StepError: it is not there.
        """
        path = folder / FILE
        if not path.is_file():
            raise StepError(f"{path} is missing: run the step `sample` first")
        with np.load(path, allow_pickle=False) as stored:
            return cls(**{each.name: stored[each.name] for each in fields(cls)})
