"""What jobs write, read in a notebook, a script or a worker: so far, or while they write it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, get_args

from headnode.cluster.elements import read_log_ends
from headnode.cluster.events import JobOver, LogSeen
from headnode.cluster.lines import MARKS, LogLines
from headnode.cluster.logs import LogPosition, read_pieces
from headnode.errors import JobError, JobSpecError
from headnode.hooks.jobs import Say, SlurmJob
from headnode.hooks.waiting import MAX_LOG_BYTES, Stream, Waiter
from headnode.slurm.usage import size

if TYPE_CHECKING:
    from headnode.hooks.slurm import SlurmHook

_NAMES = {"stdout": "output", "stderr": "error"}


def read_log(
    hook: SlurmHook, job: SlurmJob, *, stream: Stream, element: int | None, start: int | None, say: Say
) -> str:
    """Return up to ``MAX_LOG_BYTES`` of a log, the last ones where ``start`` is None; a missing log is empty."""
    path = log_path(job, stream, element)
    if start is None:
        (end,) = hook.run(read_log_ends([path], max_bytes=MAX_LOG_BYTES))
        if not end.is_whole:
            say(f"{path} is {size(end.size)} long; these are the last {size(len(end.data))}, start= reads others")
        return end.data.decode("utf-8", "replace")
    content = b""
    while len(content) < MAX_LOG_BYTES:
        (piece,) = hook.run(read_pieces([LogPosition(path=path, offset=start + len(content))]))
        content += piece.data
        if not piece.data or piece.end >= piece.size:
            break
    return content.decode("utf-8", "replace")


def follow_log(waiter: Waiter, job: SlurmJob, *, stream: Stream) -> Iterator[str]:
    """Yield the lines of a log until the job has ended, whichever way; begin with at most ``MAX_LOG_BYTES``."""
    log_path(job, stream, None)
    lines = LogLines()
    mark = MARKS[stream]
    for _, event in waiter.events([job], timeout_seconds=None, with_logs=True):
        new = lines.feed(event.piece) if isinstance(event, LogSeen) else []
        if isinstance(event, JobOver | JobError):
            new = lines.finish()
        yield from (line.removeprefix(mark) for line in new if line.startswith(mark))


def log_path(job: SlurmJob, stream: Stream, element: int | None) -> str:
    """Return the path of a log on the cluster.

    Raises:
        JobSpecError: there is no such log.
    """
    if stream not in get_args(Stream):
        raise JobSpecError("stream", f"{stream!r} must be 'stdout' or 'stderr'")
    if job.is_array == (element is None):
        problem = "say of which element: its SLURM_ARRAY_TASK_ID" if job.is_array else "is for job arrays"
        raise JobSpecError("element", f"{problem} (job {job.job_id})")
    each = "" if element is None else f".{int(element)}"
    return f"{job.directory}/{_NAMES[stream]}{each}.log"
