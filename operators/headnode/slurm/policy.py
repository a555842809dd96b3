"""What to do when a job fails for a reason that another submission may cure: a pure decision.

    OUT_OF_MEMORY            MoreMemory    the same job with more memory, up to a limit
    TIMEOUT, exit code 75    Resubmit      the same job once more, which goes on from its checkpoint
    NODE_FAIL, BOOT_FAIL     ExcludeNode   the same job on other nodes

Options add up over the submissions of a try: memory stays raised and nodes stay excluded. A job that Slurm itself
requeues, after a preemption or the loss of a node, keeps its id and is no new submission.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any, Final

from headnode.errors import JobSpecError
from headnode.slurm.record import Submission
from headnode.slurm.script import RUN_AGAIN
from headnode.slurm.states import JobState, parse_state

MAX_TIMES: Final = 1000
MAX_SIGNAL_SECONDS: Final = 65_535  # src/common/slurm_opt.c, ``get_signal_opts``

_SIGUSR1: Final = 10
_MEBIBYTES: Final = {"K": 1 / 1024, "M": 1, "G": 1024, "T": 1024**2}  # Slurm's units; without one it is M
_MEMORY_OPTIONS: Final = ("mem", "mem-per-cpu", "mem-per-gpu")
_NODE_ENDS: Final = frozenset({JobState.NODE_FAIL, JobState.BOOT_FAIL})


@dataclass(frozen=True, kw_only=True)
class MoreMemory:
    """After OUT_OF_MEMORY: submit again with ``factor`` times the memory, up to ``limit`` (``128G``).

    What grows is what was asked for: the memory of each node (``memory=``), or ``mem-per-cpu`` or ``mem-per-gpu`` where
    that is given among the options; ``limit`` is for the same. A job that asked for nothing begins from what Slurm gave
    it on each node.

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
        if not isinstance(self.limit, str) or not _mebibytes(self.limit):
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
            raise JobSpecError(
                "on_timeout",
                f"signal_seconds={self.signal_seconds!r} must be a whole number up to {MAX_SIGNAL_SECONDS}",
            )


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


@dataclass(frozen=True, kw_only=True)
class End:
    """How one submission ended. ``memory_mebibytes`` is what each node gave; ``nodes`` is in Slurm's notation."""

    job_id: str
    state: JobState
    exit_code: int | None = None
    signal: int | None = None
    nodes: str | None = None
    memory_mebibytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class Resubmission:
    """Submit once more, with these further options of sbatch; ``reason`` says why in plain words."""

    options: tuple[str, ...]
    reason: str


@dataclass(frozen=True, kw_only=True)
class GiveUp:
    """Submit no more; ``because`` says why where a policy has come to its end."""

    because: str | None = None


def end_of(submission: Submission) -> End:
    """Return the end that the record keeps of a submission."""
    usage = submission.usage
    memory = usage.allocated_memory_bytes if usage is not None else None
    return End(
        job_id=submission.job_id,
        state=parse_state(submission.state or ""),
        exit_code=submission.exit_code,
        signal=submission.signal,
        nodes=submission.nodes,
        memory_mebibytes=ceil(memory / max(usage.node_count, 1) / 2**20) if usage is not None and memory else None,
    )


def decide(policy: FailurePolicy, ends: Sequence[End], requested: Mapping[str, Any]) -> Resubmission | GiveUp:
    """Return what comes after the last one of ``ends``, the failed submissions of a try in their order.

    ``requested`` are the options of the job by their long names, as ``JobSpec.requested`` returns them.
    """
    last = ends[-1]
    if policy.on_out_of_memory is not None and last.state is JobState.OUT_OF_MEMORY:
        memory = _memory(policy.on_out_of_memory, ends, requested)
        if isinstance(memory, GiveUp):
            return memory
        reason = f"job {last.job_id} ran out of memory with {memory.before}; now it gets {memory.after}"
    elif policy.on_timeout is not None and (cause := _out_of_time(last)) is not None:
        count = sum(_out_of_time(end) is not None for end in ends)
        if count > policy.on_timeout.times:
            return GiveUp(because=f"it was submitted again {_times(policy.on_timeout.times)} for that already")
        reason = f"job {last.job_id} {cause}; it goes on {'from its checkpoint' if policy.wants_checkpoint else 'anew'}"
    elif policy.on_node_fail is not None and last.state in _NODE_ENDS:
        if sum(end.state in _NODE_ENDS for end in ends) > policy.on_node_fail.times:
            return GiveUp(because=f"it was submitted again {_times(policy.on_node_fail.times)} for that already")
        known = f"without {last.nodes}" if _usable(last.nodes) else "though which node it was is not known"
        reason = f"job {last.job_id} ended as {last.state.value}; now it runs {known}"
    else:
        return GiveUp()
    return Resubmission(options=_options(policy, ends, requested), reason=reason)


@dataclass(frozen=True, kw_only=True)
class _Memory:
    option: str
    mebibytes: int
    before: str
    after: str


def _options(policy: FailurePolicy, ends: Sequence[End], requested: Mapping[str, Any]) -> tuple[str, ...]:
    """Return all that the submissions so far have taught."""
    options = []
    if policy.on_out_of_memory is not None:
        memory = _memory(policy.on_out_of_memory, ends, requested)
        if isinstance(memory, _Memory):
            options.append(f"--{memory.option}={memory.mebibytes}M")
    if policy.on_node_fail is not None:
        failed = [end.nodes for end in ends if end.state in _NODE_ENDS and end.nodes and _usable(end.nodes)]
        if failed:
            given = [str(requested["exclude"])] if isinstance(requested.get("exclude"), str) else []
            options.append(f"--exclude={','.join(dict.fromkeys(given + failed))}")
    return tuple(options)


def _memory(policy: MoreMemory, ends: Sequence[End], requested: Mapping[str, Any]) -> _Memory | GiveUp | None:
    """Return what the memory has grown to over the ends; None where none of them lacked any."""
    limit = _mebibytes(policy.limit) or 0
    option = next((name for name in _MEMORY_OPTIONS if name in requested), "mem")
    now = _mebibytes(str(requested.get(option, "")))
    whole_node = now == 0
    before, grown = now, False
    for end in ends:
        if end.state is not JobState.OUT_OF_MEMORY:
            continue
        now = now or end.memory_mebibytes
        if whole_node or now is None:
            had = "it had all of its nodes' memory" if whole_node else "how much it had is not known"
            return GiveUp(because=f"{had}; give the operator memory=")
        if now >= limit:
            return GiveUp(because=f"it had {_size(now)} and the limit is {policy.limit}")
        before, now, grown = now, min(ceil(now * policy.factor), limit), True
    if not grown or before is None or now is None:
        return None
    where = {"mem": "on each node", "mem-per-cpu": "for each CPU", "mem-per-gpu": "for each GPU"}[option]
    return _Memory(option=option, mebibytes=now, before=f"{_size(before)} {where}", after=_size(now))


def _out_of_time(end: End) -> str | None:
    if end.state is JobState.TIMEOUT:
        return "ran into its time limit"
    if end.state is not JobState.FAILED:
        return None
    if end.exit_code == RUN_AGAIN:
        return f"asks to go on (exit code {RUN_AGAIN})"
    if end.signal == _SIGUSR1 or end.exit_code == 128 + _SIGUSR1:
        return "was ended by the warning before its time limit (USR1)"
    return None


def _usable(nodes: str | None) -> bool:
    return bool(nodes) and not str(nodes).endswith("...")  # the record cuts very long lists


def _mebibytes(size: str) -> int | None:
    match = re.fullmatch(r"([0-9]+)([KMGT]?)", size)
    return ceil(int(match[1]) * _MEBIBYTES[match[2] or "M"]) if match else None


def _size(mebibytes: int) -> str:
    return f"{mebibytes // 1024}G" if mebibytes % 1024 == 0 else f"{mebibytes}M"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _is_count(value: Any, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most


def _check_times(field: str, times: Any) -> None:
    if not _is_count(times, MAX_TIMES):
        raise JobSpecError(field, f"times={times!r} must be a whole number from 1 to {MAX_TIMES}")
