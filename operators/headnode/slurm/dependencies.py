"""Dependencies between the jobs of tasks: what a DAG's author asks for, and what the other task's standing means.

A pure core: what is known of the other task goes in, a verdict comes out. slurmctld knows a job only until MinJobAge
after its end, and takes a dependency on an id that it does not know as met, whatever the kind (22.05, tried; others
refuse the job with "Job dependency problem"). So an end is judged by the other task's own end in Airflow, and only a
job that slurmctld still knows is ever named to sbatch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from headnode.errors import JobSpecError
from headnode.slurm.record import JobRecord
from headnode.slurm.states import parse_state, phase_of

#: What the other task's job must do: end well, end, end well element by element, end otherwise than well.
KINDS: Final = ("afterok", "afterany", "aftercorr", "afternotok")
SINGLETON: Final = "singleton"
NEVER_SATISFIED: Final = "DependencyNeverSatisfied"

_WITH_A_JOB: Final = frozenset({"deferred", "running"})
_FAILED: Final = frozenset({"failed", "upstream_failed"})
_ENDED: Final = _FAILED | {"success", "skipped", "removed"}


@dataclass(frozen=True, kw_only=True)
class Dependencies:
    """Task ids by kind, and whether no other job of the same name and user may run at the same time."""

    tasks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    singleton: bool = False

    def __bool__(self) -> bool:
        return bool(self.tasks) or self.singleton

    def pairs(self) -> list[tuple[str, str]]:
        """Return the dependencies as (kind, task id)."""
        return [(kind, task_id) for kind, task_ids in self.tasks.items() for task_id in task_ids]

    def to_json(self) -> dict[str, Any]:
        """Return the dependencies as JSON types, which ``parse_dependencies`` reads again."""
        tasks: dict[str, Any] = {kind: list(task_ids) for kind, task_ids in self.tasks.items()}
        return tasks | ({SINGLETON: True} if self.singleton else {})


def parse_dependencies(value: Any, *, task_id: str | None = None) -> Dependencies:
    """Return what ``depends_on=`` asks for: a task (by id or as an operator), a list of them, or lists by kind.

    ``task_id`` is the task that asks.

    Raises:
        JobSpecError: an unknown kind, a task that depends on itself or is named twice, or a value of another form.
    """
    by_kind = value if isinstance(value, Mapping) else {"afterok": value}
    tasks, singleton = {}, False
    for kind, asked in by_kind.items():
        if kind == SINGLETON:
            if not isinstance(asked, bool):
                raise JobSpecError("depends_on", f"'singleton' must be True or False, not {asked!r}")
            singleton = asked
        elif kind in KINDS:
            if ids := tuple(_task_id(each) for each in _listed(asked)):
                tasks[kind] = ids
        else:
            raise JobSpecError("depends_on", f"{kind!r} is no kind of dependency; use {', '.join(KINDS)} or singleton")
    named = [each for ids in tasks.values() for each in ids]
    if task_id is not None and task_id in named:
        raise JobSpecError("depends_on", f"the task depends on itself ({task_id!r})")
    if twice := sorted({each for each in named if named.count(each) > 1}):
        raise JobSpecError("depends_on", f"{', '.join(map(repr, twice))} is named more than once")
    return Dependencies(tasks=tasks, singleton=singleton)


def _listed(asked: Any) -> Iterable[Any]:
    return () if asked is None else asked if isinstance(asked, list | tuple | set | frozenset) else (asked,)


def _task_id(task: Any) -> str:
    found = task if isinstance(task, str) else getattr(getattr(task, "operator", task), "task_id", None)
    if not isinstance(found, str) or not found.strip():
        raise JobSpecError("depends_on", f"{task!r} is neither a task's id nor a task")
    return found


@dataclass(frozen=True, kw_only=True)
class OtherTask:
    """What is known of a task that is depended on. ``state`` is Airflow's word, None before it is scheduled."""

    task_id: str
    exists: bool = True
    state: str | None = None
    record: JobRecord | None = None


@dataclass(frozen=True)
class NotYet:
    """Wait: nothing can be said or submitted yet."""

    why: str


@dataclass(frozen=True)
class DependOn:
    """The other task has jobs that have not ended: Slurm waits for them."""

    job_ids: tuple[str, ...]


@dataclass(frozen=True)
class Met:
    """The other task has ended as it must; nothing is left to wait for."""

    why: str


@dataclass(frozen=True)
class Never:
    """The other task has ended otherwise than it must."""

    why: str


Verdict = NotYet | DependOn | Met | Never


def judge(kind: str, other: OtherTask, *, host: str) -> Verdict:
    """Return what a dependency of ``kind`` on ``other`` means for a job on ``host``."""
    name = f"task {other.task_id!r}"
    if not other.exists:
        return Never(f"{name} is not in this DAG run, or is mapped and has no instance with this task's map index")
    if other.state is not None and other.state in _ENDED:
        return _judge_end(kind, other.state, f"{name} ended as {other.state}{_end_of(other.record)}")
    record = other.record
    if record is None or other.state not in _WITH_A_JOB:
        return NotYet(f"{name} is {other.state or 'not scheduled yet'} and has no job yet")
    return _judge_job(record, f"{name} is {other.state}", host=host)


def _judge_job(record: JobRecord, task: str, *, host: str) -> Verdict:
    if record.host != host:
        return Never(
            f"{task} and has its job on {record.host}, but this one is for {host}: Slurm knows only its own cluster's"
            " jobs; put the tasks in order with >> instead"
        )
    if phase_of(parse_state(record.state)).ended:
        return NotYet(f"{task}, its job {record.job_id} ended as {record.state}")
    if record.jobs_to_come:
        return NotYet(f"{task} and has still to submit {record.jobs_to_come} of its array jobs")
    job_ids = unfinished_job_ids(record)
    if not all(re.fullmatch("[0-9]{1,10}", job_id) for job_id in job_ids):
        return Never(f"{task}, and its record names no job of Slurm but {job_ids!r}")
    return DependOn(job_ids)


def _judge_end(kind: str, state: str, ended: str) -> Verdict:
    if kind == "afterany":
        return Met(ended)
    wanted = state in _FAILED if kind == "afternotok" else state == "success"
    return Met(ended) if wanted else Never(ended)


def _end_of(record: JobRecord | None) -> str:
    if record is None:
        return " without a job"
    exit_code = f" with exit code {record.exit_code}" if record.exit_code else ""
    return f", its job {record.job_id} as {record.state}{exit_code}"


def unfinished_job_ids(record: JobRecord) -> tuple[str, ...]:
    """Return the ids of the record's jobs that have not ended: one, or those of an array in several parts."""
    ids = [
        each.job_id for each in record.submissions if each.state is None or not phase_of(parse_state(each.state)).ended
    ]
    return tuple(dict.fromkeys(ids)) or (record.job_id,)


def render_dependency(verdicts: Iterable[tuple[str, Verdict]], *, singleton: bool) -> str:
    """Return the value of ``sbatch --dependency``, empty where nothing is left to wait for."""
    by_kind: dict[str, list[str]] = {}
    for kind, verdict in verdicts:
        if isinstance(verdict, DependOn):
            by_kind.setdefault(kind, []).extend(verdict.job_ids)
    parts = [":".join([kind, *dict.fromkeys(job_ids)]) for kind, job_ids in by_kind.items()]
    return ",".join([*parts, SINGLETON] if singleton else parts)
