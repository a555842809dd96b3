"""The whole map beside the old map's labels, fold by fold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from landcover_jobs.configuration.map_configuration import MapConfiguration
from landcover_jobs.grid.folds import fold_of
from landcover_jobs.grid.frame import Frame, Window
from landcover_jobs.validation.accuracy import confusion, scores_with_groups
from landcover_jobs.validation.class_map import ClassMap, Indices

# From a part of the mosaic's frame to the class index (y, x) that the old map has there, negative where it says none.
ReadLabels = Callable[[Frame], Indices]


def matrices_by_fold(classes: ClassMap, labels: ReadLabels, configuration: MapConfiguration) -> npt.NDArray[np.int64]:
    """Return the confusion matrices (fold, class of the map, class of the old map) of all pixels that both have."""
    validation, count = configuration.validation, len(configuration.classes)
    found = np.zeros((validation.folds, count, count), dtype=np.int64)
    for window, mapped in classes.blocks():
        reference = labels(classes.frame.part(window))
        if not (reference >= 0).any():
            continue
        folds = folds_of_window(classes.frame, window, block_size=validation.block_size, folds=validation.folds)
        for fold in range(validation.folds):
            chosen = folds == fold
            found[fold] += confusion(reference[chosen], mapped[chosen], count)
    return found


def scores_by_fold(matrices: npt.NDArray[np.int64], configuration: MapConfiguration) -> dict[str, Any]:
    """Return the scores of all folds together as `all`, and short ones of each as `by_fold`."""
    names, values, groups = configuration.class_names, configuration.class_values, configuration.validation.groups
    by_fold = []
    for fold, matrix in enumerate(matrices):
        found = scores_with_groups(matrix, names, values, groups)
        by_fold.append({"fold": fold} | {kind: _short(scores) for kind, scores in found.items()})
    return {"all": scores_with_groups(matrices.sum(axis=0), names, values, groups), "by_fold": by_fold}


def folds_of_window(frame: Frame, window: Window, *, block_size: float, folds: int) -> Indices:
    """Return the fold (y, x) of each pixel of a window of the mosaic."""
    part = frame.part(window)
    x = part.left + (np.arange(part.width) + 0.5) * part.resolution
    y = part.top - (np.arange(part.height) + 0.5) * part.resolution
    # Folds are dealt by blocks, so one pixel of each block is asked for.
    _, first_column, column = np.unique(np.floor(x / block_size), return_index=True, return_inverse=True)
    _, first_row, row = np.unique(np.floor(y / block_size), return_index=True, return_inverse=True)
    of_blocks = fold_of(x[None, first_column], y[first_row, None], block_size=block_size, folds=folds)
    return np.asarray(of_blocks[row][:, column])


def _short(scores: dict[str, Any]) -> dict[str, Any]:
    return {name: scores[name] for name in ("pixels", "overall_accuracy", "macro_f1")}
