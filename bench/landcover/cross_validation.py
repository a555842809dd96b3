"""Spatially disjoint folds, settings chosen on inner ones, several seeds; tasks spread over processes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from landcover_jobs.configuration.learning import TransformerSettings
from landcover_jobs.learning.recipe import Labelled, Recipe
from landcover_jobs.learning.training import fit
from landcover_jobs.learning.transformer import probabilities
from landcover_jobs.learning.trees import fit_trees, tree_probabilities
from landcover_jobs.preparation.normalisation import Normalisation, Statistics
from landcover_jobs.validation.accuracy import Matrix, confusion, f1_scores, macro_f1, overall_accuracy
from sklearn.model_selection import StratifiedGroupKFold

from bench.landcover.data_sets import DataSet

FOLDS = 5
FOLDS_SEED = 2018
TRANSFORMER = "transformer"
Rows = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Candidate:
    """One choice of settings."""

    settings: TransformerSettings
    epochs: int
    batch: int


@dataclass(frozen=True)
class Task:
    """Train one model without some folds, or on the years before one, and ask it about them."""

    data: str
    kind: str
    candidate: Candidate | None
    unseen: tuple[int, ...]  # folds, or where `by_years` is set the year; what comes after it is not known either
    seed: int
    trees: int
    by_years: bool = False


@dataclass(frozen=True)
class Split:
    """A data set whose pixels have folds."""

    data: DataSet
    folds: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Outcome:
    """What all folds' models said of the pixels that they never saw, for one seed."""

    matrix: Matrix

    @property
    def accuracy(self) -> float:
        """Overall."""
        return overall_accuracy(self.matrix)

    @property
    def macro_f1(self) -> float:
        """Of the classes."""
        return macro_f1(self.matrix)

    @property
    def f1(self) -> npt.NDArray[np.float64]:
        """Of each class."""
        return f1_scores(self.matrix)


def spatial_folds(data: DataSet) -> npt.NDArray[np.int64]:
    """Deal whole blocks to folds, so that each fold gets its share of each class as far as blocks allow."""
    folds = np.empty(len(data.blocks), dtype=np.int64)
    dealt = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=FOLDS_SEED)
    for fold, (_, unseen) in enumerate(dealt.split(data.blocks, data.samples.labels, data.blocks)):
        folds[unseen] = fold
    return folds


def answer(split: Split, task: Task) -> npt.NDArray[np.float32]:
    """Return the probabilities (pixel, class) of the pixels in the task's unseen folds or year."""
    if task.by_years:
        (year,) = task.unseen
        return predicted(split.data, split.data.years < year, split.data.years == year, task)
    unseen = np.isin(split.folds, task.unseen)
    return predicted(split.data, ~unseen, unseen, task)


def predicted(data: DataSet, learnt: Rows, unseen: Rows, task: Task) -> npt.NDArray[np.float32]:
    """Train on some pixels, normalised by themselves alone, and ask about others."""
    normalisation = Normalisation.of([Statistics.of(data.samples.features[learnt])])
    known, asked = (_normalised(data.samples.only(rows), normalisation) for rows in (learnt, unseen))
    count = len(data.classes)
    if task.kind != TRANSFORMER:
        trees = fit_trees(task.kind, known.features, known.labels, trees=task.trees, seed=task.seed, threads=1)  # type: ignore[arg-type]
        return tree_probabilities(trees, asked.features, count)
    assert task.candidate is not None  # noqa: S101 - transformers always have one
    chosen = task.candidate
    recipe = Recipe(settings=chosen.settings, epochs=chosen.epochs, batch=chosen.batch, seed=task.seed)
    return probabilities(fit(known, classes=count, days=data.days, recipe=recipe), asked.features, asked.hidden)


def _normalised(samples: Labelled, normalisation: Normalisation) -> Labelled:
    return samples._replace(features=normalisation.apply(samples.features))


class Pool:
    """Processes of one thread each, which have all data sets."""

    def __init__(self, processes: int, splits: Mapping[str, Split], say: Callable[[str], None]) -> None:
        self._executor = ProcessPoolExecutor(
            processes, mp_context=get_context("spawn"), initializer=_prepare, initargs=(dict(splits),)
        )
        self._say = say

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown(cancel_futures=True)

    def answers(self, what: str, tasks: Iterable[Task]) -> dict[Task, npt.NDArray[np.float32]]:
        """Run tasks and say how far they are."""
        waiting = {self._executor.submit(_run, task): task for task in tasks}
        found: dict[Task, npt.NDArray[np.float32]] = {}
        told = max(1, len(waiting) // 5)
        for future in as_completed(waiting):
            found[waiting[future]] = future.result()
            if len(found) % told == 0 or len(found) == len(waiting):
                self._say(f"{what}: {len(found)} of {len(waiting)} models")
        return found


_SPLITS: dict[str, Split] = {}


def _prepare(splits: dict[str, Split]) -> None:
    torch.set_num_threads(1)
    _SPLITS.update(splits)


def _run(task: Task) -> npt.NDArray[np.float32]:
    return answer(_SPLITS[task.data], task)


def choose(pool: Pool, split: Split, candidates: Sequence[Candidate], *, seed: int) -> dict[int, Candidate]:
    """Return, for each fold, the candidate whose models were best on the other folds; its own pixels choose nothing.

    A model without folds a and b is asked about a when fold b is the outer one, and about b when a is.
    """
    name, pairs = split.data.name, list(itertools.combinations(range(FOLDS), 2))
    tasks = [Task(name, TRANSFORMER, each, pair, seed, 0) for each in candidates for pair in pairs]
    answers = pool.answers(f"{name}: choosing among {len(candidates)} settings", tasks)
    chosen = {}
    for outer in range(FOLDS):
        scores = []
        for candidate in candidates:
            matrix = np.zeros((len(split.data.classes),) * 2, dtype=np.int64)
            for pair in (pair for pair in pairs if outer in pair):
                unseen = np.isin(split.folds, pair)
                inner = split.folds[unseen] != outer
                said = answers[Task(name, TRANSFORMER, candidate, pair, seed, 0)][inner].argmax(axis=1)
                matrix += confusion(split.data.samples.labels[unseen][inner], said, len(matrix))
            scores.append(macro_f1(matrix))
        chosen[outer] = candidates[int(np.argmax(scores))]
    return chosen


def validated(
    pool: Pool, split: Split, kind: str, seeds: Sequence[int], *, trees: int, chosen: Mapping[int, Candidate] | None
) -> list[Outcome]:
    """Return for each seed what models say of the fold that each has never seen."""
    name, count = split.data.name, len(split.data.classes)
    tasks = {
        (seed, fold): Task(name, kind, None if chosen is None else chosen[fold], (fold,), seed, trees)
        for seed in seeds
        for fold in range(FOLDS)
    }
    answers = pool.answers(f"{name}: {kind}", tasks.values())
    outcomes = []
    for seed in seeds:
        matrix = np.zeros((count, count), dtype=np.int64)
        for fold in range(FOLDS):
            labels = split.data.samples.labels[split.folds == fold]
            matrix += confusion(labels, answers[tasks[seed, fold]].argmax(axis=1), count)
        outcomes.append(Outcome(matrix))
    return outcomes
