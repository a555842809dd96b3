"""Following a job, as a pure state machine: what was seen goes in, what to do comes out.

A job that squeue shows is waited for. One that left squeue is asked of sacct; one that neither knows is waited for,
and is lost after ``LOST_AFTER_SECONDS``: it is never taken for a success. Times are seconds of a monotonic clock
that the caller reads.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from headnode.slurm.answers import AccountingEntry, QueueEntry
from headnode.slurm.states import JobState, phase_of

# slurmctld hands its records to slurmdbd with a delay that no document bounds.
LOST_AFTER_SECONDS: Final = 600.0
# Accounting hears of an array's elements in batches (slurmctld sends starts every 5 s, ``_set_db_inx_thread``), and
# knows nothing of those of which it has not heard; for some seconds it even shows one of them under the array's own
# id, like a plain job. Where it is not known how many elements there are, they have ended when for so long nothing
# was added.
ARRAY_SETTLE_SECONDS: Final = 15.0
# These ends are taken back when Slurm requeues the job; they count when they are seen twice.
_REVOCABLE: Final = frozenset({JobState.PREEMPTED, JobState.NODE_FAIL, JobState.BOOT_FAIL})


@dataclass(frozen=True, kw_only=True)
class Followed:
    """What is known of a job so far."""

    job_id: str
    state: JobState = JobState.PENDING
    state_word: str = "PENDING"
    reason: str | None = None
    nodes: str | None = None
    missing_since: float | None = None
    elements: int | None = None  # how many accounting must know, 1 for a plain job; None is unknown
    end_seen: tuple[JobState, int] | None = None  # with the number of elements
    end_seen_since: float = 0.0


@dataclass(frozen=True)
class Wait:
    """Look again at the next interval."""


@dataclass(frozen=True)
class AskAccounting:
    """The job has left squeue: ask sacct."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """The job has ended; ``entry`` is accounting's last word."""

    entry: AccountingEntry


@dataclass(frozen=True)
class Lost:
    """Neither squeue nor sacct has known the job for too long."""


def observe_queue(job: Followed, entry: QueueEntry | None) -> tuple[Followed, Wait | AskAccounting]:
    """Take in what squeue says of the job; None is that it is not there."""
    if entry is None or phase_of(entry.state).ended:
        return job, AskAccounting()
    seen = replace(
        job,
        state=entry.state,
        state_word=entry.state_word,
        reason=entry.reason,
        nodes=entry.nodes or job.nodes,
        missing_since=None,
        elements=job.elements if entry.is_compound else 1,
        end_seen=None,
    )
    return seen, Wait()


def observe_accounting(
    job: Followed, entry: AccountingEntry | None, now: float
) -> tuple[Followed, Wait | Ended | Lost]:
    """Take in what sacct says of a job that squeue does not show; None is that it knows nothing of it."""
    if entry is None or not phase_of(entry.state).ended:
        since = now if job.missing_since is None else job.missing_since
        job = replace(job, missing_since=since, end_seen=None)
        if now - since >= LOST_AFTER_SECONDS and entry is None:
            return job, Lost()
        return job, Wait()
    end = (entry.state, entry.elements)
    is_new = job.end_seen != end
    job = replace(job, end_seen=end, end_seen_since=now if is_new else job.end_seen_since)
    if entry.state in _REVOCABLE and is_new:
        return replace(job, state=entry.state, state_word=entry.state_word), Wait()
    complete = job.elements is not None and entry.elements >= job.elements
    if not complete and now - job.end_seen_since < ARRAY_SETTLE_SECONDS:
        return job, Wait()
    return replace(job, state=entry.state, state_word=entry.state_word, reason=None, nodes=entry.nodes), Ended(
        entry=entry
    )


def next_interval(previous: float, *, changed: bool, fastest: float, slowest: float) -> float:
    """Return the seconds until the next look: the fastest after a change, else a quarter longer each time."""
    return fastest if changed else min(max(previous * 1.25, fastest), slowest)
