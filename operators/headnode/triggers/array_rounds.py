"""Submitting and following all array jobs of one round of an array, as a part of its trigger."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from functools import partial
from typing import Any

from headnode.cluster.cancellation import withdraw
from headnode.cluster.place import JobPlace
from headnode.cluster.submission import SubmitRequest, Submitted, Superseded
from headnode.cluster.tracker import JobOver, Tracker
from headnode.errors import CommandRefused, HeadnodeError, JobPendingTooLong
from headnode.slurm.accounting import AccountingEntry
from headnode.slurm.element_arguments import ARGUMENTS_FILE, arguments_file, unpack_lines
from headnode.slurm.element_retries import Again
from headnode.slurm.elements import ArrayPart, name_elements
from headnode.slurm.record import Submission
from headnode.ssh.settings import ClusterSettings
from headnode.triggers.array_progress import ArrayProgress
from headnode.triggers.array_record import Run, with_run, with_states
from headnode.triggers.slurm_job import SlurmJobTrigger


class ArrayRoundsTrigger(SlurmJobTrigger):
    """Base of the trigger that runs an array: one round of it, whatever comes before and after.

    :param arguments: the elements' words, as ``pack_lines`` gives them, None where they have none
    :param max_running: how many elements may run at the same time, None for as many as Slurm lets
    :param job: the arguments of ``SlurmJobTrigger``
    """

    def __init__(self, *, arguments: str | None, max_running: int | None, **job: Any) -> None:
        super().__init__(**job)
        self.arguments = arguments
        self.max_running = max_running
        self._runs: list[Run] = []

    async def _guarded_round(
        self,
        tracker: Tracker,
        settings: ClusterSettings,
        parts: Sequence[ArrayPart],
        wanted: Again,
        progress: ArrayProgress,
    ) -> list[Run]:
        """Run a round; where one of its jobs can't be submitted or followed, end the others."""
        try:
            return await self._round(tracker, settings, parts, wanted, progress)
        except BaseExceptionGroup as group:
            error = _first(group)
        if not isinstance(error, HeadnodeError) or error.retryable or isinstance(error, Superseded):
            raise error
        if self._record is not None and not all(each.ended for each in self._record.submissions):
            place = self._place(settings)
            try:
                cancelled = await self._tolerantly(
                    tracker, lambda: withdraw(place, settle_seconds=settings.settle_seconds)
                )
            except HeadnodeError as failed:
                self.log.error("the array could not be cancelled, look at the cluster: %s", failed)  # noqa: TRY400 - no traceback for people
            else:
                self.log.info("what was left of the array is cancelled: %s", ", ".join(cancelled) or "nothing")
                if isinstance(error, JobPendingTooLong) and cancelled:
                    raise JobPendingTooLong(f"{error}. It is cancelled")
        raise error

    async def _round(
        self,
        tracker: Tracker,
        settings: ClusterSettings,
        parts: Sequence[ArrayPart],
        wanted: Again,
        progress: ArrayProgress,
    ) -> list[Run]:
        """Submit the parts one after the other, and follow them side by side to their ends."""
        progress.begin(len(wanted.elements))
        lanes = asyncio.Semaphore(min(len(parts), self.max_running or len(parts)))
        following: list[asyncio.Task[Run]] = []
        before = len(self._runs)
        async with asyncio.TaskGroup() as group:
            reporter = group.create_task(progress.report(partial(self._keep_states, progress)))
            for at, part in enumerate(parts):
                await lanes.acquire()
                place = self._place(settings, before + at + 1)
                options = (part.option, *wanted.options)
                reason = _reason(part, wanted, parts)
                submitted = await self._part_submitted(
                    tracker, settings, place, part, options=options, following=following
                )
                await self._keep_submission(place, settings, submitted, reason, at=at, parts=len(parts))
                progress.submitted(submitted.job_id, len(part.elements))
                task = group.create_task(self._run_part(tracker, part, submitted, progress))
                task.add_done_callback(lambda _: lanes.release())
                following.append(task)
            await asyncio.wait(following)
            reporter.cancel()
        progress.say()
        return [task.result() for task in following]

    async def _part_submitted(
        self,
        tracker: Tracker,
        settings: ClusterSettings,
        place: JobPlace,
        part: ArrayPart,
        *,
        options: tuple[str, ...],
        following: Sequence[asyncio.Task[Run]],
    ) -> Submitted:
        """Submit (or find) one array job; where a limit of the site is in the way, when another one has ended."""
        files = {name: base64.b64decode(content) for name, content in (self.files or {}).items()}
        if part.offset:
            files["element_offset"] = f"{part.offset}\n".encode()
        if self.arguments is not None:
            files[ARGUMENTS_FILE] = await asyncio.to_thread(_arguments_of, self.arguments, part)
        request = SubmitRequest(
            place=place,
            script=self.script,
            code=base64.b64decode(self.code) if self.code is not None else None,
            code_sha256=self.code_sha256,
            options=options,
            files=files,
            is_array=True,
        )
        while True:
            try:
                return await self._submitted(tracker, settings, request)
            except CommandRefused as error:
                busy = [task for task in following if not task.done()]
                if error.kind != "policy" or not busy:
                    raise
                self.log.warning("%s. This part is submitted again when another part of the array has ended", error)
            await asyncio.wait(busy, return_when=asyncio.FIRST_COMPLETED)

    async def _keep_submission(
        self, place: JobPlace, settings: ClusterSettings, submitted: Submitted, reason: str, *, at: int, parts: int
    ) -> None:
        """Add the submission of a round's part ``at``; the first is what the record speaks of from now on."""
        if self._record is not None and any(each.number == place.number for each in self._record.submissions):
            return
        submission = Submission(
            number=place.number,
            job_id=submitted.job_id,
            at=datetime.now(UTC),
            reason=reason,
            key=submitted.key,
            directory=submitted.directory,
        )
        to_come = {"jobs_to_come": parts - at - 1}  # who depends on this array must know of all its jobs
        if at == 0 or self._record is None:
            record = self._recorded(place, settings, submitted, submission).model_copy(update=to_come)
        else:
            submissions = [*self._record.submissions, submission]
            record = self._record.model_copy(update={"submissions": submissions, **to_come})
        await self._keep(record)

    async def _keep_states(self, progress: ArrayProgress) -> None:
        if self._record is not None and (seen := progress.seen) is not None:
            await self._keep(with_states(self._record, seen, progress.state_words()))

    async def _run_part(self, tracker: Tracker, part: ArrayPart, submitted: Submitted, progress: ArrayProgress) -> Run:
        entry = await self._end_of_part(tracker, part, submitted, progress)
        run = Run(part=part, submitted=submitted, entry=entry)
        if self._record is not None:
            await self._keep(with_run(self._record, run))
        return run

    async def _end_of_part(
        self, tracker: Tracker, part: ArrayPart, submitted: Submitted, progress: ArrayProgress
    ) -> AccountingEntry:
        events = tracker.follow(
            submitted.job_id,
            key=submitted.key,
            directory=submitted.directory,
            is_array=True,
            elements=len(part.elements),
            max_pending_seconds=self.max_pending_seconds,
            outage_tolerance_seconds=self.outage_tolerance_seconds,
        )
        async with aclosing(events):
            async for event in events:
                progress.saw(submitted.job_id, event)
                if isinstance(event, JobOver):
                    return event.entry
        raise AssertionError("the tracker ends with JobOver or an error")


def _arguments_of(packed: str, part: ArrayPart) -> bytes:
    return arguments_file(unpack_lines(packed), part.elements, part.offset)


def _reason(part: ArrayPart, wanted: Again, parts: Sequence[ArrayPart]) -> str:
    if len(parts) == 1:
        return wanted.reason
    return f"{wanted.reason}; this part holds elements {name_elements(part.elements)}"


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return what to raise of what went wrong at once: a mistake of ours, else what no later attempt can cure."""
    errors = list(group.exceptions)
    return min(errors, key=lambda error: isinstance(error, HeadnodeError) * (1 + getattr(error, "retryable", False)))
