"""Measures how long a triggerer's event loop stands still, from inside; on PYTHONPATH of a measured Airflow only.

A callback of the loop wants to run every 20 ms. What it is late by is the pause of the loop; how much of that the
loop's own thread worked (``cpu``) or waited for a core that other processes had (``queued``, Linux's schedstat)
tells its own pauses from the machine's. A thread looks on from beside it, and notes in which function a loop is that
stands still for long. One JSON line a second goes into the file that ``HEADNODE_BENCH_PAUSES`` names. Python imports
this file by itself (module ``site``).
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

BEAT_SECONDS = 0.02
LONG_SECONDS = 0.1
DEEPEST_FRAMES = 40


class Probe:
    """Watches the event loop that runs in this thread. Times are in seconds."""

    def __init__(self, loop: AbstractEventLoop, path: str) -> None:
        self._loop = loop
        self._path = path
        self._thread_id = threading.get_ident()
        self._expected = 0.0
        self._schedstat = os.open("/proc/thread-self/schedstat", os.O_RDONLY)
        self._cpu, self._queued = self._times()
        self._worst: dict[str, Any] | None = None
        self._where: list[str] = []

    def begin(self) -> None:
        """Let the beats and the onlooker begin."""
        self._schedule()
        threading.Thread(target=self._look_on, name="headnode-bench-probe", daemon=True).start()

    def _schedule(self) -> None:
        self._expected = time.monotonic() + BEAT_SECONDS
        self._loop.call_later(BEAT_SECONDS, self._beat)

    def _beat(self) -> None:
        late = max(0.0, time.monotonic() - self._expected)
        cpu, queued = self._times()
        if self._worst is None or late > self._worst["late"]:
            self._worst = {
                "late": round(late, 4),
                "cpu": round(cpu - self._cpu, 4),
                "queued": round(queued - self._queued, 4),
                "where": self._where,
            }
        self._cpu, self._queued = cpu, queued
        self._where = []
        self._schedule()

    def _times(self) -> tuple[float, float]:
        """Return for how long this thread has run, and waited for a core."""
        ran, queued, _ = os.pread(self._schedstat, 100, 0).split()
        return int(ran) / 1e9, int(queued) / 1e9

    def _look_on(self) -> None:
        written = time.monotonic()
        while True:
            time.sleep(BEAT_SECONDS)
            now = time.monotonic()
            if now - self._expected > LONG_SECONDS and not self._where:
                self._where = self._stack()
            if now - written >= 1.0 and self._worst is not None:
                worst, self._worst, written = self._worst, None, now
                with open(self._path, "a") as file:  # noqa: PTH123 - pathlib costs every process that starts
                    file.write(json.dumps({"at": time.time(), "pid": os.getpid(), **worst}) + "\n")

    def _stack(self) -> list[str]:
        frame = sys._current_frames().get(self._thread_id)  # noqa: SLF001 - the documented way to another's stack
        names: list[str] = []
        while frame is not None and len(names) < DEEPEST_FRAMES:
            names.append(f"{frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_name}")
            frame = frame.f_back
        return names


def _watch_loops(path: str) -> None:
    from asyncio.base_events import BaseEventLoop  # noqa: PLC0415 - other processes do not pay for it

    run_forever = BaseEventLoop.run_forever

    def watched(self: BaseEventLoop) -> None:
        if threading.current_thread() is threading.main_thread():
            Probe(self, path).begin()
        run_forever(self)

    BaseEventLoop.run_forever = watched  # type: ignore[method-assign]


if os.environ.get("HEADNODE_BENCH_PAUSES") and "triggerer" in sys.orig_argv:
    _watch_loops(os.environ["HEADNODE_BENCH_PAUSES"])
