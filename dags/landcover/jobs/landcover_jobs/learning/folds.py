"""Which models there are and from which pixels each learns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from landcover_jobs.configuration.learning import ModelKind
from landcover_jobs.job import StepError
from landcover_jobs.learning.model_set import member_name
from landcover_jobs.samples.training_set import TrainingSet


@dataclass(frozen=True)
class Member:
    """The model of a kind that learns from a draw, all but one fold of it."""

    kind: ModelKind
    trial: int
    fold: int

    @property
    def name(self) -> str:
        """The name of its files, without their suffix."""
        return member_name(self.kind, self.trial, self.fold)


def members_of(kinds: Iterable[ModelKind], trials: int, folds: int) -> tuple[Member, ...]:
    """Return all members: kind by kind, draw by draw, fold by fold."""
    return tuple(Member(kind, trial, fold) for kind in kinds for trial in range(trials) for fold in range(folds))


def inner_fold(fold: int, folds: int) -> int:
    """Return the fold that stops or tunes what is trained without `fold`, which itself must decide nothing."""
    return (fold + 1) % folds


def learning_rows(samples: TrainingSet, trial: int, fold: int, *, without: int | None = None) -> npt.NDArray[np.bool_]:
    """Return which pixels a member learns from: its draw, without its fold and, where given, without another.

    Raises:
        StepError: they have fewer than two classes.
    """
    rows: npt.NDArray[np.bool_] = samples.trials[trial] & (samples.folds != fold)
    left_out = f"fold {fold}"
    if without is not None:
        rows &= samples.folds != without
        left_out += f" and fold {without}"
    found = np.unique(samples.labels[rows])
    if len(found) < 2:  # noqa: PLR2004 - one class is nothing to tell apart
        raise StepError(
            f"draw {trial} without {left_out} has {int(rows.sum())} pixels of {len(found)} class(es), where two are "
            "the least: draw more samples (samples.total), or make blocks smaller (validation.block_size)"
        )
    return rows


def inner_rows(samples: TrainingSet, trial: int, inner: int) -> npt.NDArray[np.bool_]:
    """Return the pixels of a draw in the inner fold.

    Raises:
        StepError: there are none.
    """
    rows: npt.NDArray[np.bool_] = samples.trials[trial] & (samples.folds == inner)
    if not rows.any():
        raise StepError(
            f"draw {trial} has no pixel in fold {inner}, by which settings or the end of training are chosen: draw "
            "more samples (samples.total), or make blocks smaller (validation.block_size)"
        )
    return rows
