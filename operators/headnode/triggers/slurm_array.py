"""The trigger that runs an array: as one or several array jobs, and its failed elements again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from itertools import islice
from typing import Any, Final

from headnode.cluster.elements import read_element_results
from headnode.cluster.queries import cluster_limits
from headnode.cluster.tracker import Tracker
from headnode.errors import HeadnodeError, JobSpecError
from headnode.slurm.accounting import ElementEnd
from headnode.slurm.element_ends import array_error, merge_results, summarize_failures
from headnode.slurm.element_retries import Again, ElementRetries
from headnode.slurm.elements import (
    ArrayPart,
    describe_failures,
    failed_elements,
    name_jobs,
    parse_array,
    plan_parts,
)
from headnode.slurm.policy import FailurePolicy
from headnode.slurm.resubmission import end_of
from headnode.slurm.usage import usage_table
from headnode.ssh.settings import ClusterSettings
from headnode.triggers.array_logs import Which, show_logs
from headnode.triggers.array_progress import ArrayProgress
from headnode.triggers.array_record import Run, total_usage, with_round
from headnode.triggers.array_rounds import ArrayRoundsTrigger

_FIRST: Final = "first submission of this try"
_TAILS_IN_ERROR: Final = 3


class SlurmArrayTrigger(ArrayRoundsTrigger):
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
        super().__init__(arguments=arguments, max_running=max_running, **job)
        self.array = array
        self.element_retries = element_retries
        self.min_success_fraction = min_success_fraction
        self.log_elements = log_elements
        self.uses_index = uses_index
        self._ends: dict[int, ElementEnd] = {}
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
            FailurePolicy.from_json(self.policy),
            element_retries=self.element_retries,
            requested=self.requested,
            in_place_of_requeue=self.secret_env is not None,
        )
        progress = ArrayProgress(total=len(elements), log=self.log)
        self._check_parts(plan_parts(elements, max_array_size=most), most)
        wanted: Again | None = Again(elements=elements, options=(), reason=_FIRST)
        while wanted is not None:
            parts = await asyncio.to_thread(
                plan_parts, wanted.elements, max_array_size=most, max_running=self.max_running
            )
            runs = await self._guarded_round(tracker, settings, parts, wanted, progress)
            await self._discard_secrets(tracker, self._place(settings), [run.submitted.key for run in runs])
            await self._take_in(tracker, runs)
            wanted = await asyncio.to_thread(
                retries.after,
                {element: self._ends[element] for element in wanted.elements},
                job_ids=", ".join(run.submitted.job_id for run in islice(runs, 5)),
                memory_mebibytes=self._memory_mebibytes(),
            )
            if wanted is not None:
                self.log.warning("%s", wanted.reason)
        await asyncio.to_thread(self._judge, settings.ssh.host)
        return await self._results(tracker) if self.push_result else None

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

    async def _take_in(self, tracker: Tracker, runs: Sequence[Run]) -> None:
        """Take in how a round ended: what it used and which elements failed, in the log and in the record."""
        self._runs += runs
        for run in runs:
            self._ends |= run.ends
        if self._record is not None:
            # Of very many elements this takes longer than the loop, which others share, may stand still.
            await self._keep(await asyncio.to_thread(with_round, self._record, self._runs, self._ends))
        ended = sorted(element for run in runs for element in run.part.elements)
        failed = failed_elements({element: self._ends[element] for element in ended})
        name = name_jobs([run.submitted.job_id for run in runs])
        usage = usage_table(total_usage([run.entry.usage for run in runs]))
        self.log.info(
            "%s ended, %d of %d elements well, and used\n%s", name, len(ended) - len(failed), len(ended), usage
        )
        if failed:
            how = await asyncio.to_thread(describe_failures, {element: self._ends[element] for element in failed})
            self.log.warning("%s: %s", name, how)
        ask = partial(self._tolerantly, tracker)
        self._tails |= await show_logs(runs, failed, which=self.log_elements, ask=ask, log=self.log)

    def _memory_mebibytes(self) -> int | None:
        submissions = self._record.submissions if self._record is not None else []
        return end_of(submissions[-1]).memory_mebibytes if submissions else None

    def _judge(self, host: str) -> None:
        """Raise the error that the failed elements of all rounds are, unless enough others ended well."""
        failed = failed_elements(self._ends)
        if not failed:
            return
        name = name_jobs([run.submitted.job_id for run in self._runs])
        summary = summarize_failures(self._ends, name=name, where=host)
        error = array_error(
            self._ends,
            summary=summary,
            min_success_fraction=self.min_success_fraction,
            element_retries=self.element_retries,
            tails={element: self._tails[element] for element in failed if element in self._tails},
        )
        if error is not None:
            raise error
        self.log.warning("%s. That is within min_success_fraction=%g", summary, self.min_success_fraction)

    async def _results(self, tracker: Tracker) -> list[Any] | None:
        directories = [run.submitted.directory for run in self._runs]
        found = await self._tolerantly(tracker, lambda: read_element_results(directories))
        elements = [run.part.elements for run in self._runs]
        return await asyncio.to_thread(merge_results, self._ends, zip(elements, found, strict=True))
