"""Follows all jobs of one host over one connection: one squeue an interval, one sacct for those that left it.

What a look is, is ``rounds``'; here is only the loop around it, and the fan-out to whoever waits.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from headnode.cluster.events import Event, JobOver, LogSeen, StateSeen, Subscription
from headnode.cluster.following import LOST_AFTER_SECONDS, SOON_SECONDS, Followed
from headnode.cluster.logs import FollowedLogs
from headnode.cluster.outages import OutageBegan, OutageOver, Outages
from headnode.cluster.procedures import Pause, Procedure, drive
from headnode.cluster.queries import AskedJob, cluster_limits
from headnode.cluster.rounds import Rounds
from headnode.cluster.turns import take_turn
from headnode.errors import HeadnodeError
from headnode.slurm.limits import Configuration
from headnode.ssh.port import Transport

T = TypeVar("T")

IDLE_CLOSE_SECONDS: Final = 120.0
# Two sessions of a connection stay free for the tracker's own questions.
CONCURRENT_PROCEDURES: Final = 6

__all__ = [
    "Event",
    "JobOver",
    "LogSeen",
    "OutageBegan",
    "OutageOver",
    "StateSeen",
    "Tracker",
]


@dataclass(eq=False)
class _Waiting(Subscription):
    """A subscription with somebody in this event loop behind it."""

    events: asyncio.Queue[Event | HeadnodeError] = field(default_factory=asyncio.Queue)


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
        self._clock = clock
        self._rounds = Rounds(
            transport.host,
            poll_seconds=poll_seconds,
            poll_max_seconds=poll_max_seconds,
            lost_after_seconds=lost_after_seconds,
            clock=clock,
        )
        self._subscriptions: set[_Waiting] = set()
        self._procedures = asyncio.Semaphore(CONCURRENT_PROCEDURES)
        self._busy = 0
        self._used_at = clock()
        self._wake = asyncio.Event()
        self._loop_task: asyncio.Task[None] | None = None
        self._limits: Configuration | None = None

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

    async def limits(self) -> Configuration:
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
        subscription = _Waiting(
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
                await take_turn()
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
        """Sleep for the rest of the interval; a new job shortens it, but never below the fastest.

        Of a new job nothing is known yet and it may be short, so the fastest is as while jobs are expected to end.
        The interval counts from one question to the next. A cluster that is slow to answer is left alone for a
        quarter of the time that its answer took, so that it is never asked without a pause.
        """
        if self._rounds.troubled:
            await asyncio.sleep(self._rounds.interval * random.uniform(0.75, 1.25))  # noqa: S311 - spreads load, hides nothing
        else:
            took = self._clock() - began
            await self._woken(within=max(self._rounds.interval - took, took / 4))
            fastest = min(self._poll_seconds, self._rounds.interval, SOON_SECONDS)
            await asyncio.sleep(max(0.0, began + fastest - self._clock()))

    async def _woken(self, *, within: float) -> None:
        try:
            await asyncio.wait_for(self._wake.wait(), within)
        except TimeoutError:
            return

    async def _round(self) -> None:
        subscriptions = list(self._subscriptions)
        try:
            await drive(self._rounds.look(subscriptions), self.transport)
        except Exception as error:
            for each in subscriptions:
                each.put(HeadnodeError(f"following jobs on {self.transport.host} failed: {error!r}"))
            raise
        finally:
            for each in subscriptions:
                self._tell(each)

    def _tell(self, subscription: _Waiting) -> None:
        for event in subscription.take():
            subscription.events.put_nowait(event)
            if isinstance(event, JobOver | HeadnodeError):
                self._subscriptions.discard(subscription)
