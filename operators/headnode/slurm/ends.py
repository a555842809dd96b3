"""What the end of a job means: nothing, or an error that says what happened and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from headnode.errors import JobCancelled, JobError, JobFailed, JobOutOfMemory, JobTimedOut, NodeFailed
from headnode.slurm.accounting import AccountingEntry
from headnode.slurm.states import JobState, Phase, phase_of
from headnode.slurm.visible import visible_block

_ENDS: Final[dict[JobState, tuple[type[JobError], str]]] = {
    JobState.TIMEOUT: (
        JobTimedOut,
        "give it a longer time_limit, or let it go on from checkpoints with on_timeout=Resubmit()",
    ),
    JobState.DEADLINE: (JobTimedOut, "its deadline passed before it was done"),
    JobState.OUT_OF_MEMORY: (JobOutOfMemory, "give it more memory, or on_out_of_memory=MoreMemory()"),
    JobState.CANCELLED: (JobCancelled, "somebody cancelled it with scancel"),
    JobState.PREEMPTED: (JobCancelled, "a job of higher priority took its nodes and it was not requeued"),
    JobState.NODE_FAIL: (
        NodeFailed,
        "a node broke under it; running it again, or on_node_fail=ExcludeNode(), may help",
    ),
    JobState.BOOT_FAIL: (NodeFailed, "a node did not start; running it again, or on_node_fail=ExcludeNode(), may help"),
}


def kind_of_end(state: JobState) -> tuple[type[JobError], str]:
    """Return the error that an end in ``state`` is, and what can be done about it."""
    return _ENDS.get(state, (JobFailed, "its own output says more"))


def job_error(
    entry: AccountingEntry,
    *,
    where: str,
    log_tail: Sequence[str] = (),
    not_again: str | None = None,
    raised: tuple[str, str] | None = None,
) -> JobError | None:
    """Return the error that the job's end is, or None where it ended well.

    ``where`` names the cluster in the message, ``log_tail`` are the last lines that the job wrote, ``not_again`` is why
    a policy that could have submitted it once more has not. ``raised`` is the exception of a job that runs a function,
    in a few words and with its traceback, which is shown in place of the log.
    """
    if phase_of(entry.state) is Phase.SUCCEEDED:
        return None
    kind, advice = kind_of_end(entry.state)
    took = timedelta(seconds=entry.usage.elapsed_seconds)
    parts = [f"job {entry.job_id} on {where} ended as {entry.state_word}", f"after {took}"]
    if entry.elements > 1:
        parts.append(f"in {entry.failed_elements} of {entry.elements} elements")
    if entry.exit_code:
        parts.append(f"with exit code {entry.exit_code}")
    if entry.signal:
        parts.append(f"by signal {entry.signal}")
    if entry.nodes:
        parts.append(f"on {entry.nodes}")
    message = f"{' '.join(parts)}: {f'its function raised {visible_block(raised[0]).strip()}' if raised else advice}"
    if not_again:
        message += f". It is not submitted again: {not_again}"
    if raised:
        message += "\n" + visible_block(raised[1].rstrip("\n"))
    elif log_tail:
        message += "\nThe last lines of its log:\n" + "\n".join(f"  {line}" for line in log_tail)
    return kind(message)
