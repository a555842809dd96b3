"""What is known of the array jobs of one round while they are followed: one line in the task's log for all of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final

from headnode.cluster.events import Event, JobOver, StateSeen
from headnode.cluster.following import Followed
from headnode.cluster.outages import OutageBegan, OutageOver
from headnode.slurm.elements import describe_progress
from headnode.slurm.reasons import describe_reason
from headnode.slurm.states import JobState, combined_state

# What one answer of squeue says of many jobs comes one by one, within a moment.
_GATHER_SECONDS: Final = 0.5


class ArrayProgress:
    """The state of a round's jobs.

    :param total: the number of elements of the whole array
    :param log: the task's log
    """

    def __init__(self, *, total: int, log: Any) -> None:
        self._total = total
        self._log = log
        self._sizes: dict[str, int] = {}
        self._jobs: dict[str, Followed] = {}
        self._left = 0
        self._silent: set[tuple[str, str]] = set()
        self._changed = asyncio.Event()
        self._said = ""

    def begin(self, elements: int) -> None:
        """Begin a round in which so many elements run."""
        self._sizes, self._jobs, self._left = {}, {}, elements
        self._silent.clear()

    def submitted(self, job_id: str, elements: int) -> None:
        """Take in that a job was submitted, or found."""
        self._sizes[job_id] = elements
        self._left -= elements
        self._jobs[job_id] = Followed(job_id=job_id, counts={"PENDING": elements})

    def saw(self, job_id: str, event: Event) -> None:
        """Take in what a tracker says of a job; of what befalls all of them, the first one is told."""
        match event:
            case StateSeen(job):
                self._jobs[job_id] = job
                self._changed.set()
            case JobOver():
                self._jobs[job_id] = Followed(job_id=job_id, state=JobState.COMPLETED, state_word="COMPLETED")
                self._changed.set()
            case OutageBegan(error, service):
                if not any(name == service for name, _ in self._silent):
                    self._log.warning("%s The jobs go on; %s is asked again until it answers.", error, service)
                self._silent.add((service, job_id))
            case OutageOver(seconds=seconds, service=service):
                self._silent.discard((service, job_id))
                if not any(name == service for name, _ in self._silent):
                    self._log.info("%s answers again after %.0f s", service, seconds)

    @property
    def seen(self) -> Followed | None:
        """The job that speaks for all, None before there is one."""
        if not self._jobs:
            return None
        state = combined_state(job.state for job in self._jobs.values())
        return next(job for job in self._jobs.values() if job.state is state)

    def state_words(self) -> dict[str, str]:
        """Return Slurm's word for each job that has not ended."""
        return {job_id: job.state_word for job_id, job in self._jobs.items() if job.state is not JobState.COMPLETED}

    def say(self) -> None:
        """Write the line, if it is another one than the last."""
        counts: Counter[str] = Counter({"PENDING": self._left} if self._left else {})
        for job in self._jobs.values():
            counts.update(job.counts or ({job.state_word: 1} if job.state is not JobState.COMPLETED else {}))
        line = describe_progress(list(self._sizes), counts, total=self._total)
        if (seen := self.seen) is not None and seen.reason and "running" not in line:
            line += f" ({describe_reason(seen.reason)})"
        if line != self._said:
            self._log.info("%s", line)
            self._said = line

    async def report(self, store: Callable[[], Awaitable[object]]) -> None:
        """Say and store what has changed, until this is cancelled."""
        while True:
            await self._changed.wait()
            await asyncio.sleep(_GATHER_SECONDS)
            self._changed.clear()
            self.say()
            await store()
