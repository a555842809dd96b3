"""When a task's record goes to XCom: at once, soon, or while the trigger already goes on.

A triggerer's supervisor answers one request a round, and a round looks twice through the database for triggers
(``run_once`` and ``length_prefixed_frame_reader`` of Airflow 3.3.2): some 50 ms, which is what limits many short jobs.
Each write is such a request. Requests go through one socket and are answered in order, so a record that is on its way
when a task ends is there before the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from headnode.slurm.record import JobRecord
from headnode.triggers.cancelling import begin
from headnode.triggers.reporting import store_record

#: The most that a change of state waits for the next one, so that a short job costs one write less.
LONGEST_SECONDS: Final = 5.0


class RecordStore:
    """The writes of one task's record, in order; only the newest of those that wait is written.

    :param log: where a write that nobody waited for tells that it failed
    :param write: what writes a record
    """

    def __init__(self, log: Any, *, write: Callable[[JobRecord], Awaitable[None]] = store_record) -> None:
        self._log = log
        self._write = write
        self._waiting: asyncio.TimerHandle | None = None
        self._newest: JobRecord | None = None
        self._begun: list[asyncio.Task[None]] = []

    async def now(self, record: JobRecord) -> None:
        """Write the record and wait until it is there; raise what Airflow raises."""
        self._overtake()
        await self._write(record)

    def soon(self, record: JobRecord, seconds: float) -> None:
        """Write the record after ``seconds``, 5 at most, unless a newer one comes first."""
        self._overtake()
        self._newest = record
        self._waiting = asyncio.get_running_loop().call_later(min(seconds, LONGEST_SECONDS), self.hasten)

    async def on_the_way(self, record: JobRecord) -> None:
        """Send the record, so that it is there before whatever is sent next; ``settled`` waits for the answer."""
        self._overtake()
        self._begin(record)
        await asyncio.sleep(0)  # the write's first step, which sends it, runs before this returns

    async def settled(self) -> None:
        """Wait until all that was sent is written, or has told why not."""
        self.hasten()
        await asyncio.gather(*self._begun)

    def hasten(self) -> None:
        """Write what waits, now, without waiting for the answer."""
        if self._waiting is not None and self._newest is not None:
            self._overtake()
            self._begin(self._newest)

    def _overtake(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _begin(self, record: JobRecord) -> None:
        task = begin(self._written(record), name=f"headnode stores the record of job {record.job_id}")
        self._begun.append(task)
        task.add_done_callback(self._begun.remove)

    async def _written(self, record: JobRecord) -> None:
        try:
            await self._write(record)
        except Exception:  # noqa: BLE001 - said in the task's log with its traceback
            # The job is what counts; the record's next write, and the task's own event, carry the same and more.
            self._log.error("the record of job %s (%s) is not stored", record.job_id, record.state, exc_info=True)
