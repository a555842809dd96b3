"""A worker: it claims trial after trial and runs the objective, until all are over or it is told to stop."""

from __future__ import annotations

import importlib
import importlib.util
import math
import os
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from optuna.exceptions import TrialPruned
from optuna.trial import TrialState

from . import study as optuna_study
from .claims import Claims, Owner
from .setting import EndWarning, Place, Study
from .slots import MOST_DEATHS, Attempt, Next, claimable, failures_in_a_row, finished
from .telling import Telling

_LEAST_WAIT_SECONDS = 0.2
_MOST_WAIT_SECONDS = 5.0
#: An objective may report often, and looking whether a trial is still one's own is work for the file server.
_LOOK_SECONDS = 1.0


class Stopped(BaseException):
    """Ends an objective, through its own ``except Exception``: the job's time is up, or the trial somebody else's."""


@dataclass
class Worker:
    """One of the processes that share a study."""

    study: Study
    place: Place
    claims: Claims
    owner: Owner
    session: str
    optuna: Any
    objective: Callable[[Any], Any]
    warning: EndWarning
    telling: Telling = field(init=False)
    _looked_at: float = field(init=False, default=-_LOOK_SECONDS)

    def __post_init__(self) -> None:
        """Prepare what it says."""
        self.telling = Telling(self.study)

    def run(self) -> None:
        """Run trials until nothing is left for this worker."""
        wait_seconds = _LEAST_WAIT_SECONDS
        while not self._is_over():
            if self._claim_one():
                wait_seconds = _LEAST_WAIT_SECONDS
            else:  # others run the last ones, and may die
                time.sleep(wait_seconds)
                wait_seconds = min(_MOST_WAIT_SECONDS, self.study.lost_seconds / 10, wait_seconds * 2)
        self.claims.beat_path(self.owner).unlink(missing_ok=True)  # so that nobody counts this one any more

    def _is_over(self) -> bool:
        if self.warning.given or self.claims.newest_session() != self.owner.session or self.place.broken.exists():
            return True
        attempts = self._attempts()
        if len(failures_in_a_row(attempts)) >= self.study.max_failures:
            return True
        return len(finished(attempts, on_grid=self._on_grid)) >= self.study.trials

    def _claim_one(self) -> bool:
        """Claim an attempt and run it; return whether there was one."""
        # In this order: a claim's owner beats before it claims, and tells of the trial's end before it stops to beat.
        claims = self.claims.latest()
        living = self.claims.living(self.owner, lost_seconds=self.study.lost_seconds)
        open_slots = claimable(self.study.trials, self._attempts(), claims, living, on_grid=self._on_grid)
        for each in open_slots:
            if self.claims.take(each.slot, each.attempt, self.owner):
                self._run(each)
                return True
        return False

    def _run(self, claimed: Next) -> None:
        # What is known now is newer than the claim: the worker before may have ended the trial in the meantime.
        earlier = [each for each in self._attempts() if each.slot == claimed.slot]
        if claimed.slot in finished(earlier, on_grid=self._on_grid):
            return
        before, deaths = claimed.goes_on_from, 0
        if before is not None:
            deaths = before.deaths + (before.job == self._job)
            if not self._take_over(before, deaths):
                return
            if deaths >= MOST_DEATHS:
                before, deaths = None, 0
            if claimed.slot in finished(self._attempts(), on_grid=self._on_grid):
                return  # a point of a grid that is given up
        fixed = dict(before.params) if before is not None else {}
        if self._on_grid:
            fixed = dict(self.study.grid[claimed.slot])
        told = {
            "slot": claimed.slot,
            "attempt": claimed.attempt,
            "worker": f"{self.owner.worker} on {self.owner.node}",
            "session": self.session,
            "deaths": deaths,
            "continues": before.number if before is not None else None,
        }
        sampler = optuna_study.make_sampler(self.study, claimed.slot, claimed.attempt, fixed)
        trial = optuna_study.ask(self.optuna, sampler, told, dict(before.intermediate) if before is not None else {})
        self._objective(trial, claimed)

    def _take_over(self, before: Attempt, deaths: int) -> bool:
        """End what another worker left; return False where that had ended it after all."""
        if self.optuna.get_trials(deepcopy=False)[before.number].state is not TrialState.RUNNING:
            return True  # it was ended by one who died before it could go on with it
        if deaths >= MOST_DEATHS:
            ended = optuna_study.fail(self.optuna, before.number, f"{deaths} workers died of it, one after another")
        else:
            ended = optuna_study.tell(self.optuna, before.number, TrialState.FAIL)
        if not ended:
            return not finished([each for each in self._attempts() if each.slot == before.slot], on_grid=False)
        self.telling.takes_over(before, by=self.owner.worker, lost=before.job == self._job)
        return True

    def _objective(self, trial: Any, claimed: Next) -> None:
        directory = self.place.trial_directory(claimed.slot)
        directory.mkdir(parents=True, exist_ok=True)
        os.environ["HEADNODE_TRIAL_DIRECTORY"] = str(directory)
        os.environ["HEADNODE_TRIAL"] = str(claimed.slot + 1)
        self._looked_at = -_LOOK_SECONDS
        self.warning.listen()  # anew, since an objective may listen itself
        _stop_at_reports(trial, lambda: self._must_stop(claimed))
        try:
            value = _number(self.objective(trial))
        except TrialPruned:
            told = optuna_study.tell(self.optuna, trial.number, TrialState.PRUNED)
        except Stopped:
            return  # the trial is left as it is: the next worker to look for one goes on with it
        except Exception as error:  # noqa: BLE001 - whatever an objective raises is told
            # What the warning ended beside the objective (its own processes get it, too) is no failure of its own.
            if self.warning.given or self._is_superseded(claimed):
                return
            told = self._failed(trial, error)
        else:
            told = optuna_study.tell(self.optuna, trial.number, TrialState.COMPLETE, value)
        if told:
            self._tell(claimed)

    def _failed(self, trial: Any, error: Exception) -> bool:
        message = f"{type(error).__name__}: {error}"[:2000]
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_globals.get("__name__") == __name__:
            trace = trace.tb_next
        text = "".join(traceback.format_exception(type(error), error, trace))
        sys.stderr.write(text)
        sys.stderr.flush()
        trial.set_user_attr("headnode_traceback", text[-8000:])
        return optuna_study.fail(self.optuna, trial.number, message)

    def _tell(self, claimed: Next) -> None:
        attempts = self._attempts()
        living = self.claims.living(self.owner, lost_seconds=self.study.lost_seconds)
        this = next((one for one in attempts if (one.slot, one.attempt) == (claimed.slot, claimed.attempt)), None)
        if this is not None:
            self.telling.ended(this, attempts, workers=len(living))

    def _must_stop(self, claimed: Next) -> bool:
        now = time.monotonic()
        if not self.warning.given and now - self._looked_at >= _LOOK_SECONDS:
            self._looked_at = now
            return self._is_superseded(claimed)
        return self.warning.given

    def _is_superseded(self, claimed: Next) -> bool:
        return (
            self.claims.is_superseded(claimed.slot, claimed.attempt)
            or self.claims.newest_session() != self.owner.session
        )

    def _attempts(self) -> list[Attempt]:
        return optuna_study.attempts_of(self.optuna)

    @property
    def _job(self) -> str:
        return self.session.rpartition(".")[0]

    @property
    def _on_grid(self) -> bool:
        return bool(self.study.grid)


def _number(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"the objective must return a number, not {value!r}"[:500]) from None
    if math.isnan(number):
        raise ValueError("the objective returned NaN, which is neither better nor worse than anything")
    return number


def _stop_at_reports(trial: Any, is_over: Callable[[], bool]) -> None:
    """Have ``trial.report`` end the objective when ``is_over()``: what it needs it has saved before it reports."""
    report = trial.report

    def report_or_stop(value: float, step: int) -> None:
        if is_over():
            raise Stopped
        report(value, step)
        if is_over():
            raise Stopped

    trial.report = report_or_stop


def load_objective(name: str, code: Path) -> Callable[[Any], Any]:
    """Return the function that ``tune.py:objective`` or ``package.module:objective`` names.

    Raises:
        Exception: whatever its module raises; what can't be found is an ImportError that says so.
    """
    where, _, attribute = name.partition(":")
    if where.endswith(".py"):
        path = (code / where).resolve()
        if not path.is_file():
            there = ", ".join(sorted(each.name for each in code.iterdir())[:20])
            raise ImportError(f"the code has no file {where!r}; it holds {there or 'nothing'}")
        sys.path.insert(0, str(path.parent))
        module = importlib.import_module(path.stem)
        if Path(module.__file__ or "").resolve() != path:
            raise ImportError(f"{where!r} can't be imported, since there is another module {path.stem!r}; rename it")
    else:
        sys.path.insert(0, str(code))
        module = importlib.import_module(where)
    found = getattr(module, attribute, None)
    if not callable(found):
        raise ImportError(f"{where!r} has no function {attribute!r}")  # noqa: TRY004 - as of an import
    return found  # type: ignore[no-any-return]
