"""The logs of an array's elements in the task's log, each line with its element's number."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Literal

from headnode.cluster.elements import LogEnd, read_log_ends
from headnode.cluster.lines import LogLines
from headnode.cluster.logs import STREAMS, LogPiece
from headnode.cluster.procedures import Procedure
from headnode.slurm.usage import size
from headnode.triggers.array_record import Run

FAILED_SHOWN: Final = 10
_LINES_OF_FAILED: Final = 20
_BYTES_OF_FAILED: Final = 8 * 1024
_BYTES_OF_ALL: Final = 16 * 1024
_BYTES_IN_ALL: Final = 4 * 1024 * 1024
_ELEMENTS_AT_ONCE: Final = 100
_NAMES: Final = {"stdout": "output", "stderr": "error"}

Asks = Callable[[Callable[[], Procedure[list[LogEnd]]]], Awaitable[list[LogEnd]]]
Which = Literal["failed", "all", "none"]


async def show_logs(
    runs: Sequence[Run], failed: Sequence[int], *, which: Which, ask: Asks, log: Any
) -> dict[int, list[str]]:
    """Write the logs of the elements of ``runs`` into the task's log; return the last lines of those that failed.

    Of each element the end of what it wrote is shown: of ``failed`` ones the last lines, of ``all`` of them up to
    16 KiB, and 4 MiB in all.
    """
    if which == "none":
        return {}
    failures = set(failed)
    wanted = [
        (element, run)
        for run in runs
        for element in run.part.elements
        if which == "all" or element in set(failed[:FAILED_SHOWN])
    ]
    longest = _BYTES_OF_ALL if which == "all" else _BYTES_OF_FAILED
    tails: dict[int, list[str]] = {}
    shown = 0
    for first in range(0, len(wanted), _ELEMENTS_AT_ONCE):
        if shown > _BYTES_IN_ALL:
            log.info(
                "the logs of %d more elements are in %s and the like",
                len(wanted) - first,
                f"{wanted[first][1].submitted.directory}/output.*.log",
            )
            break
        batch = wanted[first : first + _ELEMENTS_AT_ONCE]
        paths = [_path(element, run, stream) for element, run in batch for stream in STREAMS]
        ends = await ask(lambda paths=paths: read_log_ends(paths, max_bytes=longest))  # type: ignore[misc]
        for at, (element, _) in enumerate(batch):
            lines = _lines(element, ends[2 * at], "stdout") + _lines(element, ends[2 * at + 1], "stderr")
            if which == "failed":
                lines = lines[-_LINES_OF_FAILED:]
            for line in lines:
                log.info("%s", line)
            if element in failures and len(tails) < FAILED_SHOWN:
                tails[element] = lines[-_LINES_OF_FAILED:]
            await asyncio.sleep(0)  # others wait for the loop, too
        shown += sum(len(end.data) for end in ends)
    if which == "failed" and len(failed) > FAILED_SHOWN:
        log.info("the logs of %d more failed elements are on the cluster", len(failed) - FAILED_SHOWN)
    return tails


def _path(element: int, run: Run, stream: Literal["stdout", "stderr"]) -> str:
    return f"{run.submitted.directory}/{_NAMES[stream]}.{element - run.part.offset}.log"


def _lines(element: int, end: LogEnd, stream: Literal["stdout", "stderr"]) -> list[str]:
    cutter = LogLines()
    lines = cutter.feed(LogPiece(start=0, size=end.size, data=end.data, stream=stream)) + cutter.finish()
    if not end.is_whole:
        lines[:1] = [f"(the last {size(len(end.data))} of {size(end.size)})"]
    return [f"[{element}] {line}" for line in lines]
