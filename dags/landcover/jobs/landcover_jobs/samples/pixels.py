"""Labelled pixels on their way from the tiles into a training set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from landcover_jobs.samples.training_set import TrainingSet

PARTS_OF_PIXEL = 16  # places closer than so many parts of a pixel are the same

Coordinates = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Pixels:
    """Series, labels, folds and places of n pixels."""

    features: npt.NDArray[np.float32]  # (n, period, feature)
    observations: npt.NDArray[np.uint8]  # (n, period)
    labels: Whole  # (n,)
    folds: Whole  # (n,)
    x: Coordinates  # (n,) in the mosaic's CRS
    y: Coordinates

    def __len__(self) -> int:
        """Return n."""
        return len(self.labels)

    def take(self, chosen: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> Pixels:
        """Return some of them."""
        return Pixels(*(getattr(self, each.name)[chosen] for each in fields(self)))

    @classmethod
    def joined(cls, parts: Sequence[Pixels]) -> Pixels:
        """Return all of them; at least one part is wanted."""
        return cls(*(np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(cls)))


def places(x: Coordinates, y: Coordinates, resolution: float) -> tuple[Whole, Whole]:
    """Return coordinates as whole numbers of small parts of a pixel, which compare without rounding errors."""
    unit = resolution / PARTS_OF_PIXEL
    return np.rint(x / unit).astype(np.int64), np.rint(y / unit).astype(np.int64)


def training_set_of(draws: Sequence[Pixels], resolution: float) -> TrainingSet:
    """Put the draws of all trials into one set, each place once, from the north to the south and the west to the east.

    Args:
        draws: the pixels of each trial; at least one.
        resolution: the edge of a pixel, in units of the CRS of x and y.
    """
    together = Pixels.joined(draws)
    column, row = places(together.x, together.y, resolution)
    _, first, number = np.unique(np.stack([-row, column], axis=1), axis=0, return_index=True, return_inverse=True)
    trials = np.zeros((len(draws), len(first)), dtype=bool)
    trials[np.repeat(np.arange(len(draws)), [len(draw) for draw in draws]), number.ravel()] = True
    once = together.take(first)
    return TrainingSet(
        features=once.features, observations=once.observations, labels=once.labels,
        folds=once.folds, x=once.x, y=once.y, trials=trials,
    )  # fmt: skip
