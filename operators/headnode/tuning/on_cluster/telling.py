"""The lines that a study leaves in the log, each of which stands for itself."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from .setting import Study
from .slots import Attempt, State, best, failures_in_a_row, finished

_LONGEST_PARAMS = 200
_LONGEST_FAILURE = 300


class Telling:
    """What is said of one study."""

    def __init__(self, study: Study) -> None:
        self._study = study

    def begins(self, attempts: Iterable[Attempt], *, journal: str) -> None:
        """Say what is searched, or how far the search had come."""
        study, attempts = self._study, list(attempts)
        plan = f"{study.trials} trials of {study.objective} by {study.workers} workers"
        how = f"{'maximize' if study.maximize else 'minimize'}, sampler {_named(study.sampler)}"
        say(f"study: {plan}, {how}, pruner {_named(study.pruner)}, journal {journal}")
        if over := finished(attempts, on_grid=bool(study.grid)):
            say(f"the study goes on: {len(over)} of {study.trials} trials are over, {self._best(attempts)}")

    def ended(self, this: Attempt, attempts: Iterable[Attempt], *, workers: int) -> None:
        """Say how a trial ended, and how the study stands."""
        attempts = list(attempts)
        over = finished(attempts, on_grid=bool(self._study.grid)).values()
        counts = [f"{workers} worker{'s' if workers != 1 else ''}", f"{len(over)} done"]
        for state in (State.PRUNED, State.FAILED):
            some = over if state is State.PRUNED else attempts
            if number := sum(each.state is state for each in some):
                counts.append(f"{number} {state.value}")
        say(f"{self._name(this)}: {self._end(this)} - {self._best(attempts)}, {', '.join(counts)}")

    def takes_over(self, left: Attempt, *, by: int, lost: bool) -> None:
        """Say that a worker goes on with what another has left."""
        why = "its worker is gone" if lost else "its job was over"
        say(f"{self._name(left)}: {why} ({left.worker}), worker {by} goes on with it ({render_params(left.params)})")

    def gives_up(self, attempts: Iterable[Attempt]) -> str:
        """Return why the study ends before its time: too many failures in a row."""
        return f"{len(failures_in_a_row(attempts))} trials in a row failed, which max_failures does not allow"

    def _name(self, attempt: Attempt) -> str:
        return f"trial {attempt.slot + 1} of {self._study.trials}"

    def _end(self, this: Attempt) -> str:
        params = render_params(this.params)
        if this.state is State.FAILED:
            return f"failed, {visible(this.failure or 'for no known reason', _LONGEST_FAILURE)} ({params})"
        if this.state is State.PRUNED:
            step = max(this.intermediate, default=None)
            at = f" at step {step} with {render_value(this.intermediate[step])}" if step is not None else ""
            return f"pruned{at} ({params})"
        return f"{render_value(this.value)} ({params})"

    def _best(self, attempts: Iterable[Attempt]) -> str:
        found = best(attempts, maximize=self._study.maximize)
        return f"best so far {render_value(found.value)} in trial {found.slot + 1}" if found else "no best yet"


def say(line: str) -> None:
    """Write a line at once, and in one piece: workers share their output."""
    sys.stdout.flush()
    os.write(sys.stdout.fileno(), (line + "\n").encode("utf-8", "replace"))


def render_value(value: Any) -> str:
    """Return a value or a parameter as short as it can be read: 0.9312, 1e-05, adam."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return visible(str(value), 60)
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def render_params(params: Mapping[str, Any]) -> str:
    """Return ``lr=0.01, depth=3``."""
    text = ", ".join(f"{visible(name, 60)}={render_value(value)}" for name, value in params.items())
    return text if len(text) <= _LONGEST_PARAMS else f"{text[: _LONGEST_PARAMS - 3]}..."


def visible(text: str, longest: int) -> str:
    """Return the text on one line."""
    line = "".join(each if each.isprintable() else " " for each in text)
    return line if len(line) <= longest else f"{line[: longest - 3]}..."


def _named(description: Mapping[str, Any]) -> str:
    arguments = {name: value for name, value in description.items() if name not in ("kind", "space")}
    return f"{description['kind']}{f' ({render_params(arguments)})' if arguments else ''}"
