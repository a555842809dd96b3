"""Following a job, as a pure state machine: what was seen goes in, what to do comes out.

A job that squeue shows is waited for. One that left squeue is asked of sacct; one that neither knows, or that sacct
still holds for unfinished, is asked of slurmctld's memory and of its own end marker; one that nobody knows is lost in
the end: it is never taken for a success. Times are seconds of a monotonic clock that the caller reads, but for those
named after the cluster's clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from headnode.slurm.accounting import AccountingEntry
from headnode.slurm.answers import QueueEntry
from headnode.slurm.states import JobState, Phase, phase_of

# slurmctld hands its records to slurmdbd with a delay that no document bounds.
LOST_AFTER_SECONDS: Final = 600.0
# After this part of it, whoever else may know is asked too.
_DOUBT: Final = 0.1
# Accounting hears of an array's elements in batches (slurmctld sends starts every 5 s, ``_set_db_inx_thread``), and
# knows nothing of those of which it has not heard; for some seconds it even shows one of them under the array's own
# id, like a plain job. Where it is not known how many elements there are, they have ended when for so long nothing
# was added.
ARRAY_SETTLE_SECONDS: Final = 15.0
# The longest interval while a job is expected to end soon.
SOON_SECONDS: Final = 5.0
# So many that are expected to end soon are taken for a wave that is about to end.
WAVE_OF_JOBS: Final = 20
# These ends are taken back when Slurm requeues the job; they count when they are seen twice.
_REVOCABLE: Final = frozenset({JobState.PREEMPTED, JobState.NODE_FAIL, JobState.BOOT_FAIL})
_WAITING: Final = frozenset({Phase.PENDING, Phase.BLOCKED})


@dataclass(frozen=True, kw_only=True)
class Followed:
    """What is known of a job so far.

    ``counts`` are an array's unfinished elements by state word; ``pending_seconds`` is how long the job has waited in
    the queue since it was submitted or requeued, by the cluster's clock, None where it does not wait.
    ``ends_in_seconds`` is when it reaches its time limit, None where that is not known. ``last_submitted_at`` is
    when it, or the last of its elements, was submitted or requeued, by the cluster's clock.
    """

    job_id: str
    state: JobState = JobState.PENDING
    state_word: str = "PENDING"
    reason: str | None = None
    nodes: str | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    pending_seconds: int | None = None
    ends_in_seconds: int | None = None
    last_submitted_at: int | None = None
    missing_since: float | None = None
    elements: int | None = None  # how many accounting must know, 1 for a plain job; None is unknown
    end_seen: tuple[JobState, int] | None = None  # with the number of elements
    end_seen_since: float = 0.0
    script_over: bool = False


@dataclass(frozen=True)
class Wait:
    """Look again at the next interval. ``doubtful`` is: ask slurmctld's memory and the job's own end marker too."""

    doubtful: bool = False


@dataclass(frozen=True)
class AskAccounting:
    """The job has left squeue: ask sacct."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """The job has ended; ``entry`` is the last word about it."""

    entry: AccountingEntry


@dataclass(frozen=True)
class Lost:
    """Nobody has known the job for too long."""


def observe_queue(job: Followed, entry: QueueEntry | None, now_epoch: int) -> tuple[Followed, Wait | AskAccounting]:
    """Take in what squeue says of the job at ``now_epoch`` of the cluster's clock; None is that it is not there."""
    if entry is None or phase_of(entry.state).ended:
        return job, AskAccounting()
    waits = phase_of(entry.state) in _WAITING and entry.submitted_at is not None
    seen = replace(
        job,
        state=entry.state,
        state_word=entry.state_word,
        reason=entry.reason,
        nodes=entry.nodes or job.nodes,
        counts=entry.counts if entry.is_compound else {},
        pending_seconds=max(0, now_epoch - (entry.submitted_at or 0)) if waits else None,
        ends_in_seconds=entry.ends_at - now_epoch if entry.ends_at is not None else None,
        last_submitted_at=max(filter(None, (entry.last_submitted_at, job.last_submitted_at)), default=None),
        missing_since=None,
        elements=job.elements if entry.is_compound else 1,
        end_seen=None,
        script_over=job.script_over and phase_of(entry.state) not in _WAITING,
    )
    return seen, Wait()


def observe_accounting(
    job: Followed, entry: AccountingEntry | None, now: float, lost_after_seconds: float = LOST_AFTER_SECONDS
) -> tuple[Followed, Wait | Ended | Lost]:
    """Take in what is known of a job that squeue does not show; None is that nothing is."""
    if entry is None or not phase_of(entry.state).ended or _is_of_an_earlier_run(job, entry):
        since = now if job.missing_since is None else job.missing_since
        job = replace(job, missing_since=since, end_seen=None)
        if now - since >= lost_after_seconds:
            return job, Lost()
        return job, Wait(doubtful=now - since >= lost_after_seconds * _DOUBT)
    end = (entry.state, entry.elements)
    is_new = job.end_seen != end
    since = now if job.missing_since is None else job.missing_since
    job = replace(job, end_seen=end, end_seen_since=now if is_new else job.end_seen_since, missing_since=since)
    if entry.state in _REVOCABLE and is_new:
        return replace(job, state=entry.state, state_word=entry.state_word), Wait()
    complete = job.elements is not None and entry.elements >= job.elements
    if not complete and now - job.end_seen_since < ARRAY_SETTLE_SECONDS:
        return job, Wait()
    return replace(
        job, state=entry.state, state_word=entry.state_word, reason=None, nodes=entry.nodes or job.nodes, counts={}
    ), Ended(entry=entry)


def _is_of_an_earlier_run(job: Followed, entry: AccountingEntry) -> bool:
    """Whether the job was requeued after this end: Slurm counts that as a new submission, of which slurmdbd hears late.

    See ``kill_running_job_by_node_name`` and ``_job_requeue_op`` in src/slurmctld/job_mgr.c.
    """
    if job.last_submitted_at is None or entry.last_submitted_at is None:
        return False
    return entry.last_submitted_at < job.last_submitted_at


def ends_soon(job: Followed, slowest_seconds: float) -> bool:
    """Whether the job is expected to end before the slowest interval has gone by, or to have ended already.

    Of a job that was submitted a moment ago it is not known yet, but most start at once, and some are short.
    """
    if job.missing_since is not None or job.script_over or phase_of(job.state) is Phase.ENDING:
        return True
    if job.pending_seconds is not None and job.pending_seconds < SOON_SECONDS:
        return True
    return job.ends_in_seconds is not None and job.ends_in_seconds <= slowest_seconds


def next_interval(
    previous: float, *, changed: bool, soon: bool = False, ending: bool = False, fastest: float, slowest: float
) -> float:
    """Return the seconds until the next look: the fastest after a change, else a quarter longer each time.

    While a job is expected to end ``soon`` it is ``SOON_SECONDS`` at most, and half of that while many are ``ending``,
    or after a look that saw others end: jobs that were started together end together, and Airflow ends the fewer tasks
    at once the faster.
    """
    interval = fastest if changed else min(max(previous * 1.25, fastest), slowest)
    if not soon:
        return interval
    return min(interval, SOON_SECONDS / 2 if ending else SOON_SECONDS)
