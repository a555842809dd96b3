"""One look at all followed jobs of a host: one squeue for all, one sacct for those that left it, and their logs.

Decisions are ``following``'s and ``outages``'; here is what is asked in which order, and who is told what. The round is
a procedure, so that a triggerer's tracker and a notebook that waits do the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from headnode.cluster.events import JobOver, LogSeen, StateSeen, Subscription
from headnode.cluster.following import (
    WAVE_OF_JOBS,
    AskAccounting,
    Ended,
    Followed,
    Lost,
    Wait,
    ends_soon,
    next_interval,
    observe_accounting,
    observe_queue,
)
from headnode.cluster.logs import read_logs
from headnode.cluster.outages import Service
from headnode.cluster.procedures import Procedure
from headnode.cluster.queries import AccountingAbsent, QueueSnapshot, accounting, queue_snapshot, without_accounting
from headnode.errors import (
    CredentialExpired,
    HeadnodeError,
    JobLost,
    JobPendingTooLong,
    SlurmError,
    TransportError,
    UnreadableAnswer,
)
from headnode.slurm.accounting import AccountingEntry

MAX_READS_AT_END: Final = 200
# A command line on the host, which takes 2 MiB, holds the names of so many jobs' logs.
_LOGS_AT_ONCE: Final = 500


class Rounds:
    """Looks at the jobs of one host, round after round. Times are in seconds; ``clock`` is monotonic.

    ``interval`` is how long to wait after a round, ``troubled`` tells that the host or Slurm did not answer in it.
    """

    def __init__(
        self,
        host: str,
        *,
        poll_seconds: float,
        poll_max_seconds: float,
        lost_after_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self.interval = poll_seconds
        self.troubled = False
        self._host = host
        self._poll_seconds = poll_seconds
        self._poll_max_seconds = poll_max_seconds
        self._lost_after_seconds = lost_after_seconds
        self._clock = clock
        self._keeps_accounting = True

    def look(self, subscriptions: Sequence[Subscription]) -> Procedure[None]:
        """Look once, and tell each subscription what is new; an outage is told, and raised by nobody."""
        self.troubled = changed = False
        try:
            changed = yield from self._look(subscriptions)
        except (TransportError, UnreadableAnswer) as error:
            # Also where nothing but the logs could be read: all of it is asked again at the next interval.
            self._failed(Service.SSH, subscriptions, error)
            # Whether a credential was renewed is seen on this machine, which costs the host nothing.
            changed = isinstance(error, CredentialExpired)
        else:
            self._answered(Service.SSH, subscriptions)
            # Last, so that who waits hears of an outage's end before the job's.
            for each in subscriptions:
                self._close(each)
        others = [each.job for each in subscriptions if each.ended is None and not each.lost]
        soon = 0 if self.troubled else sum(ends_soon(job, self._poll_max_seconds) for job in others)
        self.interval = next_interval(
            self.interval,
            changed=changed,
            soon=soon > 0,
            ending=len(others) < len(subscriptions) or soon >= WAVE_OF_JOBS,
            fastest=self._poll_seconds,
            slowest=self._poll_max_seconds,
        )

    def _look(self, subscriptions: Sequence[Subscription]) -> Procedure[bool]:
        queue = yield from self._queue(subscriptions)
        changed = False
        gone = []
        for each in subscriptions if queue is not None else ():
            assert queue is not None  # noqa: S101 - for the type checker
            seen, decision = observe_queue(each.job, queue.entries.get(each.job.job_id), queue.now)
            changed |= self._see(each, seen)
            if isinstance(decision, AskAccounting):
                gone.append(each)
        verdicts = (yield from self._ask_for_ends(gone)) if gone else []
        yield from self._read_logs(subscriptions)
        for each, seen in verdicts:
            changed |= self._see(each, seen) or each.ended is not None
        return changed

    def _queue(self, subscriptions: Sequence[Subscription]) -> Procedure[QueueSnapshot | None]:
        try:
            queue = yield from queue_snapshot([each.asked for each in subscriptions])
        except SlurmError as error:
            self._failed(Service.SLURMCTLD, subscriptions, error)
            return None
        self._answered(Service.SLURMCTLD, subscriptions)
        return queue

    def _ask_for_ends(self, gone: list[Subscription]) -> Procedure[list[tuple[Subscription, Followed]]]:
        """Ask accounting, and where that keeps nothing or knows nothing for long, slurmctld and the jobs' markers."""
        known = yield from self._accounting(gone)
        if known is None:
            return []
        verdicts = {each: self._observe(each, known.get(each.job.job_id)) for each in gone}
        doubtful = [each for each, (_, verdict) in verdicts.items() if isinstance(verdict, Wait) and verdict.doubtful]
        if doubtful and self._keeps_accounting:
            known = (yield from self._without_accounting(doubtful)) or {}
            verdicts |= {
                each: self._observe(each, known[each.job.job_id]) for each in doubtful if each.job.job_id in known
            }
        for each, (_, verdict) in verdicts.items():
            each.ended = verdict.entry if isinstance(verdict, Ended) else None
            each.lost = isinstance(verdict, Lost)
        return [(each, seen) for each, (seen, _) in verdicts.items()]

    def _observe(
        self, subscription: Subscription, entry: AccountingEntry | None
    ) -> tuple[Followed, Wait | Ended | Lost]:
        return observe_accounting(subscription.job, entry, self._clock(), self._lost_after_seconds)

    def _accounting(self, gone: Sequence[Subscription]) -> Procedure[dict[str, AccountingEntry] | None]:
        if not self._keeps_accounting:
            return (yield from self._without_accounting(gone))
        try:
            known = yield from accounting([each.asked for each in gone])
        except AccountingAbsent:
            self._keeps_accounting = False
            return (yield from self._without_accounting(gone))
        except SlurmError as error:
            self._failed(Service.SLURMDBD, gone, error)
            return None
        self._answered(Service.SLURMDBD, gone)
        return known

    def _without_accounting(self, gone: Sequence[Subscription]) -> Procedure[dict[str, AccountingEntry] | None]:
        try:
            return (yield from without_accounting([each.asked for each in gone]))
        except SlurmError as error:
            self._failed(Service.SLURMCTLD, gone, error)
            return None

    @staticmethod
    def _see(subscription: Subscription, seen: Followed) -> bool:
        before, subscription.job = subscription.job, seen
        if (seen.state_word, seen.reason) != (before.state_word, before.reason):
            subscription.put(StateSeen(seen))
            return True
        if (seen.nodes, seen.counts) == (before.nodes, before.counts):
            return False
        subscription.put(StateSeen(seen))
        # The elements of an array come and go all the time; that is no reason to look oftener.
        return not seen.counts

    def _read_logs(self, subscriptions: Sequence[Subscription]) -> Procedure[None]:
        reading = [each for each in subscriptions if each.logs and (each.job.nodes or each.ended)]
        for _ in range(MAX_READS_AT_END):
            for first in range(0, len(reading), _LOGS_AT_ONCE):
                yield from self._read_some_logs(reading[first : first + _LOGS_AT_ONCE])
            # Only what has ended is read to its end at once; the rest goes on at the next interval.
            reading = [each for each in reading if each.ended is not None and each.logs and each.logs.remember]
            if not reading:
                return

    @staticmethod
    def _read_some_logs(reading: Sequence[Subscription]) -> Procedure[None]:
        found = yield from read_logs([each.logs for each in reading if each.logs])
        for each, seen in zip(reading, found, strict=True):
            assert each.logs is not None  # noqa: S101 - for the type checker
            for piece in seen.pieces:
                if piece.data or (each.logs.offsets is None and piece.start):
                    each.put(LogSeen(piece))
            each.logs = replace(
                each.logs,
                offsets=(seen.pieces[0].end, seen.pieces[1].end),
                remember=any(piece.data for piece in seen.pieces),
            )
            each.job = replace(each.job, script_over=seen.script_over)
            each.no_result = seen.no_result

    def _close(self, subscription: Subscription) -> None:
        job, longest = subscription.job, subscription.max_pending_seconds
        if subscription.ended is not None:
            subscription.put(JobOver(subscription.ended, subscription.no_result))
        elif subscription.lost:
            subscription.put(
                JobLost(
                    f"job {job.job_id} on {self._host} is gone: neither squeue nor sacct has"
                    " known it for a long time; look for it by hand before the task is run again"
                )
            )
        elif longest is not None and job.pending_seconds is not None and job.pending_seconds >= longest:
            subscription.put(
                JobPendingTooLong(
                    f"job {job.job_id} on {self._host} has waited in the queue for {job.pending_seconds} s,"
                    f" and max_pending is {longest:g} s; it is {job.state_word}, and Slurm's reason is"
                    f" {job.reason or 'not given'}"
                )
            )

    def _failed(self, service: Service, subscriptions: Sequence[Subscription], error: HeadnodeError) -> None:
        self.troubled = True
        for each in subscriptions:
            event = each.outages.failed(service, error, self._clock())
            if event is not None:
                each.put(event)

    def _answered(self, service: Service, subscriptions: Sequence[Subscription]) -> None:
        for each in subscriptions:
            event = each.outages.answered(service, self._clock())
            if event is not None:
                each.put(event)
