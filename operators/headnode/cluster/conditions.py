"""What can be waited for on a cluster, and whether what was seen is it: functions of data, without I/O or clock.

``now`` is the cluster's own clock, in seconds since the epoch, read in the same answer as what is judged by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

from headnode.errors import CommandRefused, HeadnodeError, JobLost
from headnode.slurm.nodes import NodeGroup, nodes_in
from headnode.slurm.reservations import Reservation, next_maintenance


@dataclass(frozen=True, kw_only=True)
class PathState:
    """A path that is there, with its size in bytes and the seconds since the epoch at which it changed.

    Of a directory, these are the sum and the newest of what lies directly in it, and ``entries`` counts that.
    """

    path: str
    size: int
    mtime: str  # with its fraction, as printed: a double would not hold the nanoseconds
    entries: int | None = None

    @property
    def version(self) -> str:
        """Differs when the content differs, as far as size and time of change tell."""
        return f"{self.size} {self.mtime}" + ("" if self.entries is None else f" {self.entries}")

    @property
    def is_empty(self) -> bool:
        """Whether it is a file of no bytes or a directory without entries."""
        return not (self.size if self.entries is None else self.entries)


@dataclass(frozen=True, kw_only=True)
class NamedJobSeen:
    """A job that squeue or sacct lists under a name."""

    job_id: str
    name: str
    submitted_at: int


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What one look at the cluster has shown; an error stands where that could not be seen."""

    now: int
    paths: Mapping[str, PathState | HeadnodeError | None] = field(default_factory=dict)
    nodes: Sequence[NodeGroup] | HeadnodeError = ()
    reservations: Sequence[Reservation] | HeadnodeError = ()
    jobs: Mapping[str, Sequence[NamedJobSeen] | HeadnodeError] = field(default_factory=dict)  # by user, "" is one's own


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What is kept of a condition from one look to the next."""

    version: str | None = None
    since: int = 0


@dataclass(frozen=True, kw_only=True)
class Met:
    """The condition holds. ``found`` is what a sensor returns, in JSON's types; ``version`` tells one from the next."""

    found: dict[str, Any]
    version: str


@dataclass(frozen=True, kw_only=True)
class NotYet:
    """It does not hold; ``why`` in plain words, and after how many seconds it may, where that is known."""

    why: str
    again_in_seconds: float | None = None


Verdict = Met | NotYet


@dataclass(frozen=True, kw_only=True)
class PathExists:
    """The path is there; with ``non_empty`` it holds something, and nothing has changed for ``stable_seconds``."""

    kind: ClassVar = "path"

    path: str
    non_empty: bool = False
    stable_seconds: float = 0.0

    def judge(self, seen: Observation, memory: Memory) -> tuple[Verdict, Memory]:
        """Judge by the time of change, or by what earlier looks saw where that lies in the future.

        Raises:
            PathUnreadable: it is not known whether the path is there.
        """
        state = known(seen.paths[self.path])
        if state is None:
            return NotYet(why=f"{self.path} is not there"), Memory()
        changed = memory.version is not None and memory.version != state.version
        if memory.version != state.version:
            memory = Memory(version=state.version, since=seen.now)
        if self.non_empty and state.is_empty:
            return NotYet(why=f"{self.path} is empty"), memory
        quiet = max(seen.now - float(state.mtime), seen.now - memory.since)
        if self.stable_seconds and (changed or quiet < self.stable_seconds):
            left = max(self.stable_seconds - quiet, 0.0)
            changed_at = _utc(float(state.mtime))
            why = f"{self.path} ({state.size} bytes) has changed at {changed_at}, {self.stable_seconds:g} s must pass"
            return NotYet(why=why, again_in_seconds=left), memory
        found = {"path": state.path, "size": state.size, "mtime": float(state.mtime)}
        if state.entries is not None:
            found["entries"] = state.entries
        return Met(found=found, version=state.version), memory


@dataclass(frozen=True, kw_only=True)
class PartitionFree:
    """The partition has so many nodes without any job, and so many GPUs (of a type) on nodes that take jobs."""

    kind: ClassVar = "partition"

    partition: str
    nodes: int = 0
    gpus: int = 0
    gpu_type: str | None = None

    def judge(self, seen: Observation, memory: Memory) -> tuple[Verdict, Memory]:
        """Count what is free.

        Raises:
            CommandRefused: the cluster has no such partition, or no such GPUs, so that waiting can't help.
        """
        groups = [each for each in known(seen.nodes) if each.partition == self.partition]
        self._refuse_the_impossible(groups)
        free_nodes = sum(each.free_nodes for each in groups)
        free_gpus = sum(each.free_gpus(self.gpu_type) for each in groups)
        down = {each.available for each in groups} - {"up"}
        if down:
            return NotYet(why=f"partition {self.partition} is {', '.join(sorted(down))}"), memory
        if free_nodes < self.nodes or free_gpus < self.gpus:
            return NotYet(why=self._too_few(free_nodes, free_gpus)), memory
        found = {"partition": self.partition, "free_nodes": free_nodes, "free_gpus": free_gpus}
        return Met(found=found, version=str(found)), memory

    def _too_few(self, free_nodes: int, free_gpus: int) -> str:
        parts = [f"{free_nodes} of the {self.nodes} nodes"] if self.nodes else []
        parts += [f"{free_gpus} of the {self.gpus} {self._gpus}"] if self.gpus else []
        return f"partition {self.partition} has {' and '.join(parts)} free that are waited for"

    @property
    def _gpus(self) -> str:
        return f"GPUs of type {self.gpu_type}" if self.gpu_type else "GPUs"

    def _refuse_the_impossible(self, groups: Sequence[NodeGroup]) -> None:
        if not groups:
            raise CommandRefused(f"the cluster shows no partition {self.partition!r}; `sinfo` lists those it has")
        nodes = sum(each.count for each in groups)
        gpus = sum(
            each.count * (each.gpus.get(self.gpu_type, 0) if self.gpu_type else sum(each.gpus.values()))
            for each in groups
        )
        if nodes < self.nodes or gpus < self.gpus:
            raise CommandRefused(
                f"partition {self.partition} has {nodes} nodes and {gpus} {self._gpus} in all, fewer than the"
                f" {self.nodes} nodes and {self.gpus} GPUs that are waited for"
            )


@dataclass(frozen=True, kw_only=True)
class NoMaintenance:
    """No reservation with the flag MAINT is active or begins within the time, on the partition's nodes or on any."""

    kind: ClassVar = "maintenance"

    within_seconds: float
    partition: str | None = None

    def judge(self, seen: Observation, memory: Memory) -> tuple[Verdict, Memory]:
        """Look for the first maintenance.

        Raises:
            CommandRefused: the cluster has no such partition.
        """
        reservations = known(seen.reservations)
        nodes = None
        if self.partition is not None:
            groups = [each for each in known(seen.nodes) if each.partition == self.partition]
            PartitionFree(partition=self.partition)._refuse_the_impossible(groups)  # noqa: SLF001 - same rule
            nodes = nodes_in(groups)
        first = next_maintenance(reservations, now=seen.now, within_seconds=self.within_seconds, nodes=nodes)
        if first is None:
            found = {"partition": self.partition, "free_until": seen.now + round(self.within_seconds)}
            return Met(found=found, version="none"), memory
        left = float(first.end - seen.now)
        begins = "began" if first.start <= seen.now else "begins"
        why = f"maintenance {first.name} of {first.nodes} {begins} at {_utc(first.start)} and ends at {_utc(first.end)}"
        return NotYet(why=why, again_in_seconds=left), memory


@dataclass(frozen=True, kw_only=True)
class JobNamed:
    """A job of this name was submitted, not longer ago than ``submitted_within_seconds``; the newest counts."""

    kind: ClassVar = "job"

    name: str
    user: str = ""
    submitted_within_seconds: float = 86_400.0
    must_exist: bool = False

    def judge(self, seen: Observation, memory: Memory) -> tuple[Verdict, Memory]:
        """Choose the newest, and of those of one second that with the highest id.

        Raises:
            JobLost: there is none, and there must be.
        """
        jobs = [
            each
            for each in known(seen.jobs[self.user])
            if each.name == self.name and each.submitted_at >= seen.now - self.submitted_within_seconds
        ]
        if not jobs:
            whose = f" of user {self.user}" if self.user else ""
            hours = self.submitted_within_seconds / 3600
            why = f"no job {self.name!r}{whose} was submitted in the last {hours:g} h"
            if self.must_exist:
                raise JobLost(why)
            return NotYet(why=why), memory
        newest = max(jobs, key=lambda job: (job.submitted_at, int(job.job_id)))
        found = {"job_id": newest.job_id, "submitted_at": newest.submitted_at, "jobs": len({j.job_id for j in jobs})}
        return Met(found=found, version=newest.job_id), memory


Condition = PathExists | PartitionFree | NoMaintenance | JobNamed
_KINDS: Final[Mapping[str, type[Condition]]] = {
    each.kind: each for each in (PathExists, PartitionFree, NoMaintenance, JobNamed)
}


def known(answer: Any) -> Any:
    """Return what was seen, or raise the error that stands in its place."""
    if isinstance(answer, HeadnodeError):
        raise answer
    return answer


def _utc(seconds: float) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError):
        return f"{seconds:.0f} s after the epoch"  # a file system may hold any number


def to_json(condition: Condition) -> dict[str, Any]:
    """Return the condition in JSON's types; ``from_json`` reads it."""
    return {"kind": condition.kind, **asdict(condition)}


def from_json(fields: Mapping[str, Any]) -> Condition:
    """Return the condition that ``to_json`` was given."""
    rest = dict(fields)
    return _KINDS[rest.pop("kind")](**rest)
