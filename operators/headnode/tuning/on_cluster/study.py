"""Optuna: one study in a journal file, a sampler for each trial, a pruner, and the trials as attempts at slots."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import os
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.trial import TrialState

from .setting import Study
from .slots import ATTRIBUTE, Attempt, State

FAILED = "headnode_failed"
_NAME = "headnode"
_SAMPLERS = {"tpe": "TPESampler", "random": "RandomSampler", "cmaes": "CmaEsSampler", "grid": "RandomSampler"}
_PRUNERS = {
    "asha": "SuccessiveHalvingPruner",
    "hyperband": "HyperbandPruner",
    "median": "MedianPruner",
    "none": "NopPruner",
}
_STATES = {TrialState.COMPLETE: State.COMPLETE, TrialState.PRUNED: State.PRUNED}


class MendingLock(JournalFileSymlinkLock):  # type: ignore[misc]
    """The lock of a journal; who gets it takes away the piece of a line that a killed writer has left.

    Optuna would write on behind that, and then no process could read the journal any more.
    """

    def __init__(self, journal: str) -> None:
        super().__init__(journal)
        self._journal = Path(journal)

    def acquire(self) -> bool:
        """Wait for the lock, and mend the journal."""
        got: bool = super().acquire()
        with self._journal.open("r+b") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 1))
            if size and file.read(1) != b"\n":
                file.seek(0)
                file.truncate(file.read().rfind(b"\n") + 1)
        return got


def open_study(study: Study, journal: Path) -> Any:
    """Return Optuna's study, which is made where it is not there yet."""
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    warnings.filterwarnings("ignore", message=".*is already reported.*")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        study_name=_NAME,
        storage=JournalStorage(JournalFileBackend(str(journal), MendingLock(str(journal)))),
        direction="maximize" if study.maximize else "minimize",
        pruner=make_pruner(study.pruner),
        load_if_exists=True,
    )


def check(study: Study) -> None:
    """Try what every worker will need. Raises what Optuna says of the sampler's or the pruner's arguments."""
    if study.sampler["kind"] == "cmaes" and importlib.util.find_spec("cmaes") is None:
        raise ImportError(f"the sampler 'cmaes' needs the package cmaes, which {sys.executable} has not")
    make_pruner(study.pruner)
    make_sampler(study, 0, 1, {})


def make_pruner(description: dict[str, Any]) -> Any:
    """Return the pruner. Raises what Optuna says of its arguments."""
    arguments = {name: value for name, value in description.items() if name != "kind"}
    return getattr(optuna.pruners, _PRUNERS[description["kind"]])(**arguments)


def make_sampler(study: Study, slot: int, attempt: int, fixed: dict[str, Any]) -> Any:
    """Return the sampler of one attempt, which gives the parameters in ``fixed`` as they are there.

    Its seed is that of the study, the slot and the attempt, so that no two workers draw the same, and the same trial
    draws the same by any number of workers (what it learns from is the study's history, in which the workers do count).
    Raises what Optuna says of its arguments.
    """
    kind = getattr(optuna.samplers, _SAMPLERS[study.sampler["kind"]])
    arguments = {name: value for name, value in study.sampler.items() if name not in ("kind", "space")}
    if study.seed is not None:
        digest = hashlib.sha256(f"{study.seed} {slot} {attempt}".encode()).digest()
        arguments["seed"] = int.from_bytes(digest[:4], "big")
    if "constant_liar" in inspect.signature(kind).parameters:
        # Without it, workers that ask at the same time are told to look at the same place.
        arguments.setdefault("constant_liar", study.workers > 1)
    sampler = kind(**arguments)
    return optuna.samplers.PartialFixedSampler(fixed, sampler) if fixed else sampler


def attempts_of(study: Any) -> list[Attempt]:
    """Return those of Optuna's trials that are attempts at a slot."""
    return [_attempt(trial) for trial in study.get_trials(deepcopy=False) if ATTRIBUTE in trial.user_attrs]


def _attempt(trial: Any) -> Attempt:
    told, failure = trial.user_attrs[ATTRIBUTE], trial.user_attrs.get(FAILED)
    state = _STATES.get(trial.state) or State.RUNNING
    if failure is not None and state is State.RUNNING:
        state = State.FAILED
    elif trial.state is TrialState.FAIL:
        state = State.LEFT
    return Attempt(
        number=trial.number,
        slot=told["slot"],
        attempt=told["attempt"],
        state=state,
        params=trial.params,
        value=trial.value if trial.values is not None else None,
        intermediate=trial.intermediate_values,
        began=trial.datetime_start.timestamp() if trial.datetime_start else 0.0,
        ended=trial.datetime_complete.timestamp() if trial.datetime_complete else None,
        worker=told["worker"],
        session=told["session"],
        deaths=told["deaths"],
        failure=failure,
    )


def ask(study: Any, sampler: Any, told: dict[str, Any], intermediate: dict[int, float]) -> Any:
    """Return a new trial of Optuna's; what was reported before it was left is reported again, for the pruner."""
    study.sampler = sampler
    trial = study.ask()
    trial.set_user_attr(ATTRIBUTE, told)
    for step, value in sorted(intermediate.items()):
        trial.report(value, step)
    return trial


def tell(study: Any, number: int, state: TrialState, value: float | None = None) -> bool:
    """End a trial; return False where somebody else has ended it already."""
    try:
        study.tell(number, value, state=state)
    except Exception:  # which exception it is depends on Optuna's version
        with suppress(Exception):
            if study.get_trials(deepcopy=False)[number].state.is_finished():
                return False
        raise
    return True


def fail(study: Any, number: int, message: str) -> bool:
    """End a trial as failed, with the reason; return False where somebody else has ended it already."""
    trials = study.get_trials(deepcopy=False)
    if trials[number].state.is_finished():
        return False
    with suppress(Exception):  # it may have been ended meanwhile, which ``tell`` finds out
        study._storage.set_trial_user_attr(trials[number]._trial_id, FAILED, message)  # noqa: SLF001 - see Trial
    return tell(study, number, TrialState.FAIL)
