"""A trigger that only sleeps: what Airflow itself costs, without any cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TaskSuccessEvent, TriggerEvent


class SleepTrigger(BaseTrigger):
    """Ends its task after ``seconds``."""

    def __init__(self, *, seconds: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seconds = seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments."""
        return "bench_control.SleepTrigger", {"seconds": self.seconds}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Sleep, then yield the event that ends the task."""
        await asyncio.sleep(self.seconds)
        yield TaskSuccessEvent()
