"""Mean 0 and deviation 1 for every composite and feature over all tiles of a year.

This takes out most of what differs between years without being land cover: dates of the images, haze, dry summers. No
label is used. A year's figures are fixed at their first use by a set of models, so that a tile that has not changed is
classified alike whatever became of the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

LEAST_DEVIATION = 1e-6


@dataclass(frozen=True)
class Statistics:
    """How many pixels were seen, and per (period, feature) their mean and sum of squared differences from it."""

    count: int
    mean: npt.NDArray[np.float64]
    squares: npt.NDArray[np.float64]

    @classmethod
    def of(cls, features: npt.NDArray[np.float32]) -> Statistics:
        """Return those of (pixel, period, feature), pixels never seen (NaN) left out."""
        seen = features[np.isfinite(features).all(axis=(1, 2))].astype(np.float64)
        if not len(seen):
            shape = features.shape[1:]
            return cls(0, np.zeros(shape), np.zeros(shape))
        mean = seen.mean(axis=0)
        return cls(len(seen), mean, np.square(seen - mean).sum(axis=0))

    def merged(self, other: Statistics) -> Statistics:
        """Return those of both sets of pixels together (Chan, Golub and LeVeque 1983)."""
        count = self.count + other.count
        if not count:
            return self
        step = other.mean - self.mean
        mean = self.mean + step * (other.count / count)
        squares = self.squares + other.squares + np.square(step) * (self.count * other.count / count)
        return Statistics(count, mean, squares)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"count": self.count, "mean": self.mean.tolist(), "squares": self.squares.tolist()}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Statistics:
        """Read what as_dict returned."""
        return cls(int(stored["count"]), np.array(stored["mean"]), np.array(stored["squares"]))


@dataclass(frozen=True)
class Normalisation:
    """What is taken from and divided out of every (period, feature)."""

    mean: npt.NDArray[np.float32]
    deviation: npt.NDArray[np.float32]

    @classmethod
    def of(cls, parts: Iterable[Statistics]) -> Normalisation:
        """Return that of several tiles together.

        Raises:
            ValueError: no pixel was seen in any.
        """
        whole: Statistics | None = None
        for part in parts:
            whole = part if whole is None else whole.merged(part)
        if whole is None or not whole.count:
            raise ValueError("no pixel was seen in the whole year")
        deviation = np.sqrt(whole.squares / whole.count)
        return cls(whole.mean.astype(np.float32), np.maximum(deviation, LEAST_DEVIATION).astype(np.float32))

    def apply(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return (pixel, period, feature) normalised; pixels never seen become the mean, 0."""
        scaled: npt.NDArray[np.float32] = (features - self.mean) / self.deviation
        return np.nan_to_num(scaled, copy=False)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"mean": self.mean.tolist(), "deviation": self.deviation.tolist()}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Normalisation:
        """Read what as_dict returned."""
        return cls(np.array(stored["mean"], dtype=np.float32), np.array(stored["deviation"], dtype=np.float32))
