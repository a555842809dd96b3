"""What the jobs that certify a site show: verdicts on its modules and launchers, from what the jobs wrote."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Literal

from headnode.errors import UnreadableAnswer
from headnode.slurm.visible import visible

Kind = Literal["modules", "launcher"]
_SHOWN_LINES: Final = 10

#: The Python packages that each launcher is for; the first is needed for its hello where it is among ``NEEDED``.
PACKAGES: Final[Mapping[str, tuple[str, ...]]] = {
    "deephyper": ("deephyper",),
    "deepspeed": ("torch", "deepspeed"),
    "heat": ("heat",),
    "horovod": ("horovod",),
    "optuna": ("optuna",),
    "ray": ("ray",),
    "ray-tune": ("ray",),
    "tensorflow": ("tensorflow",),
    "torchrun": ("torch",),
}
NEEDED: Final = frozenset({"deepspeed", "ray", "ray-tune", "torchrun"})
#: What a launcher's job says once its modules are loaded.
ENTERED: Final = "headnode:entered"
_ABSENT: Final = re.compile(r"^headnode:absent ([a-z0-9]{1,40})$", re.MULTILINE)
_HELLO: Final = re.compile(r"^headnode:hello ([0-9]{1,9}) ", re.MULTILINE)
_STACK: Final = re.compile(r"^headnode:stack ([0-9]{1,4}) ([0-9]{1,3}) ([A-Za-z0-9+/=]*)$", re.MULTILINE)
# Tcl's module command ends with 0 whatever it could not load, before version 5.
_COMPLAINT: Final = re.compile(
    r":ERROR:|^ERROR:|Lmod has detected the following error|Unable to locate a modulefile", re.MULTILINE
)


class Verdict(Enum):
    """How a check ended. ``NOT_THERE`` is a framework that is not installed, which is no fault of the site."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_THERE = "not there"
    SKIPPED = "skipped"


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of one check; ``log`` are the last lines of its job where that says why."""

    kind: Kind
    name: str
    verdict: Verdict
    detail: str
    nodes: int = 1
    job_id: str | None = None
    log: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the result in JSON's types."""
        names = ("kind", "name", "detail", "nodes", "job_id")
        return {name: getattr(self, name) for name in names} | {"verdict": self.verdict.value, "log": list(self.log)}


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One job: ``names`` are the stacks that it loads (one, the launcher's kind, for a launcher's hello).

    ``fields`` are those of the job; ``tasks`` is of how many hellos there is a multiple, ``has_stack`` whether modules
    are loaded before.
    """

    kind: Kind
    names: tuple[tuple[str, ...], ...]
    fields: Mapping[str, Any] = field(repr=False)
    nodes: int = 1
    tasks: int = 1
    has_stack: bool = False

    @property
    def title(self) -> str:
        """What to call it while it runs."""
        return self.names[0][0] if self.kind == "launcher" else "modules"

    def results(self, verdict: Verdict, detail: str, **more: Any) -> list[Result]:
        """Return the same result for all that it is about."""
        names = [name for group in self.names for name in group]
        return [
            Result(kind=self.kind, name=name, verdict=verdict, detail=visible(detail), nodes=self.nodes, **more)
            for name in names
        ]


def certifies(results: Iterable[Result]) -> bool:
    """Whether something has passed and nothing has failed: where nothing could be tried, nothing is certified."""
    verdicts = {result.verdict for result in results}
    return Verdict.PASSED in verdicts and Verdict.FAILED not in verdicts


def judge(trial: Trial, *, stdout: str, stderr: str, failure: str | None, job_id: str) -> list[Result]:
    """Return what a job that has ended shows; ``failure`` is how it ended where that was not well."""
    log = tuple(visible(line) for line in [*stdout.split("\n"), *stderr.split("\n")] if line.strip())[-_SHOWN_LINES:]
    if trial.kind == "modules":
        return _judge_stacks(trial, stdout, failure, job_id=job_id, log=log)
    absent = _ABSENT.findall(stdout)
    needed = PACKAGES[trial.title][:1] if trial.title in NEEDED else ()
    after = " after its modules are loaded" if trial.has_stack else ""
    if needed and needed[0] in absent and not failure:
        detail = f"python3 finds no {needed[0]}{after}"
        return trial.results(Verdict.NOT_THERE, detail, job_id=job_id)
    hellos = _HELLO.findall(stdout)
    came = f"{_counted(len(hellos), 'process', 'processes')} on {_counted(len({*hellos}), 'node', 'nodes')} said hello"
    if failure or len({*hellos}) != trial.nodes or len(hellos) % trial.tasks:
        entered = re.search(rf"^{ENTERED}$", stdout, re.MULTILINE) is not None
        why = failure or f"it ended well, but {came}, where {trial.tasks} on {trial.nodes} were asked for"
        detail = why if entered or not trial.has_stack else f"its modules do not load: {why}"
        return trial.results(Verdict.FAILED, detail, job_id=job_id, log=log)
    without = f"; python3 finds no {', '.join(absent)}{after}" if absent else ""
    what = f"Ray ran on {_counted(trial.nodes, 'node', 'nodes')}" if trial.title.startswith("ray") else came
    return trial.results(Verdict.PASSED, what + without, job_id=job_id)


def _counted(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _judge_stacks(trial: Trial, stdout: str, failure: str | None, *, job_id: str, log: tuple[str, ...]) -> list[Result]:
    try:
        told = parse_stacks(stdout)
    except UnreadableAnswer as error:
        return trial.results(Verdict.FAILED, str(error), job_id=job_id, log=log)
    results = []
    for number, names in enumerate(trial.names):
        one = Trial(kind="modules", names=(names,), fields={})
        if number not in told:
            why = failure or "the job ended before they were loaded"
            results += one.results(Verdict.FAILED, why, job_id=job_id, log=log)
            continue
        status, said = told[number]
        if status or _COMPLAINT.search(said):
            lines = tuple(visible(line) for line in said.split("\n") if line.strip())[-_SHOWN_LINES:]
            results += one.results(Verdict.FAILED, "its modules do not load", job_id=job_id, log=lines)
        else:
            results += one.results(Verdict.PASSED, "its modules load", job_id=job_id)
    return results


def parse_stacks(stdout: str) -> dict[int, tuple[int, str]]:
    """Return for each stack of modules that was tried, by its number, its status and what was printed.

    Raises:
        UnreadableAnswer: what was printed can't be decoded.
    """
    told = {}
    for number, status, text in _STACK.findall(stdout):
        try:
            said = base64.b64decode(text, validate=True).decode("utf-8", "replace")
        except (ValueError, binascii.Error) as error:
            raise UnreadableAnswer(f"what was said of the modules can't be read: {text[:100]!r}") from error
        told[int(number)] = (int(status), said)
    return told
