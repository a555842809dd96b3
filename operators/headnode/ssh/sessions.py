"""How many sessions one connection may have open at a time; sshd tells only by refusing one more (MaxSessions)."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Final

# A session that has just ended may still count on the host.
FIRST_PAUSE_SECONDS: Final = 0.1
LAST_PAUSE_SECONDS: Final = 5.0
GROW_SECONDS: Final = 15.0
_LOOK_AGAIN_SECONDS: Final = 1.0


def next_pause(seconds: float) -> float:
    """Return how long to wait before a session is asked for again after ``seconds`` were not enough."""
    return min(max(2 * seconds, FIRST_PAUSE_SECONDS), LAST_PAUSE_SECONDS) * random.uniform(0.75, 1.25)  # noqa: S311


class Sessions:
    """The sessions of one connection in one event loop: at most ``most``, fewer where the host refuses more.

    After a refusal one more is tried from time to time, since others may have taken what was there.
    """

    def __init__(self, most: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = self._limit = most
        self._clock = clock
        self._learned_at = 0.0
        self._open = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @contextlib.asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Wait for room, and hold it."""
        while self._open >= self.limit:
            await self._woken()
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1
            if self._waiting and not self._waiting[0].done():
                self._waiting.popleft().set_result(None)

    @property
    def limit(self) -> int:
        """How many may be open now."""
        grown = int((self._clock() - self._learned_at) / GROW_SECONDS)
        return min(self._most, self._limit + grown)

    def refused(self) -> int:
        """Learn that the host opens no more sessions than the others that are open now, and return their number."""
        self._limit, self._learned_at = max(1, self._open - 1), self._clock()
        return self._open - 1

    def renewed(self) -> None:
        """Forget what was learned: the connection is a new one."""
        self._limit = self._most

    async def _woken(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            # Looking again also finds room that came without a word: a limit that grew, a waiter that was cancelled.
            await asyncio.wait_for(waiter, _LOOK_AGAIN_SECONDS)
        except TimeoutError:
            return
        finally:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
