"""The trigger of ``start_from_trigger=True``: it starts a task without any worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from functools import partial
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from headnode.errors import HeadnodeError
from headnode.hooks.connection import aload_settings
from headnode.hooks.deployment import adeployment_id
from headnode.slurm.policy import FailurePolicy
from headnode.slurm.visible import visible_block
from headnode.triggers.cancelling import begin
from headnode.triggers.log_room import room_in_log
from headnode.triggers.outcome import failure
from headnode.triggers.preparation import SITE_FIELDS, SPEC_FIELDS, labels_of, prepare_trigger
from headnode.triggers.slurm_job import SlurmJobTrigger


class SlurmJobStartTrigger(BaseTrigger):
    """Checks the fields, which Airflow has rendered here, and goes on as ``SlurmJobTrigger``.

    :param slurm_conn_id: the Airflow connection to the cluster
    :param templated: the names of the fields that are templates
    :param push_result: whether the result is wanted as XCom ``return_value``
    :param outage_tolerance_seconds: how long the cluster may be silent
    :param depends_on: the tasks on whose jobs this one's depends, as ``Dependencies.to_json`` gives them
    :param policy: after which failures to submit again, as ``FailurePolicy.to_json`` gives it
    :param max_pending_seconds: how long a job may wait in the queue, None for ever
    :param fields: the operator's fields by their names
    """

    timeout_after: datetime | None = None

    def __init__(
        self,
        *,
        slurm_conn_id: str,
        templated: list[str],
        push_result: bool = True,
        outage_tolerance_seconds: float = 86_400.0,
        depends_on: dict[str, Any] | None = None,
        policy: dict[str, Any] | None = None,
        max_pending_seconds: float | None = None,
        **fields: Any,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.slurm_conn_id = slurm_conn_id
        self.templated = templated
        self.push_result = push_result
        self.outage_tolerance_seconds = outage_tolerance_seconds
        self.depends_on = depends_on
        self.policy = policy
        self.max_pending_seconds = max_pending_seconds
        # Airflow renders those attributes that the operator names as template fields.
        for name in SPEC_FIELDS:
            setattr(self, name, fields.get(name))
        self._inner: SlurmJobTrigger | None = None
        self._refused = False

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments, which Airflow stores while the task is deferred."""
        return (
            "headnode.triggers.slurm_job_start.SlurmJobStartTrigger",
            {
                "slurm_conn_id": self.slurm_conn_id,
                "templated": self.templated,
                "push_result": self.push_result,
                "outage_tolerance_seconds": self.outage_tolerance_seconds,
                "depends_on": self.depends_on,
                "policy": self.policy,
                "max_pending_seconds": self.max_pending_seconds,
                **{name: getattr(self, name) for name in SPEC_FIELDS},
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the one event that ends the task, or hands a failure to a worker."""
        try:
            inner = await self._prepared()
        except HeadnodeError as error:
            self._refused = True
            yield TriggerEvent(failure(error, about=f"task {self.task_id!r} on connection {self.slurm_conn_id!r}"))
            return
        await room_in_log()
        self.log.info("the batch script:\n%s", visible_block(inner.script.rstrip("\n")))
        inner.task_instance, inner.timeout_after = self.task_instance, self.timeout_after
        self._inner = inner
        async for event in inner.run():
            yield event

    async def on_kill(self) -> None:
        """Cancel the job; see ``SlurmJobTrigger.on_kill``. A triggerer before this one may have submitted it."""
        if not self._refused:
            await asyncio.shield(begin(self._kill(), name=f"headnode cancels {self.task_id}"))

    async def cleanup(self) -> None:
        """Cancel the job when the task's time is up; see ``SlurmJobTrigger.cleanup``."""
        if self._inner is not None:
            await self._inner.cleanup()

    async def _kill(self) -> None:
        await (self._inner or self._unprepared(await adeployment_id())).on_kill()

    def _unprepared(self, deployment: str) -> SlurmJobTrigger:
        """Return a trigger that knows whose job it is, and no more."""
        ti: Any = self.task_instance
        return SlurmJobTrigger(
            slurm_conn_id=self.slurm_conn_id,
            owner=str(ti.id),
            labels=labels_of(ti).model_dump(),
            deployment_id=deployment,
            outage_tolerance_seconds=self.outage_tolerance_seconds,
            script="",
            job_name="",
            script_sha256="",
            requested={},
        )

    async def _prepared(self) -> SlurmJobTrigger:
        return await self._job()

    async def _job(self, *, takes_arguments: bool = False) -> SlurmJobTrigger:
        """Return the trigger that runs the job; of ``takes_arguments`` see ``prepare_trigger``."""
        prepare = partial(
            prepare_trigger,
            {name: getattr(self, name) for name in SPEC_FIELDS},
            templated=frozenset(self.templated),
            ti=self.task_instance,
            settings=await aload_settings(self.slurm_conn_id),
            deployment_id=await adeployment_id(),
            ends_task=True,
            push_result=self.push_result,
            outage_tolerance_seconds=self.outage_tolerance_seconds,
            depends_on=self.depends_on,
            policy=FailurePolicy.from_json(self.policy),
            max_pending_seconds=self.max_pending_seconds,
            takes_arguments=takes_arguments,
        )
        # What is known of sites is in files, which the loop that all triggers share must not wait for.
        return await asyncio.to_thread(prepare) if any(getattr(self, name) for name in SITE_FIELDS) else prepare()
