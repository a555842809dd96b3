"""Follows all jobs of one host over one connection: one squeue an interval, one sacct for those that left it.

Decisions are ``following``'s and ``outages``'; here is only the loop around them, and the fan-out to whoever waits.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from headnode.cluster.events import Event, JobOver, LogSeen, StateSeen, Subscription
from headnode.cluster.following import (
    LOST_AFTER_SECONDS,
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
from headnode.cluster.logs import FollowedLogs, read_logs
from headnode.cluster.outages import OutageBegan, OutageOver, Outages, Service
from headnode.cluster.procedures import Pause, Procedure, drive
from headnode.cluster.queries import (
    AccountingAbsent,
    AskedJob,
    ClusterLimits,
    QueueSnapshot,
    accounting,
    cluster_limits,
    queue_snapshot,
    without_accounting,
)
from headnode.errors import HeadnodeError, JobLost, JobPendingTooLong, SlurmError, TransportError
from headnode.slurm.accounting import AccountingEntry
from headnode.ssh.port import Transport

T = TypeVar("T")

IDLE_CLOSE_SECONDS: Final = 120.0
# Two sessions of a connection stay free for the tracker's own questions.
CONCURRENT_PROCEDURES: Final = 6
MAX_READS_AT_END: Final = 200
# A command line on the host, which takes 2 MiB, holds the names of so many jobs' logs.
_LOGS_AT_ONCE: Final = 500

__all__ = [
    "Event",
    "JobOver",
    "LogSeen",
    "OutageBegan",
    "OutageOver",
    "StateSeen",
    "Tracker",
]


class Tracker:
    """One for each host and event loop. Times are in seconds; ``clock`` is monotonic."""

    def __init__(
        self,
        transport: Transport,
        *,
        poll_seconds: float,
        poll_max_seconds: float,
        lost_after_seconds: float = LOST_AFTER_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.transport = transport
        self._poll_seconds = poll_seconds
        self._poll_max_seconds = poll_max_seconds
        self._lost_after_seconds = lost_after_seconds
        self._clock = clock
        self._subscriptions: set[Subscription] = set()
        self._procedures = asyncio.Semaphore(CONCURRENT_PROCEDURES)
        self._busy = 0
        self._used_at = clock()
        self._wake = asyncio.Event()
        self._loop_task: asyncio.Task[None] | None = None
        self._troubled = False
        self._interval = poll_seconds
        self._keeps_accounting = True
        self._limits: ClusterLimits | None = None

    async def run(self, procedure: Procedure[T], *, on_pause: Callable[[Pause], None] | None = None) -> T:
        """Run a procedure over the shared connection, a few at a time."""
        self._busy += 1
        self._start()
        try:
            async with self._procedures:
                return await drive(procedure, self.transport, on_pause=on_pause)
        finally:
            self._busy -= 1
            self._used_at = self._clock()

    async def limits(self) -> ClusterLimits:
        """Return the cluster's limits, asked for once."""
        if self._limits is None:
            self._limits = await self.run(cluster_limits())
        return self._limits

    async def follow(
        self,
        job_id: str,
        *,
        key: str | None = None,
        directory: str | None = None,
        is_array: bool = False,
        elements: int | None = None,
        max_pending_seconds: float | None = None,
        outage_tolerance_seconds: float,
    ) -> AsyncGenerator[Event, None]:
        """Yield what happens to the job until it is over.

        ``key`` and ``directory`` are those of its submission, None for somebody else's job; ``elements`` is how many
        elements it has (1 for a plain job), where that is known. The logs of arrays are not read.

        Raises:
            JobLost: nobody knows the job any more.
            JobPendingTooLong: it has waited in the queue for ``max_pending_seconds``; it is still there.
            HeadnodeError: what has kept the cluster from answering for longer than the tolerance.
        """
        subscription = Subscription(
            job=Followed(job_id=job_id, elements=elements),
            asked=AskedJob(job_id=job_id, key=key, directory=directory),
            logs=FollowedLogs(directory=directory) if directory is not None and not is_array else None,
            outages=Outages(outage_tolerance_seconds),
            max_pending_seconds=max_pending_seconds,
        )
        self._subscriptions.add(subscription)
        self._wake.set()
        self._start()
        try:
            while True:
                event = await subscription.events.get()
                if isinstance(event, HeadnodeError):
                    raise event
                yield event
                if isinstance(event, JobOver):
                    return
        finally:
            self._subscriptions.discard(subscription)

    def _start(self) -> None:
        if self._loop_task is None or self._loop_task.done():
            self._loop_task = asyncio.create_task(self._poll(), name=f"headnode tracker of {self.transport.host}")

    async def _poll(self) -> None:
        self._used_at = self._clock()
        while True:
            self._wake.clear()
            if self._subscriptions:
                began = self._clock()
                await self._round()
                self._used_at = self._clock()
                await self._wait(began)
            elif self._busy or self._clock() - self._used_at < IDLE_CLOSE_SECONDS:
                await self._woken(within=1.0 if self._busy else IDLE_CLOSE_SECONDS)
            else:
                await self.transport.close()
                return

    async def _wait(self, began: float) -> None:
        """Sleep for the interval; a new job shortens it, but never below the fastest."""
        if self._troubled:
            await asyncio.sleep(self._interval * random.uniform(0.75, 1.25))  # noqa: S311 - spreads load, hides nothing
        else:
            await self._woken(within=self._interval)
            fastest = min(self._poll_seconds, self._interval)
            await asyncio.sleep(max(0.0, began + fastest - self._clock()))

    async def _woken(self, *, within: float) -> None:
        try:
            await asyncio.wait_for(self._wake.wait(), within)
        except TimeoutError:
            return

    async def _round(self) -> None:
        subscriptions = list(self._subscriptions)
        self._troubled = changed = False
        try:
            changed = await self._look(subscriptions)
        except TransportError as error:
            self._failed(Service.SSH, subscriptions, error)
        except Exception as error:
            for subscription in subscriptions:
                subscription.put(HeadnodeError(f"following jobs on {self.transport.host} failed: {error!r}"))
            raise
        else:
            self._answered(Service.SSH, subscriptions)
            # Last, so that who waits hears of an outage's end before the job's.
            for each in subscriptions:
                self._close(each)
        self._interval = next_interval(
            self._interval,
            changed=changed,
            soon=not self._troubled and any(ends_soon(each.job, self._poll_max_seconds) for each in subscriptions),
            fastest=self._poll_seconds,
            slowest=self._poll_max_seconds,
        )

    async def _look(self, subscriptions: list[Subscription]) -> bool:
        queue = await self._queue(subscriptions)
        changed = False
        gone = []
        for each in subscriptions if queue is not None else ():
            assert queue is not None  # noqa: S101 - for the type checker
            seen, decision = observe_queue(each.job, queue.entries.get(each.job.job_id), queue.now)
            changed |= self._see(each, seen)
            if isinstance(decision, AskAccounting):
                gone.append(each)
        verdicts = await self._ask_for_ends(gone) if gone else []
        await self._read_logs(subscriptions)
        for each, seen in verdicts:
            changed |= self._see(each, seen) or each.ended is not None
        return changed

    async def _queue(self, subscriptions: Sequence[Subscription]) -> QueueSnapshot | None:
        try:
            queue = await drive(queue_snapshot([each.asked for each in subscriptions]), self.transport)
        except SlurmError as error:
            self._failed(Service.SLURMCTLD, subscriptions, error)
            return None
        self._answered(Service.SLURMCTLD, subscriptions)
        return queue

    async def _ask_for_ends(self, gone: list[Subscription]) -> list[tuple[Subscription, Followed]]:
        """Ask accounting, and where that keeps nothing or knows nothing for long, slurmctld and the jobs' markers."""
        known = await self._accounting(gone)
        if known is None:
            return []
        verdicts = {each: self._observe(each, known.get(each.job.job_id)) for each in gone}
        doubtful = [each for each, (_, verdict) in verdicts.items() if isinstance(verdict, Wait) and verdict.doubtful]
        if doubtful and self._keeps_accounting:
            known = await self._without_accounting(doubtful) or {}
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

    async def _accounting(self, gone: Sequence[Subscription]) -> dict[str, AccountingEntry] | None:
        if not self._keeps_accounting:
            return await self._without_accounting(gone)
        try:
            known = await drive(accounting([each.asked for each in gone]), self.transport)
        except AccountingAbsent:
            self._keeps_accounting = False
            return await self._without_accounting(gone)
        except SlurmError as error:
            self._failed(Service.SLURMDBD, gone, error)
            return None
        self._answered(Service.SLURMDBD, gone)
        return known

    async def _without_accounting(self, gone: Sequence[Subscription]) -> dict[str, AccountingEntry] | None:
        try:
            return await drive(without_accounting([each.asked for each in gone]), self.transport)
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

    async def _read_logs(self, subscriptions: Sequence[Subscription]) -> None:
        reading = [each for each in subscriptions if each.logs and (each.job.nodes or each.ended)]
        for _ in range(MAX_READS_AT_END):
            for first in range(0, len(reading), _LOGS_AT_ONCE):
                await self._read_some_logs(reading[first : first + _LOGS_AT_ONCE])
            # Only what has ended is read to its end at once; the rest goes on at the next interval.
            reading = [each for each in reading if each.ended is not None and each.logs and each.logs.remember]
            if not reading:
                return

    async def _read_some_logs(self, reading: Sequence[Subscription]) -> None:
        found = await drive(read_logs([each.logs for each in reading if each.logs]), self.transport)
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

    def _close(self, subscription: Subscription) -> None:
        job, longest = subscription.job, subscription.max_pending_seconds
        if subscription.ended is not None:
            subscription.put(JobOver(subscription.ended))
        elif subscription.lost:
            subscription.put(
                JobLost(
                    f"job {job.job_id} on {self.transport.host} is gone: neither squeue nor sacct has"
                    " known it for a long time; look for it by hand before the task is run again"
                )
            )
        elif longest is not None and job.pending_seconds is not None and job.pending_seconds >= longest:
            subscription.put(
                JobPendingTooLong(
                    f"job {job.job_id} on {self.transport.host} has waited in the queue for {job.pending_seconds} s,"
                    f" and max_pending is {longest:g} s; it is {job.state_word}, and Slurm's reason is"
                    f" {job.reason or 'not given'}"
                )
            )
        else:
            return
        self._subscriptions.discard(subscription)

    def _failed(self, service: Service, subscriptions: Sequence[Subscription], error: HeadnodeError) -> None:
        self._troubled = True
        for each in subscriptions:
            event = each.outages.failed(service, error, self._clock())
            if event is not None:
                each.put(event)
            if isinstance(event, HeadnodeError):
                self._subscriptions.discard(each)

    def _answered(self, service: Service, subscriptions: Sequence[Subscription]) -> None:
        for each in subscriptions:
            event = each.outages.answered(service, self._clock())
            if event is not None:
                each.put(event)
