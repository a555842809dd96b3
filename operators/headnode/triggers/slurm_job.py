"""The trigger that hands one job to the cluster and follows it to its end, submission after submission."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, Final

from headnode.cluster.cancellation import withdraw
from headnode.cluster.functions import RAISED, read_exception
from headnode.cluster.lines import LogLines, describe_state, describe_usage
from headnode.cluster.logs import read_result
from headnode.cluster.place import JobPlace
from headnode.cluster.submission import SubmitRequest, Submitted
from headnode.cluster.tracker import JobOver, LogSeen, OutageBegan, OutageOver, StateSeen, Tracker
from headnode.errors import HeadnodeError, JobPendingTooLong
from headnode.slurm.accounting import AccountingEntry
from headnode.slurm.ends import job_error
from headnode.slurm.policy import FailurePolicy
from headnode.slurm.record import JobRecord, Submission
from headnode.slurm.resubmission import GiveUp, Resubmission, decide, end_of
from headnode.slurm.states import phase_of
from headnode.ssh.settings import ClusterSettings
from headnode.triggers.log_room import room_in_log
from headnode.triggers.reporting import stored_record, with_end, with_state
from headnode.triggers.submitting import SubmittingTrigger

_FIRST: Final = Resubmission(options=(), reason="first submission of this try")
_TAKEN_OVER: Final = "taken over from an earlier try, which ended because the cluster could not be asked"


class SlurmJobTrigger(SubmittingTrigger):
    """Submits (or finds) the job of one try and follows it; after some failures it submits once more.

    :param script: the whole batch script
    :param job_name: its name in Slurm
    :param script_sha256: the script's hash, for the record
    :param requested: the resources asked for, for the record and the policy
    :param code: a gzipped tar archive in base64, or None
    :param code_sha256: in place of ``code``, the name of code that is on the cluster already
    :param is_array: whether Slurm makes a job array of it
    :param elements: how many elements it has, 1 for a plain job, None where that can't be told
    :param policy: after which failures to submit again, as ``FailurePolicy.to_json`` gives it
    :param max_pending_seconds: how long a job may wait in the queue, None for ever
    :param files: content in base64 of files beside a job that runs a function, by their names
    :param secret_env: references to the job's secrets by the names of environment variables; never their values
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
        code_sha256: str | None = None,
        is_array: bool = False,
        elements: int | None = None,
        policy: dict[str, Any] | None = None,
        max_pending_seconds: float | None = None,
        secret_env: dict[str, str] | None = None,
        files: dict[str, str] | None = None,
        **owned: Any,
    ) -> None:
        super().__init__(**owned)
        self.script = script
        self.job_name = job_name
        self.script_sha256 = script_sha256
        self.requested = requested
        self.code = code
        self.code_sha256 = code_sha256
        self.is_array = is_array
        self.elements = elements
        self.policy = policy
        self.max_pending_seconds = max_pending_seconds
        self.secret_env = secret_env
        self.files = files
        self._no_result = False

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
                "code_sha256": self.code_sha256,
                "is_array": self.is_array,
                "elements": self.elements,
                "policy": self.policy,
                "max_pending_seconds": self.max_pending_seconds,
                "secret_env": self.secret_env,
                "files": self.files,
            },
        )

    async def _finish(self, tracker: Tracker, settings: ClusterSettings) -> Any:
        # Where another triggerer left off, the last submission is followed once more, ended or not: the host knows
        # its job, and Slurm says again how that ended. Most triggers are new, and the cluster tells that as well, so
        # that Airflow is not asked.
        first = self._place(settings)
        submitted = None
        if not (self.adopt_owners or self.depends_on):
            submitted = await self._submitted_or_withdrawn(tracker, settings, self._request(first, _FIRST))
        record = await self._stored(settings) if submitted is None or submitted.adopted else None
        number, wanted = len(record.submissions) if record is not None else 1, _FIRST
        if record is not None and record.withdrawn is not None:
            raise await self._withdrawn(tracker, settings, self._place(settings, number), record, record.withdrawn)
        while True:
            place = self._place(settings, number)
            record = await self._submission(tracker, settings, place, wanted, submitted if number == 1 else None)
            entry, tail, was_alive = await self._follow(tracker, settings, place, record)
            record = await self._keep_on_the_way(with_end(self._record or record, entry))
            after = self._after(record, was_alive=was_alive)
            because = after.because if isinstance(after, GiveUp) else None
            raised = await self._raised(tracker, entry, record.directory)
            error = job_error(entry, where=settings.ssh.host, log_tail=tail, not_again=because, raised=raised)
            if error is None:
                return await self._result(tracker, record.directory)
            await self._discard_secrets(tracker, place, [record.submissions[-1].key or place.key])
            if isinstance(after, GiveUp):
                raise error
            self.log.warning("%s", after.reason)
            wanted, number = after, number + 1

    async def _submitted_or_withdrawn(
        self, tracker: Tracker, settings: ClusterSettings, request: SubmitRequest
    ) -> Submitted | None:
        """Submit (or find) the job, or return None where an earlier triggerer has withdrawn it, as the record tells."""
        try:
            return await self._submitted(tracker, settings, request)
        except HeadnodeError:
            record = await self._stored(settings)
            if record is None or record.withdrawn is None:
                raise
            return None

    def _after(self, record: JobRecord, *, was_alive: bool) -> Resubmission | GiveUp:
        """Return what follows the record's last submission; ``was_alive`` tells that this try has seen its job so."""
        ends = [end_of(each) for each in record.submissions]
        policy = FailurePolicy.from_json(self.policy)
        after = decide(policy, ends, self.requested, in_place_of_requeue=self.secret_env is not None)
        last = record.submissions[-1]
        if was_alive or (last.key or record.key).rpartition("-")[0] == record.key.rpartition("-")[0]:
            return after
        if isinstance(after, Resubmission):
            return after
        # It failed, or somebody cancelled it, while nobody looked: that end was the earlier try's.
        met = f"job {last.job_id}, of an earlier try, had ended as {last.state} before it was taken over"
        return Resubmission(options=(), reason=f"{met}; it runs anew")

    async def _stored(self, settings: ClusterSettings) -> JobRecord | None:
        record = await stored_record(self._labels)
        if record is not None and record.key.rpartition("-")[0] == self._place(settings).owner:
            self._record = record
        return self._record

    def _request(self, place: JobPlace, wanted: Resubmission) -> SubmitRequest:
        return SubmitRequest(
            place=place,
            script=self.script,
            code=base64.b64decode(self.code) if self.code is not None else None,
            code_sha256=self.code_sha256,
            options=wanted.options,
            files=self._files(place),
            is_array=self.is_array,
            adopt_owners=tuple(self.adopt_owners) if place.number == 1 else (),
        )

    async def _completed(self, request: SubmitRequest) -> SubmitRequest:
        if self.secret_env is None:
            return request
        from headnode.triggers.secrets import complete_request  # noqa: PLC0415 - few jobs have any

        return await complete_request(request, self.secret_env)

    async def _discard_secrets(self, tracker: Tracker, place: JobPlace, keys: Sequence[str]) -> None:
        if self.secret_env is not None:
            from headnode.triggers.secrets import discard_unread  # noqa: PLC0415

            await discard_unread(tracker, place, keys, log=self.log)

    async def _submission(
        self,
        tracker: Tracker,
        settings: ClusterSettings,
        place: JobPlace,
        wanted: Resubmission,
        submitted: Submitted | None,
    ) -> JobRecord:
        """Submit (or find) the job of one submission, where that is not done, and keep it in the record."""
        if submitted is None:
            submitted = await self._submitted(tracker, settings, self._request(place, wanted))
        if self._record is not None and len(self._record.submissions) >= place.number:
            return self._keep_soon(self._record, settings)
        taken_over = submitted.key.rpartition("-")[0] != place.owner
        submission = Submission(
            number=place.number,
            job_id=submitted.job_id,
            at=datetime.now(UTC),
            reason=_TAKEN_OVER if taken_over else wanted.reason,
            key=submitted.key,
            directory=submitted.directory,
        )
        return self._keep_soon(self._recorded(place, settings, submitted, submission), settings)

    def _files(self, place: JobPlace) -> dict[str, bytes]:
        """Return a function's files, and what lets a job go on from the checkpoint of one that was taken over."""
        first = self._record.submissions[0] if self._record is not None else None
        owner = (first.key or place.key).rpartition("-")[0] if first is not None else place.owner
        wanted = FailurePolicy.from_json(self.policy).wants_checkpoint and owner != place.owner
        files = {name: base64.b64decode(content) for name, content in (self.files or {}).items()}
        return files | ({"checkpoint_of": f"{owner}\n".encode()} if wanted and place.number > 1 else {})

    def _recorded(
        self, place: JobPlace, settings: ClusterSettings, submitted: Submitted, submission: Submission
    ) -> JobRecord:
        each = ".*" if self.is_array else ""
        log_path = f"{submitted.directory}/output{each}.log"
        error_log_path = f"{submitted.directory}/error{each}.log"
        if self._record is not None:
            anew = {
                "key": place.key,
                "log_path": log_path,
                "error_log_path": error_log_path,
                "state": "PENDING",
                "reason": None,
                "nodes": None,
                "usage": None,
            }
            return self._record.resubmitted(submission).model_copy(update=anew)
        return JobRecord(
            key=place.key,
            conn_id=self.slurm_conn_id,
            host=settings.ssh.host,
            labels=place.labels,
            job_id=submitted.job_id,
            job_name=self.job_name,
            directory=submitted.directory,
            script_sha256=self.script_sha256,
            requested=self.requested,
            submissions=[submission],
            log_path=log_path,
            error_log_path=error_log_path,
        )

    async def _follow(
        self, tracker: Tracker, settings: ClusterSettings, place: JobPlace, record: JobRecord
    ) -> tuple[AccountingEntry, list[str], bool]:
        """Log and record what happens to the job until it is over.

        Return its end, the last lines that it wrote, and whether this try has seen it before its end.
        """
        was_alive = record.submissions[-1].state is not None
        lines = LogLines()
        begun: set[str] = set()
        events = tracker.follow(
            record.job_id,
            key=record.submissions[-1].key,
            directory=record.directory,
            is_array=self.is_array,
            elements=self.elements,
            max_pending_seconds=self.max_pending_seconds,
            outage_tolerance_seconds=self.outage_tolerance_seconds,
        )
        try:
            async with aclosing(events):
                async for event in events:
                    await room_in_log()
                    match event:
                        case StateSeen(job):
                            self.log.info("%s", describe_state(job))
                            was_alive |= not phase_of(job.state).ended
                            record = with_state(record, job)
                            # The end, which comes at once, is stored with all that is known of it.
                            if not phase_of(job.state).ended:
                                record = self._keep_soon(record, settings)
                        case LogSeen(piece):
                            if piece.stream not in begun and piece.start:
                                self.log.info("the job's %s goes on at byte %d", piece.stream, piece.start)
                            begun.add(piece.stream)
                            self._log_output(lines.feed(piece))
                        case OutageBegan(error, service):
                            self.log.warning("%s The job goes on; %s is asked again until it answers.", error, service)
                        case OutageOver(seconds=seconds, service=service):
                            self.log.info("%s answers again after %.0f s", service, seconds)
                        case JobOver(entry, no_result):
                            self._no_result = no_result
                            self._log_output(lines.finish())
                            self.log.info("%s", describe_usage(entry))
                            return entry, lines.tail, was_alive
        except JobPendingTooLong as error:
            raise await self._withdrawn(tracker, settings, place, self._record or record, str(error)) from None
        raise AssertionError("the tracker ends with JobOver or an error")

    async def _withdrawn(
        self, tracker: Tracker, settings: ClusterSettings, place: JobPlace, record: JobRecord, why: str
    ) -> JobPendingTooLong:
        """Cancel the job that waited for too long; return the error that says so.

        The record keeps why: whoever goes on after a restart finds the job gone, and could not tell.
        """
        await self._keep(record.model_copy(update={"withdrawn": why}))
        try:
            await self._tolerantly(tracker, lambda: withdraw(place, settle_seconds=settings.settle_seconds))
        except HeadnodeError as failed:
            return JobPendingTooLong(f"{why}. It could not be cancelled, look at the cluster: {failed}")
        return JobPendingTooLong(f"{why}. It is cancelled")

    async def _result(self, tracker: Tracker, directory: str) -> Any:
        if not self.push_result or self._no_result:
            return None
        return await self._tolerantly(tracker, lambda: read_result(directory, is_array=self.is_array))

    async def _raised(self, tracker: Tracker, entry: AccountingEntry, directory: str) -> tuple[str, str] | None:
        """Return what the job's function has raised, where it runs one that did."""
        if self.files is None or entry.exit_code != RAISED:
            return None
        raised = await self._tolerantly(tracker, lambda: read_exception(directory))
        return (f"{raised.type_name}: {raised.message}", raised.traceback) if raised is not None else None

    def _log_output(self, lines: list[str]) -> None:
        for line in lines:
            self.log.info("%s", line)
