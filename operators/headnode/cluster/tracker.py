"""Follows all jobs of one host over one connection: one squeue an interval, one sacct for those that left it.

Decisions are ``following``'s; here is only the loop around them, and the fan-out to whoever waits.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from headnode.cluster.following import (
    AskAccounting,
    Ended,
    Followed,
    Lost,
    next_interval,
    observe_accounting,
    observe_queue,
)
from headnode.cluster.logs import LogPiece, LogPosition, read_logs
from headnode.cluster.procedures import Pause, Procedure, drive
from headnode.cluster.queries import accounting, snapshot
from headnode.errors import HeadnodeError, JobLost
from headnode.slurm.answers import AccountingEntry
from headnode.ssh.port import Transport

T = TypeVar("T")

IDLE_CLOSE_SECONDS: Final = 120.0
# Two sessions of a connection stay free for the tracker's own questions.
CONCURRENT_PROCEDURES: Final = 6
MAX_READS_AT_END: Final = 200


@dataclass(frozen=True)
class StateSeen:
    """The job's state, reason or nodes have changed."""

    job: Followed


@dataclass(frozen=True)
class LogSeen:
    """The job has written on."""

    piece: LogPiece


@dataclass(frozen=True)
class OutageBegan:
    """The cluster can't be asked; the job is waited for all the same."""

    error: HeadnodeError


@dataclass(frozen=True, kw_only=True)
class OutageOver:
    """The cluster answers again."""

    seconds: float


@dataclass(frozen=True)
class JobOver:
    """The job has ended; nothing comes after this."""

    entry: AccountingEntry


Event = StateSeen | LogSeen | OutageBegan | OutageOver | JobOver


@dataclass(eq=False)
class Subscription:
    """One who waits for a job. ``directory`` None is a job whose log is not wanted."""

    job: Followed
    directory: str | None
    outage_tolerance_seconds: float
    offset: int | None = None
    ended: AccountingEntry | None = None
    lost: bool = False
    events: asyncio.Queue[Event | HeadnodeError] = field(default_factory=asyncio.Queue)

    def put(self, event: Event | HeadnodeError) -> None:
        """Hand an event to the one who waits."""
        self.events.put_nowait(event)


class Tracker:
    """One for each host and event loop. Times are in seconds; ``clock`` is monotonic."""

    def __init__(
        self,
        transport: Transport,
        *,
        poll_seconds: float,
        poll_max_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.transport = transport
        self._poll_seconds = poll_seconds
        self._poll_max_seconds = poll_max_seconds
        self._clock = clock
        self._subscriptions: set[Subscription] = set()
        self._procedures = asyncio.Semaphore(CONCURRENT_PROCEDURES)
        self._busy = 0
        self._wake = asyncio.Event()
        self._loop_task: asyncio.Task[None] | None = None
        self._outage_since: float | None = None
        self._interval = poll_seconds

    async def run(self, procedure: Procedure[T], *, on_pause: Callable[[Pause], None] | None = None) -> T:
        """Run a procedure over the shared connection, a few at a time."""
        self._busy += 1
        self._start()
        try:
            async with self._procedures:
                return await drive(procedure, self.transport, on_pause=on_pause)
        finally:
            self._busy -= 1

    async def follow(
        self,
        job_id: str,
        *,
        directory: str | None = None,
        elements: int | None = None,
        outage_tolerance_seconds: float,
    ) -> AsyncGenerator[Event, None]:
        """Yield what happens to the job until it is over.

        ``directory`` is where its log is, ``elements`` how many elements it has (1 for a plain job); both may be
        unknown.

        Raises:
            JobLost: neither squeue nor sacct knows the job any more.
            HeadnodeError: what has kept the cluster from answering for longer than the tolerance.
        """
        subscription = Subscription(
            job=Followed(job_id=job_id, elements=elements),
            directory=directory,
            outage_tolerance_seconds=outage_tolerance_seconds,
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
        idle_since = self._clock()
        while True:
            self._wake.clear()
            if self._subscriptions:
                began = self._clock()
                await self._round()
                idle_since = self._clock()
                await self._wait(began)
            elif self._busy or self._clock() - idle_since < IDLE_CLOSE_SECONDS:
                await self._woken(within=1.0 if self._busy else IDLE_CLOSE_SECONDS)
            else:
                await self.transport.close()
                return

    async def _wait(self, began: float) -> None:
        """Sleep for the interval; a new job shortens it, but never below the fastest."""
        if self._outage_since is None:
            await self._woken(within=self._interval)
            await asyncio.sleep(max(0.0, began + self._poll_seconds - self._clock()))
        else:
            await asyncio.sleep(self._interval * random.uniform(0.75, 1.25))  # noqa: S311 - spreads load, hides nothing

    async def _woken(self, *, within: float) -> None:
        try:
            await asyncio.wait_for(self._wake.wait(), within)
        except TimeoutError:
            return

    async def _round(self) -> None:
        subscriptions = list(self._subscriptions)
        try:
            changed = await self._look(subscriptions)
        except HeadnodeError as error:
            self._outage(subscriptions, error)
            changed = False
        except Exception as error:
            for subscription in subscriptions:
                subscription.put(HeadnodeError(f"following jobs on {self.transport.host} failed: {error!r}"))
            raise
        else:
            self._answered(subscriptions)
        self._interval = next_interval(
            self._interval, changed=changed, fastest=self._poll_seconds, slowest=self._poll_max_seconds
        )

    async def _look(self, subscriptions: list[Subscription]) -> bool:
        queue = await drive(snapshot({each.job.job_id for each in subscriptions}), self.transport)
        changed = False
        gone = []
        for each in subscriptions:
            seen, decision = observe_queue(each.job, queue.get(each.job.job_id))
            changed |= self._see(each, seen)
            if isinstance(decision, AskAccounting):
                gone.append(each)
        verdicts = await self._ask_accounting(gone)
        await self._read_logs(subscriptions)
        for each, seen in verdicts:
            changed |= self._see(each, seen) or each.ended is not None
            self._close(each)
        return changed

    async def _ask_accounting(self, gone: list[Subscription]) -> list[tuple[Subscription, Followed]]:
        if not gone:
            return []
        known = await drive(accounting({each.job.job_id for each in gone}), self.transport)
        verdicts = []
        for each in gone:
            seen, verdict = observe_accounting(each.job, known.get(each.job.job_id), self._clock())
            each.ended = verdict.entry if isinstance(verdict, Ended) else None
            each.lost = isinstance(verdict, Lost)
            verdicts.append((each, seen))
        return verdicts

    @staticmethod
    def _see(subscription: Subscription, seen: Followed) -> bool:
        before, subscription.job = subscription.job, seen
        shown = (seen.state_word, seen.reason, seen.nodes)
        if shown == (before.state_word, before.reason, before.nodes):
            return False
        subscription.put(StateSeen(seen))
        return True

    async def _read_logs(self, subscriptions: Iterable[Subscription]) -> None:
        reading = [each for each in subscriptions if each.directory and (each.job.nodes or each.ended)]
        for _ in range(MAX_READS_AT_END):
            if not reading:
                return
            positions = [LogPosition(directory=each.directory or "", offset=each.offset) for each in reading]
            pieces = await drive(read_logs(positions), self.transport)
            for each, piece in zip(reading, pieces, strict=True):
                if piece.data or each.offset is None:
                    each.put(LogSeen(piece))
                each.offset = piece.end
            # Only what has ended is read to its end at once; the rest goes on at the next interval.
            reading = [
                each
                for each, piece in zip(reading, pieces, strict=True)
                if each.ended is not None and piece.data and piece.end < piece.size
            ]

    def _close(self, subscription: Subscription) -> None:
        if subscription.ended is not None:
            subscription.put(JobOver(subscription.ended))
        elif subscription.lost:
            subscription.put(
                JobLost(
                    f"job {subscription.job.job_id} on {self.transport.host} is gone: neither squeue nor sacct has"
                    " known it for a long time; look for it by hand before the task is run again"
                )
            )
        else:
            return
        self._subscriptions.discard(subscription)

    def _outage(self, subscriptions: list[Subscription], error: HeadnodeError) -> None:
        now = self._clock()
        if self._outage_since is None:
            self._outage_since = now
            for each in subscriptions:
                each.put(OutageBegan(error))
        for each in subscriptions:
            if now - self._outage_since >= each.outage_tolerance_seconds:
                self._subscriptions.discard(each)
                each.put(error)

    def _answered(self, subscriptions: list[Subscription]) -> None:
        if self._outage_since is not None:
            seconds = self._clock() - self._outage_since
            self._outage_since = None
            for each in subscriptions:
                each.put(OutageOver(seconds=seconds))
