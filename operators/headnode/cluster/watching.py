"""Watches all that is waited for on one host: one command an interval, whatever the number of those who wait.

Whether a condition holds is judged by ``conditions``; here is the loop around it, and the fan-out.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from headnode.cluster.conditions import Condition, Memory, Met, NotYet, Observation
from headnode.cluster.following import next_interval
from headnode.cluster.observation import observe
from headnode.cluster.outages import OutageBegan, OutageOver, Outages, Service
from headnode.cluster.tracker import Tracker
from headnode.errors import CredentialExpired, HeadnodeError, TransportError

Event = NotYet | Met | OutageBegan | OutageOver

# What is about to come true is looked at just after that.
_MARGIN_SECONDS: Final = 0.2


@dataclass(eq=False)
class _Watch:
    """One who waits. ``said`` is what it was told last."""

    condition: Condition
    lasting: bool
    outages: Outages
    said: str | None = None
    answered: bool = False
    events: asyncio.Queue[Event | HeadnodeError] = field(default_factory=asyncio.Queue)


class Conditions:
    """One for each tracker, whose connection and budget it shares. Times are in seconds; ``clock`` is monotonic."""

    def __init__(
        self,
        tracker: Tracker,
        *,
        poll_seconds: float,
        poll_max_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tracker = tracker
        self._poll_seconds = poll_seconds
        self._poll_max_seconds = poll_max_seconds
        self._clock = clock
        self._watches: set[_Watch] = set()
        self._memories: dict[Condition, Memory] = {}
        self._wake = asyncio.Event()
        self._loop_task: asyncio.Task[None] | None = None
        self._interval = poll_seconds

    async def watch(
        self, condition: Condition, *, lasting: bool = False, outage_tolerance_seconds: float
    ) -> AsyncGenerator[Event, None]:
        """Yield why the condition does not hold, when that changes, and ``Met`` when it does; then nothing more.

        With ``lasting`` it goes on for ever, and ``Met`` comes again for each new version of what was found.

        Raises:
            HeadnodeError: the condition can never hold, or could not be looked at for longer than the tolerance.
        """
        watch = _Watch(condition=condition, lasting=lasting, outages=Outages(outage_tolerance_seconds))
        self._watches.add(watch)
        self._wake.set()
        if self._loop_task is None or self._loop_task.done():
            name = f"headnode watches {self._tracker.transport.host}"
            self._loop_task = asyncio.create_task(self._poll(), name=name)
        try:
            while True:
                event = await watch.events.get()
                if isinstance(event, HeadnodeError):
                    raise event
                yield event
                if isinstance(event, Met) and not lasting:
                    return
        finally:
            self._watches.discard(watch)
            self._forget()

    async def _poll(self) -> None:
        while self._watches:
            self._wake.clear()
            began = self._clock()
            try:
                pause = await self._round(list(self._watches))
            except Exception as error:
                for each in list(self._watches):
                    self._end(each, HeadnodeError(f"watching {self._tracker.transport.host} failed: {error!r}"))
                raise
            if not self._watches:
                return
            try:
                await asyncio.wait_for(self._wake.wait(), pause)
            except TimeoutError:
                continue
            # Somebody new is answered soon, but the host is never asked more often than at the fastest pace.
            await asyncio.sleep(max(0.0, began + self._poll_seconds - self._clock()))

    async def _round(self, watches: Sequence[_Watch]) -> float:
        """Look once, tell everybody, and return the seconds until the next look."""
        conditions = list({each.condition for each in watches})
        # A path that hangs must not keep back always the same others.
        random.shuffle(conditions)
        seen: Observation | HeadnodeError
        try:
            seen = await self._tracker.run(observe(conditions))
        except HeadnodeError as error:
            seen = error
        # Whether a credential was renewed is seen on this machine, which costs the host nothing.
        changed = isinstance(seen, CredentialExpired)
        verdicts = {condition: self._judge(condition, seen) for condition in conditions}
        soon: list[float] = []
        for each in watches:
            verdict = verdicts[each.condition]
            if isinstance(verdict, HeadnodeError):
                self._silent(each, verdict)
                continue
            changed |= self._tell(each, verdict)
            if isinstance(verdict, NotYet) and verdict.again_in_seconds is not None:
                soon.append(verdict.again_in_seconds + _MARGIN_SECONDS)
        self._interval = next_interval(
            self._interval, changed=changed, fastest=self._poll_seconds, slowest=self._poll_max_seconds
        )
        if isinstance(seen, HeadnodeError):
            return self._interval * random.uniform(0.75, 1.25)  # noqa: S311 - spreads load, hides nothing
        return max(min([self._interval, *soon]), min(self._poll_seconds, self._interval))

    def _judge(self, condition: Condition, seen: Observation | HeadnodeError) -> Met | NotYet | HeadnodeError:
        if isinstance(seen, HeadnodeError):
            return seen
        try:
            verdict, self._memories[condition] = condition.judge(seen, self._memories.get(condition, Memory()))
        except HeadnodeError as error:
            return error
        return verdict

    def _tell(self, watch: _Watch, verdict: Met | NotYet) -> bool:
        """Pass on what is new; return whether something was."""
        watch.answered = True
        for service in Service:
            if (over := watch.outages.answered(service, self._clock())) is not None:
                watch.events.put_nowait(over)
        saying = f"met {verdict.version}" if isinstance(verdict, Met) else verdict.why
        if saying == watch.said:
            return False
        watch.said = saying
        watch.events.put_nowait(verdict)
        if isinstance(verdict, Met) and not watch.lasting:
            self._watches.discard(watch)
        return True

    def _silent(self, watch: _Watch, error: HeadnodeError) -> None:
        """Take in that nothing is known of the condition."""
        service = Service.SSH if isinstance(error, TransportError) else Service.SLURMCTLD
        said = watch.outages.failed(service, error, self._clock())
        if isinstance(said, HeadnodeError) or not (error.retryable or watch.answered):
            self._end(watch, error)
        elif said is not None:
            watch.events.put_nowait(said)

    def _end(self, watch: _Watch, error: HeadnodeError) -> None:
        self._watches.discard(watch)
        watch.events.put_nowait(error)

    def _forget(self) -> None:
        """Drop what is kept of conditions for which nobody waits any more."""
        waited_for = {each.condition for each in self._watches}
        self._memories = {each: kept for each, kept in self._memories.items() if each in waited_for}
