"""The trigger that hands one job to the cluster and follows it to its end, for a deferred task."""

from __future__ import annotations

import asyncio
import base64
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, Final, TypeVar
from uuid import UUID

from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from airflow.triggers.base import BaseTrigger, TaskSuccessEvent, TriggerEvent

from headnode.cluster.cancellation import withdraw
from headnode.cluster.logs import read_result
from headnode.cluster.place import JobPlace
from headnode.cluster.procedures import Pause, Procedure
from headnode.cluster.submission import SubmitRequest, Submitted, submit
from headnode.cluster.tracker import JobOver, LogSeen, OutageBegan, OutageOver, StateSeen, Tracker
from headnode.errors import HeadnodeError
from headnode.hooks.connection import aload_settings
from headnode.slurm.answers import AccountingEntry
from headnode.slurm.ends import job_error
from headnode.slurm.record import JobRecord, Labels, Submission
from headnode.ssh.settings import ClusterSettings
from headnode.triggers.outcome import failure, success
from headnode.triggers.pace import let_scheduler_catch_up
from headnode.triggers.reporting import (
    LogLines,
    describe_state,
    describe_usage,
    store_record,
    store_result,
    stored_record,
    with_end,
    with_state,
)
from headnode.triggers.trackers import tracker_for

T = TypeVar("T")

_FIRST_RETRY_SECONDS: Final = 5.0
_LAST_RETRY_SECONDS: Final = 300.0
# Airflow interrupts on_kill after about a second; what it began must live on, so somebody must hold it.
_CANCELLATIONS: Final[set[asyncio.Task[None]]] = set()


class SlurmJobTrigger(BaseTrigger):
    """Submits (or finds) the job of one try and follows it.

    :param slurm_conn_id: the Airflow connection to the cluster
    :param owner: the UUID of the task instance
    :param labels: dag, run, task, map index and try, as ``Labels`` dumps them
    :param script: the whole batch script
    :param job_name: its name in Slurm
    :param script_sha256: the script's hash, for the record
    :param requested: the resources asked for, for the record
    :param deployment_id: this Airflow's own id in the cluster's work directory
    :param code: a gzipped tar archive in base64, or None
    :param is_array: whether Slurm makes a job array of it
    :param elements: how many elements it has, 1 for a plain job, None where that can't be told
    :param ends_task: whether a success may end the task here, without a worker
    :param push_result: whether the result is wanted as XCom ``return_value``
    :param outage_tolerance_seconds: how long the cluster may be silent
    """

    def __init__(
        self,
        *,
        slurm_conn_id: str,
        owner: str,
        labels: dict[str, Any],
        script: str,
        job_name: str,
        script_sha256: str,
        requested: dict[str, Any],
        deployment_id: str,
        code: str | None = None,
        is_array: bool = False,
        elements: int | None = None,
        ends_task: bool = False,
        push_result: bool = True,
        outage_tolerance_seconds: float = 86_400.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.slurm_conn_id = slurm_conn_id
        self.owner = owner
        self.labels = labels
        self.script = script
        self.job_name = job_name
        self.script_sha256 = script_sha256
        self.requested = requested
        self.deployment_id = deployment_id
        self.code = code
        self.is_array = is_array
        self.elements = elements
        self.ends_task = ends_task
        self.push_result = push_result
        self.outage_tolerance_seconds = outage_tolerance_seconds
        self._fired = False

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments, which Airflow stores while the task is deferred."""
        return (
            "headnode.triggers.slurm_job.SlurmJobTrigger",
            {
                "slurm_conn_id": self.slurm_conn_id,
                "owner": self.owner,
                "labels": self.labels,
                "script": self.script,
                "job_name": self.job_name,
                "script_sha256": self.script_sha256,
                "requested": self.requested,
                "deployment_id": self.deployment_id,
                "code": self.code,
                "is_array": self.is_array,
                "elements": self.elements,
                "ends_task": self.ends_task,
                "push_result": self.push_result,
                "outage_tolerance_seconds": self.outage_tolerance_seconds,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the one event that ends the wait."""
        began = time.monotonic()
        record: JobRecord | None = None
        try:
            settings = await aload_settings(self.slurm_conn_id)
            tracker = tracker_for(settings)
            submitted = await self._submitted(tracker, settings)
            record = await self._record(submitted, settings)
            record, entry, tail = await self._follow(tracker, record)
            if (error := job_error(entry, where=settings.ssh.host, log_tail=tail)) is not None:
                raise error
            result = await self._result(tracker, record.directory)
        except HeadnodeError as error:
            about = f"task {self._labels.task_id!r} on connection {self.slurm_conn_id!r}"
            event = TriggerEvent(failure(error, about=about, record=record.to_xcom() if record else None))
        else:
            if self.ends_task and result is not None:
                await store_result(self._labels, result)
            event = TaskSuccessEvent() if self.ends_task else TriggerEvent(success(result, record.to_xcom()))
        if not isinstance(event, TaskSuccessEvent):
            await let_scheduler_catch_up(began)
        self._fired = True
        yield event

    async def _result(self, tracker: Tracker, directory: str) -> Any:
        if not self.push_result:
            return None
        return await self._tolerantly(tracker, lambda: read_result(directory, is_array=self.is_array))

    async def on_kill(self) -> None:
        """Cancel the job, unless the task merely went to another triggerer or has a new try.

        Airflow calls this also for tasks that another triggerer has taken over; those are still deferred. A new try
        that is deferred already ends the jobs of the tries before it by itself.
        """
        if self._fired:
            return
        task = asyncio.create_task(self._cancel(), name=f"headnode cancels {self.job_name}")
        _CANCELLATIONS.add(task)
        task.add_done_callback(_CANCELLATIONS.discard)
        await asyncio.shield(task)

    async def _cancel(self) -> None:
        labels = self._labels
        states = await asyncio.to_thread(
            RuntimeTaskInstance.get_task_states,
            dag_id=labels.dag_id,
            map_index=labels.map_index,
            task_ids=[labels.task_id],
            run_ids=[labels.run_id],
        )
        now = {str(state) for of_run in states.values() for state in of_run.values()}
        if "deferred" in now:
            self.log.info("the task is still deferred, so its job is left to whoever follows it now")
            return
        try:
            settings = await aload_settings(self.slurm_conn_id)
            place = self._place(settings)
            job_id = await self._tolerantly(tracker_for(settings), lambda: withdraw(place))
        except HeadnodeError as error:
            self.log.error("the job could not be cancelled, look at the cluster: %s", error)  # noqa: TRY400 - no traceback for people
            return
        self.log.info("job %s is cancelled", job_id) if job_id else self.log.info("no job was left to cancel")

    @property
    def _labels(self) -> Labels:
        return Labels.model_validate(self.labels)

    def _place(self, settings: ClusterSettings) -> JobPlace:
        return JobPlace(
            work_directory=settings.work_directory,
            deployment_id=self.deployment_id,
            labels=self._labels,
            owner=str(UUID(self.owner)),
        )

    async def _submitted(self, tracker: Tracker, settings: ClusterSettings) -> Submitted:
        code = base64.b64decode(self.code) if self.code is not None else None
        request = SubmitRequest(place=self._place(settings), script=self.script, code=code)
        submitted = await self._tolerantly(tracker, lambda: submit(request))
        verb = "found again" if submitted.adopted else "submitted"
        self.log.info("job %s %s on %s, directory %s", submitted.job_id, verb, settings.ssh.host, submitted.directory)
        return submitted

    async def _tolerantly(self, tracker: Tracker, procedure: Callable[[], Procedure[T]]) -> T:
        """Run a repeatable procedure, again and again while the cluster can't be asked, up to the tolerance."""
        began = time.monotonic()
        pause = _FIRST_RETRY_SECONDS
        while True:
            try:
                return await tracker.run(procedure(), on_pause=self._say)
            except HeadnodeError as error:
                left = began + self.outage_tolerance_seconds - time.monotonic()
                if not error.retryable or left <= 0:
                    raise
                wait = min(pause * random.uniform(0.75, 1.25), left)  # noqa: S311 - spreads load, hides nothing
                self.log.warning("%s Trying again in %.0f s, for at most %.0f s more.", error, wait, left)
            await asyncio.sleep(wait)
            pause = min(pause * 2, _LAST_RETRY_SECONDS)

    def _say(self, pause: Pause) -> None:
        self.log.info("waiting: %s", pause.reason)

    async def _record(self, submitted: Submitted, settings: ClusterSettings) -> JobRecord:
        place = self._place(settings)
        earlier = await stored_record(place.labels, place.key) if submitted.adopted else None
        record = earlier or JobRecord(
            key=place.key,
            conn_id=self.slurm_conn_id,
            host=settings.ssh.host,
            labels=place.labels,
            job_id=submitted.job_id,
            job_name=self.job_name,
            directory=submitted.directory,
            log_path=f"{submitted.directory}/output.log",
            script_sha256=self.script_sha256,
            requested=self.requested,
            submissions=[Submission(number=place.number, job_id=submitted.job_id, at=datetime.now(UTC))],
        )
        await store_record(record)
        return record

    async def _follow(self, tracker: Tracker, record: JobRecord) -> tuple[JobRecord, AccountingEntry, list[str]]:
        """Log and record what happens to the job until it is over."""
        lines = LogLines()
        first_piece = True
        events = tracker.follow(
            record.job_id,
            directory=record.directory,
            elements=self.elements,
            outage_tolerance_seconds=self.outage_tolerance_seconds,
        )
        async with aclosing(events):
            async for event in events:
                match event:
                    case StateSeen(job):
                        self.log.info("%s", describe_state(job))
                        record = with_state(record, job)
                        await store_record(record)
                    case LogSeen(piece):
                        if first_piece and piece.start:
                            self.log.info("the job's output goes on at byte %d", piece.start)
                        first_piece = False
                        self._log_output(lines.feed(piece))
                    case OutageBegan(error):
                        self.log.warning("%s The job goes on; asking again until the cluster answers.", error)
                    case OutageOver(seconds=seconds):
                        self.log.info("the cluster answers again after %.0f s", seconds)
                    case JobOver(entry):
                        self._log_output(lines.finish())
                        self.log.info("%s", describe_usage(entry))
                        record = with_end(record, entry)
                        await store_record(record)
                        return record, entry, list(lines.tail)
        raise AssertionError("the tracker ends with JobOver or an error")

    def _log_output(self, lines: list[str]) -> None:
        for line in lines:
            self.log.info("| %s", line)
