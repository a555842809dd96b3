"""Waiting for jobs in a notebook, a script or a worker: one squeue for all of them an interval, whatever comes.

Each look is the round that triggerers make (``headnode.cluster.rounds``); here is the loop around it, and what is said.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from headnode.cluster.elements import LogEnd, read_log_ends
from headnode.cluster.events import Event, JobOver, LogSeen, StateSeen, Subscription
from headnode.cluster.following import Followed
from headnode.cluster.lines import LogLines, describe_state, describe_usage
from headnode.cluster.logs import LOG_NAMES, STREAMS, FollowedLogs, LogPiece, read_result
from headnode.cluster.outages import OutageBegan, OutageOver, Outages
from headnode.cluster.procedures import Procedure, drive_sync
from headnode.cluster.rounds import Rounds
from headnode.errors import HeadnodeError, JobError, JobSpecError, WaitTimedOut
from headnode.hooks.jobs import Say, SlurmJob, tolerantly
from headnode.slurm.ends import job_error

if TYPE_CHECKING:
    from headnode.hooks.slurm import SlurmHook

T = TypeVar("T")
Stream = Literal["stdout", "stderr"]

#: The most that is read of a log at once, and of what a job had written before it is followed.
MAX_LOG_BYTES: Final = 1024 * 1024
_TAIL_BYTES: Final = 8 * 1024


class Waiter:
    """Waits for the jobs of one host. Times are in seconds."""

    def __init__(
        self, hook: SlurmHook, *, outage_tolerance: timedelta, poll_seconds: float | None = None, say: Say
    ) -> None:
        if poll_seconds is not None and not poll_seconds > 0:
            raise JobSpecError("poll_seconds", f"{poll_seconds!r} must be more than 0")
        settings = hook.settings
        fastest = poll_seconds if poll_seconds is not None else settings.poll_seconds
        self._hook = hook
        self._tolerance = outage_tolerance
        self._say = say
        self._rounds = Rounds(
            settings.ssh.host,
            poll_seconds=fastest,
            poll_max_seconds=max(fastest, settings.poll_max_seconds),
            lost_after_seconds=settings.lost_after_seconds,
            clock=time.monotonic,
        )

    def events(
        self, jobs: Sequence[SlurmJob], *, timeout_seconds: float | None, with_logs: bool = False
    ) -> Iterator[tuple[SlurmJob, StateSeen | LogSeen | JobOver | JobError]]:
        """Yield what happens to ``jobs`` until all have ended, ``with_logs`` also what they write; tell of outages.

        Of what a job has written before, its last ``MAX_LOG_BYTES`` come; logs of arrays don't.

        Raises:
            WaitTimedOut: the time is up.
            HeadnodeError: the cluster was silent for longer than the tolerance, or refuses the login.
        """
        until = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        offsets = self._offsets([job for job in jobs if with_logs and not job.is_array])
        waiting = {self._subscribe(job, offsets.get(job)): job for job in dict.fromkeys(jobs)}
        while True:
            if not waiting:
                return
            drive_sync(self._rounds.look(list(waiting)), self._hook.transport.run)
            said = {subscription: subscription.take() for subscription in waiting}
            self._tell_outages([event for events in said.values() for event in events])
            for subscription, events in said.items():
                for event in events:
                    if isinstance(event, StateSeen | LogSeen | JobOver | JobError):
                        yield waiting[subscription], event
                    if isinstance(event, JobOver | JobError):
                        del waiting[subscription]
            self._pause(until, list(waiting.items()))

    def _offsets(self, jobs: Sequence[SlurmJob]) -> dict[SlurmJob, tuple[int, int]]:
        """Return where to begin in the logs of ``jobs``."""
        if not jobs:
            return {}
        paths = [f"{job.directory}/{name}" for job in jobs for name in LOG_NAMES]
        sizes = [end.size for end in self._ask(lambda: read_log_ends(paths, max_bytes=0))]
        starts = [max(0, size - MAX_LOG_BYTES) for size in sizes]
        return {job: (starts[2 * at], starts[2 * at + 1]) for at, job in enumerate(jobs)}

    def _subscribe(self, job: SlurmJob, offsets: tuple[int, int] | None) -> Subscription:
        followed = FollowedLogs(directory=job.directory, offsets=offsets) if offsets is not None else None
        return Subscription(
            job=Followed(job_id=job.job_id, elements=job.elements),
            asked=job.asked,
            logs=followed,
            outages=Outages(self._tolerance.total_seconds()),
        )

    def _tell_outages(self, events: Sequence[Event | HeadnodeError]) -> None:
        """Say once, for all jobs, what began or is over; raise what lasts too long, or what patience can't help."""
        lines: dict[str, None] = {}
        for event in events:
            if isinstance(event, HeadnodeError) and not isinstance(event, JobError):
                raise event
            if isinstance(event, OutageBegan):
                if not event.error.retryable:
                    raise event.error
                lines[f"{event.error} Jobs go on; {event.service} is asked again until it answers."] = None
            elif isinstance(event, OutageOver):
                lines[f"{event.service} answers again after {event.seconds:.0f} s"] = None
        for line in lines:
            self._say(line)

    def _pause(self, until: float | None, waiting: Sequence[tuple[Subscription, SlurmJob]]) -> None:
        if not waiting:
            return
        pause = self._rounds.interval * (random.uniform(0.75, 1.25) if self._rounds.troubled else 1.0)  # noqa: S311
        if until is not None:
            left = until - time.monotonic()
            if left <= 0:
                states = ", ".join(f"job {job.job_id} is {each.job.state_word}" for each, job in waiting)
                raise WaitTimedOut(f"the time is up, and {states} on {self._hook.settings.ssh.host}")
            pause = min(pause, left)
        time.sleep(pause)

    def wait(self, jobs: Sequence[SlurmJob], *, timeout_seconds: float | None, show_log: bool) -> list[Any]:
        """Return the results of ``jobs`` when all have ended well; see ``SlurmHook.wait``."""
        lines = {job: LogLines() for job in jobs}
        ends: dict[SlurmJob, JobOver | JobError] = {}
        try:
            for job, event in self.events(jobs, timeout_seconds=timeout_seconds, with_logs=show_log):
                mark = f"[{job.job_id}] " if len(lines) > 1 else ""
                self._tell(event, lines[job], mark)
                if isinstance(event, JobOver | JobError):
                    ends[job] = event
        except (KeyboardInterrupt, SystemExit, HeadnodeError):
            self._say_what_goes_on([job for job in lines if job not in ends])
            raise
        failures = [error for job in lines if (error := self._failure(job, ends[job], lines[job])) is not None]
        if failures:
            for other in failures[1:]:
                failures[0].add_note(f"And: {other}")
            raise failures[0]
        results = {job: self.result(job) for job in lines}
        return [results[job] for job in jobs]

    def result(self, job: SlurmJob) -> Any:
        """Return what the job has written as JSON to ``$HEADNODE_RESULT``."""
        return self._ask(lambda: read_result(job.directory, is_array=job.is_array))

    def _ask(self, procedure: Callable[[], Procedure[T]]) -> T:
        return tolerantly(self._hook, procedure, tolerance=self._tolerance, say=self._say)

    def _tell(self, event: StateSeen | LogSeen | JobOver | JobError, lines: LogLines, mark: str) -> None:
        match event:
            case StateSeen(job):
                self._say(mark + describe_state(job))
            case LogSeen(piece):
                for line in lines.feed(piece):
                    self._say(mark + line)
            case JobOver(entry):
                for line in lines.finish():
                    self._say(mark + line)
                self._say(mark + describe_usage(entry))

    def _failure(self, job: SlurmJob, end: JobOver | JobError, lines: LogLines) -> JobError | None:
        if isinstance(end, JobError):
            return end
        where = self._hook.settings.ssh.host
        if job_error(end.entry, where=where) is None:
            return None
        return job_error(end.entry, where=where, log_tail=lines.tail or self._tail(job))

    def _tail(self, job: SlurmJob) -> list[str]:
        """Return the last lines of both logs, as far as they can be had."""
        if job.is_array:
            return []
        try:
            ends = self._hook.run(
                read_log_ends([f"{job.directory}/{name}" for name in LOG_NAMES], max_bytes=_TAIL_BYTES)
            )
        except HeadnodeError as error:
            return [f"(the log can't be read: {error})"]
        lines = LogLines()
        for stream, end in zip(STREAMS, ends, strict=True):
            lines.feed(LogPiece(start=0, size=end.size, data=_from_line(end), stream=stream))
        lines.finish()
        return lines.tail

    def _say_what_goes_on(self, jobs: Sequence[SlurmJob]) -> None:
        if jobs:
            ids = ", ".join(job.job_id for job in jobs)
            goes = "goes" if len(jobs) == 1 else "go"
            self._say(
                f"job {ids} {goes} on on {self._hook.settings.ssh.host}: wait(job) waits again, cancel(job) ends it;"
                f" the handle is {', '.join(repr(job) for job in jobs)}"
            )


def _from_line(end: LogEnd) -> bytes:
    """Return the bytes from the first whole line on."""
    if end.is_whole:
        return end.data
    return end.data.partition(b"\n")[2] or end.data
