"""What an operator may be told to do when a job fails for a reason that another submission may cure.

    OUT_OF_MEMORY            MoreMemory    the same job with more memory, up to a limit
    TIMEOUT, exit code 75    Resubmit      the same job once more, which goes on from its checkpoint
    NODE_FAIL, BOOT_FAIL     ExcludeNode   the same job on other nodes

Options add up over the submissions of a try: memory stays raised and nodes stay excluded. A job that Slurm itself
requeues, after a preemption or the loss of a node, keeps its id and is no new submission.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any, Final

from headnode.errors import JobSpecError
from headnode.slurm.jobspec import JobSpec
from headnode.slurm.script import asks_for_array, author_options, expected_elements

MAX_TIMES: Final = 1000
MAX_SIGNAL_SECONDS: Final = 65_535  # src/common/slurm_opt.c, ``get_signal_opts``

_MEBIBYTES: Final = {"K": 1 / 1024, "M": 1, "G": 1024, "T": 1024**2}  # Slurm's units; without one it is M
MEMORY_OPTIONS: Final = ("mem", "mem-per-cpu", "mem-per-gpu")


@dataclass(frozen=True, kw_only=True)
class MoreMemory:
    """After OUT_OF_MEMORY: submit again with ``factor`` times the memory, up to ``limit`` (``128G``).

    What grows is what was asked for: the memory of each node (``memory=``), or ``mem-per-cpu`` or ``mem-per-gpu`` where
    that is given among the options; ``limit`` is for the same. Where Slurm gave a job more on each node than it asked
    for, or it asked for nothing, that counts.

    Raises:
        JobSpecError: a value can't be right.
    """

    factor: float = 2.0
    limit: str = "128G"

    def __post_init__(self) -> None:
        """Check the values."""
        number = isinstance(self.factor, int | float) and not isinstance(self.factor, bool)
        if not (number and 1.1 <= self.factor <= 100):  # noqa: PLR2004 - less would never end, more is a slip
            raise JobSpecError("on_out_of_memory", f"factor={self.factor!r} must be a number from 1.1 to 100")
        if not isinstance(self.limit, str) or not parse_mebibytes(self.limit):
            raise JobSpecError("on_out_of_memory", f"limit={self.limit!r} is no memory size; write e.g. '128G'")


@dataclass(frozen=True, kw_only=True)
class Resubmit:
    """After TIMEOUT: submit the same job again, at most ``times`` in a try.

    With ``from_checkpoint`` the job is warned by the signal USR1, ``signal_seconds`` before its time is up (Slurm may
    do so up to 60 s earlier), and finds the directory ``$HEADNODE_CHECKPOINT``, which all submissions of a try share. A
    job that ends with exit code 75, or that the warning ends, is submitted again like one that ran out of time.
    ``docs/checkpoints.md`` has the whole contract for the job.

    Raises:
        JobSpecError: a value can't be right.
    """

    times: int = 3
    from_checkpoint: bool = True
    signal_seconds: int = 120

    def __post_init__(self) -> None:
        """Check the values."""
        _check_times("on_timeout", self.times)
        if not isinstance(self.from_checkpoint, bool):
            raise JobSpecError("on_timeout", f"from_checkpoint={self.from_checkpoint!r} must be True or False")
        if not _is_count(self.signal_seconds, MAX_SIGNAL_SECONDS):
            problem = f"signal_seconds={self.signal_seconds!r} must be a whole number from 1 to {MAX_SIGNAL_SECONDS}"
            raise JobSpecError("on_timeout", problem)

    def sbatch_options(self) -> dict[str, str]:
        """Return the options of sbatch, by long name, that have the job warned."""
        return {"signal": f"B:USR1@{self.signal_seconds}"} if self.from_checkpoint else {}


@dataclass(frozen=True, kw_only=True)
class ExcludeNode:
    """After NODE_FAIL or BOOT_FAIL: submit again without the nodes of that submission, at most ``times`` in a try.

    Where Slurm requeues the job by itself (JobRequeue, the default of many sites) it is waited for instead.

    Raises:
        JobSpecError: a value can't be right.
    """

    times: int = 3

    def __post_init__(self) -> None:
        """Check the values."""
        _check_times("on_node_fail", self.times)


@dataclass(frozen=True, kw_only=True)
class FailurePolicy:
    """What an operator was given; None is to fail."""

    on_out_of_memory: MoreMemory | None = None
    on_timeout: Resubmit | None = None
    on_node_fail: ExcludeNode | None = None

    def __post_init__(self) -> None:
        """Check that each is of its own kind.

        Raises:
            JobSpecError: one is something else.
        """
        for name, kind in _KINDS.items():
            value = getattr(self, name)
            if value is not None and not isinstance(value, kind):
                raise JobSpecError(name, f"must be {kind.__name__}(...) or None, not {value!r}")

    @property
    def wants_checkpoint(self) -> bool:
        """Whether the job is to be warned and given a directory for checkpoints."""
        return self.on_timeout is not None and self.on_timeout.from_checkpoint

    def check(self, spec: JobSpec) -> None:
        """Check that the policy goes with a job.

        Raises:
            JobSpecError: it is an array or heterogeneous, or a value of the policy can't be right for it.
        """
        given = self.to_json()
        if given and asks_for_array(spec):
            raise JobSpecError(next(iter(given)), "is not for job arrays; SlurmArrayOperator has element_retries")
        if expected_elements(spec) != 1 and (self.on_out_of_memory or self.on_node_fail):
            name = "on_out_of_memory" if self.on_out_of_memory else "on_node_fail"
            raise JobSpecError(name, "is not for heterogeneous jobs: which component failed is not known")
        if self.on_timeout is not None and self.wants_checkpoint and spec.time_limit is not None:
            seconds = self.on_timeout.signal_seconds
            if seconds >= spec.time_limit.total_seconds():
                raise JobSpecError("on_timeout", f"signal_seconds={seconds} is no less than the time limit of the job")
        if self.on_out_of_memory is not None:
            asked = asked_memory({**spec.requested(), **author_options(spec)})[1]
            limit = self.on_out_of_memory.limit
            if asked is not None and asked >= (parse_mebibytes(limit) or 0):
                raise JobSpecError("on_out_of_memory", f"limit={limit!r} is no more than the job asks for")

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON types, as triggers store it."""
        return {name: asdict(value) for name in _KINDS if (value := getattr(self, name)) is not None}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any] | None) -> FailurePolicy:
        """Return what ``to_json`` was called on; None is a policy that always fails."""
        return cls(**{name: kind(**stored[name]) for name, kind in _KINDS.items() if stored and name in stored})


_KINDS: Final[dict[str, type[Any]]] = {
    "on_out_of_memory": MoreMemory,
    "on_timeout": Resubmit,
    "on_node_fail": ExcludeNode,
}


def asked_memory(requested: Mapping[str, Any]) -> tuple[str, int | None]:
    """Return the option of sbatch by which a job asks for memory (``mem`` by default), and what it asks for in MiB."""
    option = next((name for name in MEMORY_OPTIONS if name in requested), "mem")
    return option, parse_mebibytes(str(requested.get(option, "")))


def parse_mebibytes(size: str) -> int | None:
    """Return a memory size in Slurm's notation (``8G``, ``300`` is in M) in MiB, rounded up; None if it is none."""
    match = re.fullmatch(r"([0-9]{1,15})([KMGT]?)", size)
    return ceil(int(match[1]) * _MEBIBYTES[match[2] or "M"]) if match else None


def _is_count(value: Any, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most


def _check_times(field: str, times: Any) -> None:
    if not _is_count(times, MAX_TIMES):
        raise JobSpecError(field, f"times={times!r} must be a whole number from 1 to {MAX_TIMES}")
