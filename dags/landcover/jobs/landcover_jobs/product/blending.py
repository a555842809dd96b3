"""Several tiles say something of the same ground: one answer for each pixel, without a seam.

Where tiles overlap, their scores are averaged, weighted by the distance to the tile's edge: at a tile's edge its weight
is nothing, so that the map does not jump there, and what a model sees at the edge of its data counts least.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from landcover_jobs.configuration.map_configuration import NO_DATA
from landcover_jobs.product.layers import CONFIDENCE_NO_DATA
from landcover_jobs.product.predictions import SCORE_SCALE, UNSEEN


class Blend:
    """The tiles' scores of one block, added up."""

    def __init__(self, classes: int, height: int, width: int) -> None:
        self._scores = np.zeros((classes, height, width), dtype=np.float32)
        self._weight = np.zeros((height, width), dtype=np.float32)
        self._heaviest = np.zeros((height, width), dtype=np.float32)
        self._observations = np.zeros((height, width), dtype=np.uint8)

    def add(self, bands: npt.NDArray[np.uint8], weight: npt.NDArray[np.float32]) -> None:
        """Add a tile: its bands (class and, last, observations; y, x) and its weight (y, x), 0 where it has nothing.

        Observations are taken from the tile of the greatest weight that has seen the pixel; of equals, the first.
        """
        scores, observations = bands[:-1], bands[-1]
        counts = np.where((scores == UNSEEN).any(axis=0), np.float32(0), weight)
        for index, stored in enumerate(scores):
            self._scores[index] += stored * counts
        self._weight += counts
        heavier = counts > self._heaviest
        self._observations[heavier] = observations[heavier]
        self._heaviest[heavier] = counts[heavier]

    def layers(self, values: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.uint8], ...]:
        """Return classes (the values given for each index), confidence in per cent, and observations, (y, x) each."""
        best, greatest = np.zeros(self._weight.shape, dtype=np.uint8), self._scores[0].copy()
        for index, scores in enumerate(self._scores[1:], start=1):
            best[scores > greatest] = index
            np.maximum(greatest, scores, out=greatest)
        seen = self._weight > 0
        share = np.divide(greatest, self._weight, out=np.zeros_like(greatest), where=seen)
        confidence = np.rint(share * np.float32(100 / SCORE_SCALE))
        return (
            np.where(seen, values[best], NO_DATA).astype(np.uint8),
            np.where(seen, confidence, CONFIDENCE_NO_DATA).astype(np.uint8),
            self._observations,
        )
