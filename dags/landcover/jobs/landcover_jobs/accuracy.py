"""How good a map is: the confusion matrix and what the field reads from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.integer]


def confusion(reference: Indices, mapped: Indices, classes: int) -> npt.NDArray[np.int64]:
    """Count pixels: rows are what the map says, columns what the reference says."""
    pairs = mapped.astype(np.int64) * classes + reference
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def ratio(part: npt.NDArray[np.int64], whole: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Divide, with 0 where there is nothing to divide by."""
    return np.divide(part, whole, out=np.zeros(part.shape), where=whole > 0)


def scores(reference: Indices, mapped: Indices, names: Sequence[str]) -> dict[str, Any]:
    """Return overall accuracy, macro F1, and user's and producer's accuracy of each class.

    The macro F1 is the mean over the classes that the reference or the map has.
    """
    matrix = confusion(reference, mapped, len(names))
    hit, claimed, real = matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0)
    f1 = ratio(2 * hit, claimed + real)
    return {
        "pixels": int(matrix.sum()),
        "overall_accuracy": round(float(hit.sum() / matrix.sum()), 4),
        "macro_f1": round(float(f1[(claimed + real) > 0].mean()), 4),
        "users_accuracy": dict(zip(names, ratio(hit, claimed).round(4).tolist(), strict=True)),
        "producers_accuracy": dict(zip(names, ratio(hit, real).round(4).tolist(), strict=True)),
        "confusion_rows_map_columns_reference": matrix.tolist(),
    }
