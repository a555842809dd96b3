"""What the models say of a tile: a GeoTIFF with a band of scores for each class, and one of observations.

Scores are stored as round(250 x score); UNSEEN in all class bands where the year does not show the pixel. With one
member the score is its probability; with m members it is (votes + mean probability) / (m + 1), so that the class with
most votes has the greatest score, and among equals the more probable one. The last band counts the year's clear
observations, up to 254.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

SCORE_SCALE = 250
UNSEEN = 255
MOST_OBSERVATIONS = 254


def scores_of_members(probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the scores (pixel, class) of probabilities (member, pixel, class)."""
    members, _, classes = probabilities.shape
    mean: npt.NDArray[np.float32] = probabilities.mean(axis=0, dtype=np.float32)
    if members == 1:
        return mean
    votes = np.eye(classes, dtype=np.float32)[probabilities.argmax(axis=2)].sum(axis=0)
    scores: npt.NDArray[np.float32] = (votes + mean) / np.float32(members + 1)
    return scores


def stored_scores(scores: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Return scores (..., class) as they are stored; NaN becomes UNSEEN."""
    unseen = ~np.isfinite(scores).all(axis=-1, keepdims=True)
    return np.where(unseen, UNSEEN, np.rint(np.nan_to_num(scores) * SCORE_SCALE)).astype(np.uint8)


def stored_observations(observations: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the sum over the periods (pixel, period) as it is stored."""
    counts: npt.NDArray[np.uint8] = np.minimum(observations.sum(axis=1, dtype=np.int64), MOST_OBSERVATIONS).astype(
        np.uint8
    )
    return counts
