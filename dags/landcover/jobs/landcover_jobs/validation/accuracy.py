"""How well classes agree with a reference: the confusion matrix and what the field reads from it.

A figure that is not defined (user's accuracy of a class that the map never has) is NaN in arrays and None in records.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.integer[Any]]
Matrix = npt.NDArray[np.int64]
Figures = npt.NDArray[np.float64]

DIGITS = 6


def confusion(reference: Indices, mapped: Indices, classes: int) -> Matrix:
    """Count pairs of class indices: rows are what the map says, columns what the reference says.

    Pairs of which either is negative (unknown, or not seen) are left out.

    Raises:
        ValueError: the arrays differ in shape, or hold an index that is no class.
    """
    if reference.shape != mapped.shape:
        raise ValueError(f"{reference.shape} reference values, but {mapped.shape} mapped ones")
    known = (reference >= 0) & (mapped >= 0)
    rows, columns = mapped[known].astype(np.int64), reference[known].astype(np.int64)
    greatest = max(rows.max(initial=-1), columns.max(initial=-1))
    if greatest >= classes:
        raise ValueError(f"class index {greatest} among {classes} classes")
    return np.bincount(rows * classes + columns, minlength=classes * classes).reshape(classes, classes)


def grouped(matrix: Matrix, groups: Sequence[Sequence[int]]) -> Matrix:
    """Return the matrix (group, group) in which the classes of a group, given by their indices, count as one."""
    members = np.zeros((len(groups), len(matrix)), dtype=np.int64)
    for number, group in enumerate(groups):
        members[number, list(group)] = 1
    return members @ matrix @ members.T


def overall_accuracy(matrix: Matrix) -> float:
    """Return the share of pairs that agree; NaN without any."""
    total = int(matrix.sum())
    return float(matrix.trace() / total) if total else math.nan


def users_accuracy(matrix: Matrix) -> Figures:
    """Return for each class the share of what is mapped as it that is it (precision)."""
    return _ratio(matrix.diagonal(), matrix.sum(axis=1))


def producers_accuracy(matrix: Matrix) -> Figures:
    """Return for each class the share of what is it that is mapped as it (recall)."""
    return _ratio(matrix.diagonal(), matrix.sum(axis=0))


def f1_scores(matrix: Matrix) -> Figures:
    """Return the harmonic mean of user's and producer's accuracy; 0 where a class is always missed."""
    return _ratio(2 * matrix.diagonal(), matrix.sum(axis=0) + matrix.sum(axis=1))


def macro_f1(matrix: Matrix) -> float:
    """Return the mean F1 of the classes that the reference or the map has; NaN without any."""
    defined = f1_scores(matrix)
    defined = defined[np.isfinite(defined)]
    return float(defined.mean()) if len(defined) else math.nan


def scores(matrix: Matrix, names: Sequence[str]) -> dict[str, Any]:
    """Return all of it as plain values for a record: names -> figures, the matrix, and how many pairs it counts."""
    return {
        "pixels": int(matrix.sum()),
        "overall_accuracy": plain(overall_accuracy(matrix)),
        "macro_f1": plain(macro_f1(matrix)),
        "users_accuracy": _named(names, users_accuracy(matrix)),
        "producers_accuracy": _named(names, producers_accuracy(matrix)),
        "f1": _named(names, f1_scores(matrix)),
        "classes": list(names),
        "confusion_rows_map_columns_reference": matrix.tolist(),
    }


def scores_with_groups(
    matrix: Matrix, names: Sequence[str], values: Sequence[int], groups: Mapping[str, Sequence[int]]
) -> dict[str, Any]:
    """Return `{"classes": scores, "groups": scores}`; the groups hold class values, and are the classes where empty."""
    found = {"classes": scores(matrix, names)}
    if not groups:
        return found | {"groups": found["classes"]}
    indices = [[list(values).index(value) for value in group] for group in groups.values()]
    return found | {"groups": scores(grouped(matrix, indices), list(groups))}


def plain(figure: float) -> float | None:
    """Return a figure as JSON has it, to six digits: None where it is not defined."""
    return round(float(figure), DIGITS) if math.isfinite(figure) else None


def _named(names: Sequence[str], figures: Figures) -> dict[str, float | None]:
    return {name: plain(figure) for name, figure in zip(names, figures.tolist(), strict=True)}


def _ratio(part: Matrix, whole: Matrix) -> Figures:
    shares: Figures = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
    return shares
