"""How good each kind of model is on pixels that it never saw, and which kind draws the map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from landcover_jobs.configuration.map_configuration import MapConfiguration
from landcover_jobs.product.predictions import scores_of_members
from landcover_jobs.samples.training_set import TrainingSet
from landcover_jobs.validation.accuracy import confusion, scores_with_groups

# (trial, fold) -> probabilities (pixel of the fold, class) by the member of the draw that never saw the fold.
OfMembers = Mapping[tuple[int, int], npt.NDArray[np.float32]]


def unseen_scores(samples: TrainingSet, classes: int, of_members: OfMembers) -> npt.NDArray[np.float32]:
    """Return scores (n, class): each pixel's by the members of all draws that never saw its fold, as the map has them.

    All pixels count, also those that only some of the draws have: what decides is their fold.
    """
    result = np.full((len(samples.labels), classes), np.nan, dtype=np.float32)
    for fold in np.unique(samples.folds).tolist():
        rows = samples.folds == fold
        said = np.stack([of_members[trial, fold] for trial in range(len(samples.trials))])
        result[rows] = scores_of_members(said)
    return result


def judged(
    labels: npt.NDArray[np.int64], said: npt.NDArray[np.float32], configuration: MapConfiguration
) -> dict[str, Any]:
    """Return `{"classes": scores, "groups": scores}` of scores (n, class); see validation.accuracy."""
    names = configuration.class_names
    matrix = confusion(labels, said.argmax(axis=1), len(names))
    return scores_with_groups(matrix, names, configuration.class_values, configuration.validation.groups)


def better_of(kinds: Sequence[str], scores: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the kind with the greatest macro F1 of the classes; the first of equals, in the map's order."""
    return max(kinds, key=lambda kind: float(scores[kind]["classes"]["macro_f1"] or 0.0))
