"""What triggers share that submit a task's jobs: ownership, patience with the cluster, cancelling, the last event."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, TypeVar
from uuid import UUID

from airflow.triggers.base import BaseTrigger, TaskSuccessEvent, TriggerEvent

from headnode.cluster.cancellation import withdraw
from headnode.cluster.place import JobPlace
from headnode.cluster.procedures import Pause, Procedure
from headnode.cluster.submission import SubmitRequest, Submitted, submit
from headnode.cluster.tracker import Tracker
from headnode.errors import CredentialExpired, HeadnodeError, JobError
from headnode.hooks.connection import aload_settings
from headnode.hooks.deployment import adeployment_id
from headnode.slurm.record import JobRecord, Labels
from headnode.ssh.settings import ClusterSettings
from headnode.triggers.cancelling import begin, cancel_unless_followed, task_states, was_deferred
from headnode.triggers.dependencies import DependencyWatch
from headnode.triggers.log_room import room_in_log
from headnode.triggers.outcome import failure, success
from headnode.triggers.pace import let_scheduler_catch_up
from headnode.triggers.reporting import store_result, stored_record
from headnode.triggers.storing import RecordStore
from headnode.triggers.sweeping import sweep_from_time_to_time
from headnode.triggers.trackers import tracker_for

T = TypeVar("T")

_FIRST_RETRY_SECONDS: Final = 5.0
_LAST_RETRY_SECONDS: Final = 300.0
# A triggerer that starts finds the tasks that were marked while none ran; later ones are told at once.
_BACKLOG_SECONDS: Final = 60.0
_LOADED_AT: Final = time.monotonic()


class SubmittingTrigger(BaseTrigger):
    """Base of the triggers that submit jobs for one try of a task and follow them to the end.

    A subclass gives ``_finish``, which does the work, and ``serialize``, for which ``_owned_arguments`` is a part.

    :param slurm_conn_id: the Airflow connection to the cluster
    :param owner: the UUID of the task instance
    :param labels: dag, run, task, map index and try, as ``Labels`` dumps them
    :param deployment_id: this Airflow's own id in the cluster's work directory; None to ask for it once for all
    :param ends_task: whether a success may end the task here, without a worker
    :param push_result: whether the result is wanted as XCom ``return_value``
    :param outage_tolerance_seconds: how long the cluster may be silent
    :param depends_on: the tasks on whose jobs this one's depend, as ``Dependencies.to_json`` gives them
    :param adopt_owners: task instances of earlier tries, whose job is taken over where it has the same script
    """

    #: When the task's time is up; Airflow sets it.
    timeout_after: datetime | None = None

    def __init__(
        self,
        *,
        slurm_conn_id: str,
        owner: str,
        labels: dict[str, Any],
        deployment_id: str | None,
        ends_task: bool = False,
        push_result: bool = True,
        outage_tolerance_seconds: float = 86_400.0,
        depends_on: dict[str, Any] | None = None,
        adopt_owners: Sequence[str] = (),
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.slurm_conn_id = slurm_conn_id
        self.owner = owner
        self.labels = labels
        self.deployment_id = deployment_id
        self.ends_task = ends_task
        self.push_result = push_result
        self.outage_tolerance_seconds = outage_tolerance_seconds
        self.depends_on = depends_on
        self.adopt_owners = list(adopt_owners)
        self._dependencies: DependencyWatch | None = None
        self._record: JobRecord | None = None
        self._store = RecordStore(self.log)
        self._fired = self._broken = False

    def _owned_arguments(self) -> dict[str, Any]:
        """Return this class's own arguments, which Airflow stores while the task is deferred."""
        return {
            "slurm_conn_id": self.slurm_conn_id,
            "owner": self.owner,
            "labels": self.labels,
            "deployment_id": self.deployment_id,
            "ends_task": self.ends_task,
            "push_result": self.push_result,
            "outage_tolerance_seconds": self.outage_tolerance_seconds,
            "depends_on": self.depends_on,
            "adopt_owners": self.adopt_owners,
        }

    async def _finish(self, tracker: Tracker, settings: ClusterSettings) -> Any:
        """Submit, follow, and return the result; raise what went wrong. Records are kept by ``_keep``.

        Raises:
            HeadnodeError: the job or its following failed.
        """
        raise NotImplementedError

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the one event that ends the wait."""
        began = time.monotonic()
        try:
            settings = await aload_settings(self.slurm_conn_id)
            self.deployment_id = self.deployment_id or await adeployment_id()
            sweep_from_time_to_time(settings, self.deployment_id)
            await self._until_told()
            result = await self._finish(tracker_for(settings), settings)
        except HeadnodeError as error:
            about = f"task {self._labels.task_id!r} on connection {self.slurm_conn_id!r}{self._so_far(error)}"
            cause = (self._dependencies.failure if self._dependencies is not None else None) or error
            owners = [*self.adopt_owners, self.owner]
            event = TriggerEvent(failure(cause, about=about, record=self._record_as_json(), owners=owners))
        except Exception:
            # Airflow's, such as that the DAG run is deleted: it tells nobody then, neither on_kill nor a worker.
            self._broken = True
            raise
        else:
            if self.ends_task and result is not None:
                await store_result(self._labels, result)
            event = TaskSuccessEvent() if self.ends_task else TriggerEvent(success(result, self._record_as_json()))
        finally:
            self._store.hasten()
            if self._dependencies is not None:
                self._dependencies.close()
        if not isinstance(event, TaskSuccessEvent):
            await let_scheduler_catch_up(began)
        self._fired = True
        yield event
        await self._store.settled()

    async def on_kill(self) -> None:
        """Cancel the job, unless the task merely went to another triggerer or has a new try.

        Airflow calls this also for tasks that another triggerer has taken over; those are still deferred. A new try
        ends the jobs of the tries before it by itself.
        """
        if not self._fired:
            self._fired = True
            await asyncio.shield(begin(self._cancel(), name=f"headnode cancels {self._labels.task_id}"))

    async def cleanup(self) -> None:
        """Cancel the job where Airflow does not call ``on_kill``: the task's time is up, or this trigger broke."""
        timeout = self.timeout_after
        late = timeout is not None and (timeout if timeout.tzinfo else timeout.replace(tzinfo=UTC)) < datetime.now(UTC)
        if late or self._broken:
            await self.on_kill()

    async def _cancel(self) -> None:
        async def withdrawn() -> list[str]:
            settings = await aload_settings(self.slurm_conn_id)
            self.deployment_id = self.deployment_id or await adeployment_id()
            place = self._place(settings)
            return await self._tolerantly(
                tracker_for(settings), lambda: withdraw(place, settle_seconds=settings.settle_seconds)
            )

        await cancel_unless_followed(self._labels, withdrawn, log=self.log)

    async def _until_told(self) -> None:
        """Wait for ``on_kill`` where the task was taken from this trigger before a triggerer ran it."""
        if self.task_instance is None or time.monotonic() > _LOADED_AT + _BACKLOG_SECONDS:
            return
        if await was_deferred(self._labels):
            return
        states = await task_states(self._labels, log=self.log)
        if "deferred" not in states:
            self.log.info("nothing is submitted: the task is %s", ", ".join(sorted(states)) or "deleted")
            await asyncio.Event().wait()

    @property
    def _labels(self) -> Labels:
        return Labels.model_validate(self.labels)

    def _place(self, settings: ClusterSettings, number: int = 1) -> JobPlace:
        assert self.deployment_id is not None  # noqa: S101 - for the type checker
        return JobPlace(
            work_directory=settings.work_directory,
            deployment_id=self.deployment_id,
            labels=self._labels,
            owner=str(UUID(self.owner)),
            number=number,
        )

    async def _submitted(self, tracker: Tracker, settings: ClusterSettings, request: SubmitRequest) -> Submitted:
        """Submit (or find) the job of ``request`` and say so in the log."""
        submitted = await self._submit_after_others(tracker, settings, request)
        verb = "found again" if submitted.adopted else "submitted"
        if submitted.key.rpartition("-")[0] != request.place.owner:
            verb = "of an earlier try taken over"
        host = tracker.transport.host
        await room_in_log()
        self.log.info("job %s %s on %s, directory %s", submitted.job_id, verb, host, submitted.directory)
        return submitted

    async def _submit_after_others(
        self, tracker: Tracker, settings: ClusterSettings, request: SubmitRequest
    ) -> Submitted:
        """Submit (or find) the job, as soon as the jobs on which it depends are known."""

        async def send(options: tuple[str, ...]) -> Submitted:
            complete = await self._completed(replace(request, options=(*request.options, *options)))
            return await self._tolerantly(tracker, lambda: submit(complete, settle_seconds=settings.settle_seconds))

        if self.depends_on is None:
            return await send(())
        if self._dependencies is None:
            self._dependencies = DependencyWatch(
                self.depends_on,
                labels=self._labels,
                host=settings.ssh.host,
                ask=partial(self._tolerantly, tracker),
                log=self.log,
                poll_seconds=settings.poll_seconds,
                poll_max_seconds=settings.poll_max_seconds,
            )
        earlier = await stored_record(self._labels)
        keys = {earlier.key, *(each.key for each in earlier.submissions)} if earlier is not None else set()
        return await (send(()) if request.place.key in keys else self._dependencies.submit(send))

    async def _completed(self, request: SubmitRequest) -> SubmitRequest:
        """Return the request with what is to be had only now, when it is sent."""
        return request

    async def _tolerantly(self, tracker: Tracker, procedure: Callable[[], Procedure[T]]) -> T:
        """Run a repeatable procedure, again and again while the cluster can't be asked, up to the tolerance."""
        began = time.monotonic()
        pause = _FIRST_RETRY_SECONDS
        expired: float | None = None
        while True:
            try:
                result = await tracker.run(procedure(), on_pause=self._say)
            except HeadnodeError as error:
                left = began + self.outage_tolerance_seconds - time.monotonic()
                if not error.retryable or left <= 0:
                    raise
                wait = min(pause * random.uniform(0.75, 1.25), left)  # noqa: S311 - spreads load, hides nothing
                if not isinstance(error, CredentialExpired):
                    self.log.warning("%s Trying again in %.0f s, for at most %.0f s more.", error, wait, left)
                elif expired is None:
                    # Said once: whether it was renewed is seen on this machine, without asking the host.
                    expired, pause = time.monotonic(), _FIRST_RETRY_SECONDS
                    self.log.warning("%s It is waited for, for at most %.0f s.", error, left)
            else:
                if expired is not None:
                    self.log.info("the credential was renewed after %.0f s", time.monotonic() - expired)
                return result
            await asyncio.sleep(wait)
            pause = min(pause * 2, _LAST_RETRY_SECONDS if expired is None else _FIRST_RETRY_SECONDS)

    def _say(self, pause: Pause) -> None:
        self.log.info("waiting: %s", pause.reason)

    async def _keep(self, record: JobRecord) -> JobRecord:
        """Store the record in XCom, and remember it for the event."""
        await self._store.now(record := self._remembered(record))
        return record

    def _keep_soon(self, record: JobRecord, settings: ClusterSettings) -> JobRecord:
        """Do the same after half an interval, unless there is more to tell before."""
        self._store.soon(record := self._remembered(record), settings.poll_seconds / 2)
        return record

    async def _keep_on_the_way(self, record: JobRecord) -> JobRecord:
        """Do the same without waiting: it is stored before the task can end."""
        await self._store.on_the_way(record := self._remembered(record))
        return record

    def _remembered(self, record: JobRecord) -> JobRecord:
        if self._dependencies is not None:
            record = self._dependencies.noticed(record)
        self._record = record
        return record

    def _so_far(self, error: HeadnodeError) -> str:
        """Return which submissions there were, where the error does not speak of the only one."""
        submissions = self._record.submissions if self._record is not None else []
        if not submissions or (len(submissions) == 1 and isinstance(error, JobError)):
            return ""
        ends = ", ".join(f"{each.job_id} {each.state or 'PENDING'}" for each in submissions)
        return f" (jobs of this try: {ends})"

    def _record_as_json(self) -> dict[str, Any] | None:
        return self._record.to_xcom() if self._record is not None else None
