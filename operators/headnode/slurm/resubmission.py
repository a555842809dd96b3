"""What follows a failed submission of a job: a pure decision over all that the try has seen so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Final

from headnode.slurm.policy import FailurePolicy, MoreMemory, asked_memory, parse_mebibytes
from headnode.slurm.record import Submission
from headnode.slurm.script import RUN_AGAIN
from headnode.slurm.states import JobState, parse_state

_SIGUSR1: Final = 10
_NODE_ENDS: Final = frozenset({JobState.NODE_FAIL, JobState.BOOT_FAIL})
# Slurm starts a job again after these, which jobs with secrets forbid it (``triggers.secrets``).
_REQUEUED_ENDS: Final = _NODE_ENDS | {JobState.PREEMPTED}
MOST_IN_PLACE_OF_REQUEUES: Final = 20


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


def decide(
    policy: FailurePolicy, ends: Sequence[End], requested: Mapping[str, Any], *, in_place_of_requeue: bool = False
) -> Resubmission | GiveUp:
    """Return what comes after the last one of ``ends``, the failed submissions of a try in their order.

    ``requested`` are the options of the job by their long names, as ``JobSpec.requested`` returns them.
    ``in_place_of_requeue`` tells that Slurm may not start the job again by itself, as it does with others.
    """
    last = ends[-1]
    if policy.on_out_of_memory is not None and last.state is JobState.OUT_OF_MEMORY:
        memory = _memory(policy.on_out_of_memory, ends, requested)
        if not isinstance(memory, _Memory):
            return memory or GiveUp()
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
    elif in_place_of_requeue and last.state in _REQUEUED_ENDS and "no-requeue" not in requested:
        if sum(end.state in _REQUEUED_ENDS for end in ends) > MOST_IN_PLACE_OF_REQUEUES:
            return GiveUp(because=f"it was submitted again {MOST_IN_PLACE_OF_REQUEUES} times for that already")
        reason = f"job {last.job_id} ended as {last.state.value}; in place of a requeue it is submitted again"
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
    limit = parse_mebibytes(policy.limit) or 0
    option, now = asked_memory(requested)
    whole_node = now == 0
    before, grown = now, False
    for end in ends:
        if end.state is not JobState.OUT_OF_MEMORY:
            continue
        if option == "mem":
            # Of a job that was taken over from an earlier try only Slurm knows what it asked for.
            now = max(now or 0, end.memory_mebibytes or 0) or None
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


def _size(mebibytes: int) -> str:
    return f"{mebibytes // 1024}G" if mebibytes % 1024 == 0 else f"{mebibytes}M"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
