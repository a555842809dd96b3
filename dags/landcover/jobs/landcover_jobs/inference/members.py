"""Which models of a set judge which pixels, and what they say together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from landcover_jobs.configuration.map_configuration import MapConfiguration
from landcover_jobs.inference.classifier import Classifier
from landcover_jobs.job import StepError
from landcover_jobs.learning.model_set import ModelSet, member_name
from landcover_jobs.preparation.normalisation import Normalisation
from landcover_jobs.preparation.store import Series
from landcover_jobs.product.predictions import scores_of_members, stored_observations, stored_scores

ANY_FOLD = -1
PIECE = 4096  # pixels that a thread takes at a time: their series fit into the cache that cores share

Vote = Literal["unseen", "all"]


@dataclass(frozen=True)
class Members:
    """The classifiers that judge each fold's pixels; those under ANY_FOLD judge all, wherever they lie."""

    of_fold: Mapping[int, Sequence[Classifier]]
    names: tuple[str, ...]
    classes: int

    @classmethod
    def load(cls, models: ModelSet, vote: Vote) -> Members:
        """Open the models of the better kind: those that never saw a fold for its pixels, or all for all.

        Raises:
            StepError: a model's file is missing or broken.
        """
        kind, trials, folds = models.better, range(models.record["trials"]), range(models.record["folds"])
        of_fold = {fold: [Classifier(models.exported(kind, trial, fold)) for trial in trials] for fold in folds}
        names = tuple(member_name(kind, trial, fold) for fold in folds for trial in trials)
        if vote == "all":
            of_fold = {ANY_FOLD: [member for members in of_fold.values() for member in members]}
        return cls(of_fold, names, len(models.record["classes"]))

    @property
    def first(self) -> Classifier:
        """One of them, to ask what they run on."""
        return next(iter(self.of_fold.values()))[0]


def check_models(models: ModelSet, configuration: MapConfiguration) -> None:
    """Refuse models that were trained for other classes, features or folds than the map has now.

    Raises:
        StepError: what differs.
    """
    wanted = {
        "classes": list(configuration.class_names),
        "features": list(configuration.features),
        "periods": configuration.composites.periods,
        "folds": configuration.validation.folds,
        "trials": configuration.samples.trials,
    }
    for what, now in wanted.items():
        if models.record.get(what) != now:
            raise StepError(
                f"the models {models.key} were trained for {what} {models.record.get(what)}, but the map has {now}: "
                "run the steps `sample` and `train` again"
            )


def judged(
    series: Series, folds: npt.NDArray[np.int64], normalisation: Normalisation, members: Members, pool: Executor
) -> npt.NDArray[np.uint8]:
    """Return what is stored of some pixels (n, class + 1): the scores, then the observations.

    Args:
        series: the pixels' year; those that it does not show stay UNSEEN.
        folds: (n,) the fold of each pixel; ANY_FOLD where all members judge it.
        normalisation: the year's.
        members: the classifiers.
        pool: threads that work on pieces of the pixels; the result does not depend on how many there are.
    """
    scores = np.full((len(folds), members.classes), np.nan, dtype=np.float32)
    seen, hidden = series.seen, series.hidden

    def judge(piece: npt.NDArray[np.intp]) -> None:
        features = normalisation.apply(series.features[piece])
        said = [member.probabilities(features, hidden[piece]) for member in members.of_fold[int(folds[piece[0]])]]
        scores[piece] = scores_of_members(np.stack(said))

    list(pool.map(judge, _pieces(folds, seen, max(PIECE, members.first.batch))))
    return np.concatenate([stored_scores(scores), stored_observations(series.observations)[:, None]], axis=1)


def _pieces(folds: npt.NDArray[np.int64], seen: npt.NDArray[np.bool_], size: int) -> list[npt.NDArray[np.intp]]:
    """Cut the seen pixels of each fold into pieces of at most `size`."""
    pieces: list[npt.NDArray[np.intp]] = []
    for fold in np.unique(folds[seen]):
        chosen = np.flatnonzero(seen & (folds == fold))
        pieces.extend(chosen[first : first + size] for first in range(0, len(chosen), size))
    return pieces
