"""When a trigger may hand its task to a worker."""

from __future__ import annotations

import asyncio
import time
from typing import Final

# Airflow 3.3 fails a task that a trigger resumes before the scheduler has heard from the executor that the worker
# which deferred it is done: "finished with state success, but the task instance's state attribute is queued"
# (airflow/jobs/scheduler_job_runner.py). Busy schedulers were seen to be 2 to 5 s behind.
SCHEDULER_CATCHES_UP_SECONDS: Final = 10.0


async def let_scheduler_catch_up(began: float) -> None:
    """Wait until a trigger that began at ``began`` (of the monotonic clock) may resume its task on a worker."""
    await asyncio.sleep(max(0.0, began + SCHEDULER_CATCHES_UP_SECONDS - time.monotonic()))
