"""The trigger that runs an array: as one or several array jobs, and its failed elements again."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Any, Final

from headnode.cluster.cancellation import withdraw
from headnode.cluster.elements import read_element_results
from headnode.cluster.place import JobPlace
from headnode.cluster.queries import cluster_limits
from headnode.cluster.submission import SubmitRequest, Submitted, Superseded
from headnode.cluster.tracker import JobOver, Tracker
from headnode.errors import CommandRefused, HeadnodeError, JobError, JobFailed, JobPendingTooLong, JobSpecError
from headnode.slurm.accounting import AccountingEntry, ElementEnd
from headnode.slurm.element_arguments import ARGUMENTS_FILE, arguments_file, unpack_lines
from headnode.slurm.element_retries import Again, ElementRetries
from headnode.slurm.elements import (
    ArrayPart,
    describe_failures,
    enough_succeeded,
    failed_elements,
    name_elements,
    name_jobs,
    parse_array,
    plan_parts,
)
from headnode.slurm.ends import kind_of_end
from headnode.slurm.policy import FailurePolicy
from headnode.slurm.record import Submission
from headnode.slurm.resubmission import end_of
from headnode.slurm.usage import usage_table
from headnode.ssh.settings import ClusterSettings
from headnode.triggers.array_logs import Which, show_logs
from headnode.triggers.array_progress import ArrayProgress
from headnode.triggers.array_record import Run, total_usage, with_round, with_run, with_states
from headnode.triggers.slurm_job import SlurmJobTrigger

_FIRST: Final = "first submission of this try"
_TAILS_IN_ERROR: Final = 3


class SlurmArrayTrigger(SlurmJobTrigger):
    """Submits (or finds) the array jobs of one try and follows them; elements that failed may run again.

    A round is what is submitted at once: the whole array first, then the elements that run again. Its array jobs are
    submissions of their own, numbered through over the rounds, so that another triggerer finds each of them.

    :param array: the elements in Slurm's notation, e.g. ``0-999``
    :param arguments: their words, as ``pack_lines`` gives them, None where they have none
    :param max_running: how many elements may run at the same time, None for as many as Slurm lets
    :param element_retries: how often an element that failed runs again
    :param min_success_fraction: which part of the elements must end well, 0 to 1
    :param log_elements: whose logs are shown
    :param uses_index: whether the job's text names SLURM_ARRAY_TASK_ID, which begins anew in each array job
    :param job: the arguments of ``SlurmJobTrigger``
    """

    def __init__(
        self,
        *,
        array: str,
        arguments: str | None = None,
        max_running: int | None = None,
        element_retries: int = 0,
        min_success_fraction: float = 1.0,
        log_elements: Which = "failed",
        uses_index: bool = False,
        **job: Any,
    ) -> None:
        super().__init__(**job)
        self.array = array
        self.arguments = arguments
        self.max_running = max_running
        self.element_retries = element_retries
        self.min_success_fraction = min_success_fraction
        self.log_elements = log_elements
        self.uses_index = uses_index
        self._ends: dict[int, ElementEnd] = {}
        self._runs: list[Run] = []
        self._tails: dict[int, list[str]] = {}

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments, which Airflow stores while the task is deferred."""
        return (
            "headnode.triggers.slurm_array.SlurmArrayTrigger",
            {
                **super().serialize()[1],
                "array": self.array,
                "arguments": self.arguments,
                "max_running": self.max_running,
                "element_retries": self.element_retries,
                "min_success_fraction": self.min_success_fraction,
                "log_elements": self.log_elements,
                "uses_index": self.uses_index,
            },
        )

    async def _finish(self, tracker: Tracker, settings: ClusterSettings) -> Any:
        # Where another triggerer left off, the rounds are gone through once more: the host knows their jobs, and Slurm
        # says again how the elements ended, so that the same ones run again.
        await self._stored(settings)
        elements, _ = parse_array(self.array)
        most = await self._max_array_size(tracker)
        retries = ElementRetries(
            FailurePolicy.from_json(self.policy), element_retries=self.element_retries, requested=self.requested
        )
        progress = ArrayProgress(total=len(elements), log=self.log)
        wanted: Again | None = Again(elements=elements, options=(), reason=_FIRST)
        while wanted is not None:
            parts = plan_parts(wanted.elements, max_array_size=most, max_running=self.max_running)
            self._check_parts(parts, most)
            runs = await self._guarded_round(tracker, settings, parts, wanted, progress)
            failed = await self._take_in(tracker, runs)
            wanted = retries.after(
                {element: self._ends[element] for element in wanted.elements},
                job_ids=", ".join(run.submitted.job_id for run in islice(runs, 5)),
                memory_mebibytes=self._memory_mebibytes(),
            )
            if wanted is not None:
                self.log.warning("%s", wanted.reason)
            elif failed:
                self._judge(settings, elements)
        return await self._results(tracker, elements) if self.push_result else None

    async def _max_array_size(self, tracker: Tracker) -> int:
        """Return the site's MaxArraySize, as it was when this try began."""
        stored = self._record.requested.get("max_array_size") if self._record is not None else None
        if isinstance(stored, int):
            return stored
        try:
            limits = await tracker.limits()
        except HeadnodeError as error:
            if not error.retryable:
                raise
            limits = await self._tolerantly(tracker, cluster_limits)
        self.requested = {**self.requested, "max_array_size": limits.max_array_size}
        return limits.max_array_size

    def _check_parts(self, parts: Sequence[ArrayPart], max_array_size: int) -> None:
        if self.uses_index and any(part.offset for part in parts):
            raise JobSpecError(
                "array",
                f"has indexes of {max_array_size} and more (this cluster's MaxArraySize), so it runs as several array"
                " jobs, in each of which SLURM_ARRAY_TASK_ID begins anew; use $HEADNODE_ELEMENT in its place",
            )
        if len(parts) > 1 and "aftercorr" in (self.depends_on or {}):
            raise JobSpecError(
                "depends_on", "aftercorr goes from index to index, and this array runs as several array jobs"
            )

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
        files = {"element_offset": f"{part.offset}\n".encode()} if part.offset else {}
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

    async def _take_in(self, tracker: Tracker, runs: Sequence[Run]) -> list[int]:
        """Take in how a round ended: what it used and which elements failed, in the log and in the record."""
        self._runs += runs
        for run in runs:
            self._ends |= run.ends
        if self._record is not None:
            await self._keep(with_round(self._record, self._runs, self._ends))
        ended = sorted(element for run in runs for element in run.part.elements)
        failed = failed_elements({element: self._ends[element] for element in ended})
        name = name_jobs([run.submitted.job_id for run in runs])
        usage = usage_table(total_usage([run.entry.usage for run in runs]))
        self.log.info(
            "%s ended, %d of %d elements well, and used\n%s", name, len(ended) - len(failed), len(ended), usage
        )
        if failed:
            self.log.warning("%s: %s", name, describe_failures({element: self._ends[element] for element in failed}))
        ask = partial(self._tolerantly, tracker)
        self._tails = await show_logs(runs, failed, which=self.log_elements, ask=ask, log=self.log)
        return failed

    def _memory_mebibytes(self) -> int | None:
        submissions = self._record.submissions if self._record is not None else []
        return end_of(submissions[-1]).memory_mebibytes if submissions else None

    def _judge(self, settings: ClusterSettings, elements: Sequence[int]) -> None:
        """Raise the error that the failed elements are, unless enough others ended well."""
        failed = failed_elements(self._ends)
        succeeded = len(elements) - len(failed)
        name = name_jobs(list(dict.fromkeys(run.submitted.job_id for run in self._runs)))
        how = describe_failures(self._ends)
        message = f"{len(failed)} of {len(elements)} elements of {name} on {settings.ssh.host} failed: {how}"
        if enough_succeeded(succeeded=succeeded, total=len(elements), min_success_fraction=self.min_success_fraction):
            self.log.warning("%s. That is within min_success_fraction=%g", message, self.min_success_fraction)
            return
        raise self._error(message, failed)

    def _error(self, message: str, failed: Sequence[int]) -> JobError:
        kinds = {kind_of_end(self._ends[element].state) for element in failed}
        kind, advice = next(iter(kinds)) if len(kinds) == 1 else (JobFailed, "their own output says more")
        message += f": {advice}" if kind is not JobFailed else ""
        if self.min_success_fraction < 1:
            message += f". min_success_fraction={self.min_success_fraction:g} asks for more"
        if self.element_retries:
            message += f". Each of them ran again up to {self.element_retries} times"
        for element, lines in islice(self._tails.items(), _TAILS_IN_ERROR):
            if lines:
                message += f"\nThe last lines of element {element}'s log:\n" + "\n".join(f"  {line}" for line in lines)
        return kind(message)

    async def _results(self, tracker: Tracker, elements: Sequence[int]) -> list[Any] | None:
        """Return what the elements wrote, in their order; None for those that wrote nothing or failed."""
        directories = [run.submitted.directory for run in self._runs]
        found = await self._tolerantly(tracker, lambda: read_element_results(directories))
        results: dict[int, Any] = {}
        for run, of_run in zip(self._runs, found, strict=True):
            for element in run.part.elements:
                results.pop(element, None)
                if element in of_run:
                    results[element] = of_run[element]
        for element in failed_elements(self._ends):
            results.pop(element, None)
        return [results.get(element) for element in elements] if results else None


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
