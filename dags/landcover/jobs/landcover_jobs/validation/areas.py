"""Accuracy and areas from a stratified sample, with standard errors and 95 % intervals.

The estimators of Olofsson et al. 2014, "Good practices for estimating area and assessing accuracy of land change",
Remote Sensing of Environment 148, 42-57, equations 1 to 11. The strata are the classes of the map. Points must be a
random sample within each of them; for a simple random or systematic sample the same formulas are the usual
poststratified estimate.

What a sample cannot say is NaN in arrays, None in records, and named in `notes`:
- one point in a stratum has no variance, so neither have the sums that the stratum is part of;
- a stratum without any point is left out: the estimates are about the rest of the map, `sampled_pixels`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from landcover_jobs.validation.accuracy import plain

Figures = npt.NDArray[np.float64]

TWO_SIDED_95 = 1.96  # the standard normal quantile at 0.975, rounded as the paper does, so that its figures come out
SQUARE_METRES_OF_HECTARE = 10_000.0


@dataclass(frozen=True)
class Estimate:
    """A figure, or one for each class, and its standard error."""

    value: Figures
    standard_error: Figures

    @property
    def half_width(self) -> Figures:
        """Half of the 95 % interval."""
        return TWO_SIDED_95 * self.standard_error

    def times(self, factor: float) -> Estimate:
        """Return the estimate in other units."""
        return Estimate(self.value * factor, self.standard_error * factor)

    def as_dict(self, index: int | None = None, most: float = 1.0) -> dict[str, float | None]:
        """Return one figure for a record, its interval kept between 0 and `most`."""
        value, error, half = (
            float(each if index is None else each[index]) for each in (self.value, self.standard_error, self.half_width)
        )
        low, high = max(value - half, 0.0), min(value + half, most)
        if not np.isfinite(half):
            low = high = np.nan
        figures = {"value": value, "standard_error": error, "half_width": half, "low": low, "high": high}
        return {name: plain(figure) for name, figure in figures.items()}


@dataclass(frozen=True)
class AreaEstimates:
    """What a stratified sample says of a map."""

    overall_accuracy: Estimate
    users_accuracy: Estimate  # of each class
    producers_accuracy: Estimate
    proportion: Estimate  # of the sampled area that is really the class
    points: npt.NDArray[np.int64]  # (class,) points in each stratum
    mapped_pixels: npt.NDArray[np.int64]  # (class,)
    sampled_pixels: int  # of the strata that have points

    @property
    def pixels(self) -> Estimate:
        """The area of each class in pixels."""
        return self.proportion.times(float(self.sampled_pixels))

    def hectares(self, pixel_metres: float) -> Estimate:
        """Return the area of each class, for square pixels of an edge in metres."""
        return self.pixels.times(pixel_metres**2 / SQUARE_METRES_OF_HECTARE)

    def notes(self, names: Sequence[str]) -> list[str]:
        """Say in sentences what the sample could not tell."""
        said = []
        for name, points, mapped in zip(names, self.points.tolist(), self.mapped_pixels.tolist(), strict=True):
            if mapped and not points:
                said.append(f"{name}: {mapped} pixels are mapped but hold no point; the estimates leave them out")
            elif mapped and points == 1:
                said.append(f"{name}: one point alone has no variance, so intervals that it is part of are not defined")
            elif points and not mapped:
                said.append(f"{name}: the map has none of it, so its {points} points weigh nothing")
            elif not mapped:
                said.append(f"{name}: the map has none of it")
        return said

    def as_dict(self, names: Sequence[str], pixel_metres: float) -> dict[str, Any]:
        """Return all of it as plain values for a record; areas in hectares."""
        hectares, total = self.hectares(pixel_metres), self.sampled_pixels * pixel_metres**2 / SQUARE_METRES_OF_HECTARE
        classes = {
            name: {
                "points": int(self.points[index]),
                "mapped_pixels": int(self.mapped_pixels[index]),
                "users_accuracy": self.users_accuracy.as_dict(index),
                "producers_accuracy": self.producers_accuracy.as_dict(index),
                "area_proportion": self.proportion.as_dict(index),
                "area_hectares": hectares.as_dict(index, most=total),
            }
            for index, name in enumerate(names)
        }
        return {
            "overall_accuracy": self.overall_accuracy.as_dict(),
            "classes": classes,
            "sampled_pixels": self.sampled_pixels,
            "notes": self.notes(names),
        }


def estimate_areas(matrix: npt.NDArray[np.integer[Any]], mapped_pixels: npt.ArrayLike) -> AreaEstimates:
    """Estimate accuracies and areas from points (row: class of the map, column: of the reference).

    Args:
        matrix: how many points, (class, class).
        mapped_pixels: how many pixels the whole map has of each class, (class,).

    Raises:
        ValueError: the shapes do not fit, a count is negative, or no mapped class has a point.
    """
    counts, mapped = np.asarray(matrix, dtype=np.int64), np.asarray(mapped_pixels, dtype=np.int64)
    if counts.shape != (len(mapped), len(mapped)) or counts.min() < 0 or mapped.min() < 0:
        raise ValueError(f"a square matrix of counts and as many mapped pixels are wanted, not {counts} and {mapped}")
    points = counts.sum(axis=1)
    total = int(mapped[points > 0].sum())
    if not total:
        raise ValueError("no point lies in a class that the map has: nothing can be estimated")
    weights = np.where(points > 0, mapped, 0) / total
    shares = np.divide(counts, points[:, None], out=np.zeros(counts.shape), where=points[:, None] > 0)
    spreads = _variances(shares, points, weights)
    users = np.where(points > 0, shares.diagonal(), np.nan)
    return AreaEstimates(
        Estimate(np.sum(weights * shares.diagonal()), np.sqrt(np.sum(weights**2 * spreads.diagonal()))),
        Estimate(users, np.where(points > 1, np.sqrt(spreads.diagonal()), np.nan)),
        _producers(shares, weights, spreads),
        Estimate(weights @ shares, np.sqrt(weights**2 @ spreads)),
        points, mapped, total,
    )  # fmt: skip


def _variances(shares: Figures, points: npt.NDArray[np.int64], weights: Figures) -> Figures:
    """Return the variance of each share (stratum, class): NaN of a single point, 0 of a stratum of no weight."""
    free = (points - 1)[:, None]
    variances = np.divide(shares * (1 - shares), free, out=np.full(shares.shape, np.nan), where=free > 0)
    return np.where(weights[:, None] > 0, variances, np.where(free > 0, variances, 0.0))


def _producers(shares: Figures, weights: Figures, spreads: Figures) -> Estimate:
    """Return producer's accuracy and its error (equation 7), in proportions of the area in place of pixels."""
    real = weights @ shares
    defined = real > 0
    accuracy = np.divide(weights * shares.diagonal(), real, out=np.full(real.shape, np.nan), where=defined)
    own = weights**2 * spreads.diagonal()
    others = weights**2 @ spreads - own
    variance = (1 - accuracy) ** 2 * own + accuracy**2 * others
    error = np.divide(np.sqrt(np.maximum(variance, 0)), real, out=np.full(real.shape, np.nan), where=defined)
    return Estimate(accuracy, error)
