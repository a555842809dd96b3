"""The trigger that hands one job to the cluster and follows it to its end, for a deferred task."""

from __future__ import annotations

import base64
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

from headnode.cluster.logs import read_result
from headnode.cluster.submission import SubmitRequest, Submitted
from headnode.cluster.tracker import JobOver, LogSeen, OutageBegan, OutageOver, StateSeen, Tracker
from headnode.slurm.accounting import AccountingEntry
from headnode.slurm.ends import job_error
from headnode.slurm.record import JobRecord, Submission
from headnode.ssh.settings import ClusterSettings
from headnode.triggers.reporting import (
    LogLines,
    describe_state,
    describe_usage,
    stored_record,
    with_end,
    with_state,
)
from headnode.triggers.submitting import SubmittingTrigger


class SlurmJobTrigger(SubmittingTrigger):
    """Submits (or finds) the job of one try and follows it.

    :param script: the whole batch script
    :param job_name: its name in Slurm
    :param script_sha256: the script's hash, for the record
    :param requested: the resources asked for, for the record
    :param code: a gzipped tar archive in base64, or None
    :param is_array: whether Slurm makes a job array of it
    :param elements: how many elements it has, 1 for a plain job, None where that can't be told
    :param owned: the arguments of ``SubmittingTrigger``
    """

    def __init__(
        self,
        *,
        script: str,
        job_name: str,
        script_sha256: str,
        requested: dict[str, Any],
        code: str | None = None,
        is_array: bool = False,
        elements: int | None = None,
        **owned: Any,
    ) -> None:
        super().__init__(**owned)
        self.script = script
        self.job_name = job_name
        self.script_sha256 = script_sha256
        self.requested = requested
        self.code = code
        self.is_array = is_array
        self.elements = elements

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments, which Airflow stores while the task is deferred."""
        return (
            "headnode.triggers.slurm_job.SlurmJobTrigger",
            {
                **self._owned_arguments(),
                "script": self.script,
                "job_name": self.job_name,
                "script_sha256": self.script_sha256,
                "requested": self.requested,
                "code": self.code,
                "is_array": self.is_array,
                "elements": self.elements,
            },
        )

    async def _finish(self, tracker: Tracker, settings: ClusterSettings) -> Any:
        code = base64.b64decode(self.code) if self.code is not None else None
        request = SubmitRequest(place=self._place(settings), script=self.script, code=code)
        submitted = await self._submitted(tracker, settings, request)
        record, entry, tail = await self._follow(tracker, await self._recorded(submitted, settings))
        if (error := job_error(entry, where=settings.ssh.host, log_tail=tail)) is not None:
            raise error
        if not self.push_result:
            return None
        return await self._tolerantly(tracker, lambda: read_result(record.directory, is_array=self.is_array))

    async def _recorded(self, submitted: Submitted, settings: ClusterSettings) -> JobRecord:
        place = self._place(settings)
        earlier = await stored_record(place.labels, place.owner) if submitted.adopted else None
        return await self._keep(
            earlier
            or JobRecord(
                key=place.key,
                conn_id=self.slurm_conn_id,
                host=settings.ssh.host,
                labels=place.labels,
                job_id=submitted.job_id,
                job_name=self.job_name,
                directory=submitted.directory,
                log_path=f"{submitted.directory}/{'output.*.log' if self.is_array else 'output.log'}",
                error_log_path=f"{submitted.directory}/{'error.*.log' if self.is_array else 'error.log'}",
                script_sha256=self.script_sha256,
                requested=self.requested,
                submissions=[
                    Submission(
                        number=place.number,
                        job_id=submitted.job_id,
                        at=datetime.now(UTC),
                        key=place.key,
                        directory=submitted.directory,
                    )
                ],
            )
        )

    async def _follow(self, tracker: Tracker, record: JobRecord) -> tuple[JobRecord, AccountingEntry, list[str]]:
        """Log and record what happens to the job until it is over."""
        lines = LogLines()
        begun: set[str] = set()
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
                        record = await self._keep(with_state(record, job))
                    case LogSeen(piece):
                        if piece.start and piece.stream not in begun:
                            self.log.info("the job's %s goes on at byte %d", piece.stream, piece.start)
                        begun.add(piece.stream)
                        self._log_output(lines.feed(piece))
                    case OutageBegan(error):
                        self.log.warning("%s The job goes on; asking again until the cluster answers.", error)
                    case OutageOver(seconds=seconds):
                        self.log.info("the cluster answers again after %.0f s", seconds)
                    case JobOver(entry):
                        self._log_output(lines.finish())
                        self.log.info("%s", describe_usage(entry))
                        record = await self._keep(with_end(record, entry))
                        return record, entry, lines.tail
        raise AssertionError("the tracker ends with JobOver or an error")

    def _log_output(self, lines: list[str]) -> None:
        for line in lines:
            self.log.info("%s", line)
