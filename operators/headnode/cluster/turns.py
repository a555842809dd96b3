"""Lets those who were woken together go on one after the other, so that the event loop is free in between.

What one look at the queue tells a hundred triggers would make all of them work in one round of the loop that they
share with everybody else's.
"""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary

_QUEUES: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


async def take_turn() -> None:
    """Return in a round of this loop in which nobody else who called this goes on."""
    async with _QUEUES.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
        await asyncio.sleep(0)
