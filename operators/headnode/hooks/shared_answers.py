"""One answer of Airflow's for all triggers that ask the same at the same time.

A hundred tasks that start together would ask Airflow's API a hundred times for the same connection, and wait for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from headnode.cluster.turns import take_turn

T = TypeVar("T")


class SharedAnswers(Generic[T]):
    """Asks once for each key and event loop; an answer serves for ``seconds``, an error only those who wait for it."""

    def __init__(self, ask: Callable[[str], Awaitable[T]], *, seconds: float) -> None:
        self._ask = ask
        self._seconds = seconds
        self._asked: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, tuple[float, asyncio.Future[T]]]] = (
            WeakKeyDictionary()
        )

    async def get(self, key: str) -> T:
        """Return the answer for ``key``, or raise what asking raised."""
        asked = self._asked.setdefault(asyncio.get_running_loop(), {})
        now = time.monotonic()
        until, answer = asked.get(key, (0.0, None))
        failed = answer is not None and answer.done() and (answer.cancelled() or answer.exception() is not None)
        if answer is None or now >= until or failed:
            answer = asyncio.ensure_future(self._ask(key))
            asked[key] = (now + self._seconds, answer)
        if not answer.done():
            await asyncio.wait([answer])  # one who is cancelled must not take the answer from the others
            await take_turn()
        return answer.result()
