"""The trigger that waits for the end of a job that somebody else submitted."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from headnode.cluster.conditions import from_json
from headnode.cluster.lines import describe_state, describe_usage
from headnode.cluster.tracker import JobOver, OutageBegan, OutageOver, StateSeen
from headnode.errors import HeadnodeError
from headnode.hooks.connection import aload_settings
from headnode.slurm.accounting import AccountingEntry
from headnode.slurm.ends import job_error
from headnode.ssh.settings import ClusterSettings
from headnode.triggers.condition import success_event, wait_for
from headnode.triggers.outcome import failure
from headnode.triggers.pace import let_scheduler_catch_up
from headnode.triggers.trackers import tracker_for


class SlurmJobEndTrigger(BaseTrigger):
    """Waits for a job (or a whole array) by its id or its name; it never cancels it.

    :param slurm_conn_id: the Airflow connection to the cluster
    :param job_id: Slurm's id, or None where the job is known by its name
    :param named: the job's name and user, as ``headnode.cluster.conditions.to_json`` writes a ``JobNamed``
    :param ends_task: whether success may end the task here, without a worker
    :param push_result: whether Slurm's word for the end is wanted as XCom ``return_value``
    :param outage_tolerance_seconds: how long the cluster may be silent
    """

    def __init__(
        self,
        *,
        slurm_conn_id: str,
        job_id: str | None = None,
        named: dict[str, Any] | None = None,
        ends_task: bool = False,
        push_result: bool = True,
        outage_tolerance_seconds: float = 86_400.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.slurm_conn_id = slurm_conn_id
        self.job_id = job_id
        self.named = named
        self.ends_task = ends_task
        self.push_result = push_result
        self.outage_tolerance_seconds = outage_tolerance_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments, which Airflow stores while the task is deferred."""
        return (
            "headnode.triggers.job_end.SlurmJobEndTrigger",
            {
                "slurm_conn_id": self.slurm_conn_id,
                "job_id": self.job_id,
                "named": self.named,
                "ends_task": self.ends_task,
                "push_result": self.push_result,
                "outage_tolerance_seconds": self.outage_tolerance_seconds,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the one event that ends the wait."""
        began = time.monotonic()
        job_id = self.job_id
        try:
            settings = await aload_settings(self.slurm_conn_id)
            job_id = job_id or await self._job_id(settings)
            entry = await self._end_of(job_id, settings)
            if (failed := job_error(entry, where=settings.ssh.host)) is not None:
                raise failed
        except HeadnodeError as error:
            job = f"job {job_id}" if job_id else f"job {(self.named or {}).get('name')!r}"
            outcome = TriggerEvent(failure(error, about=f"{job} on connection {self.slurm_conn_id!r}"))
            await let_scheduler_catch_up(began)
        else:
            outcome = await success_event(self, entry.state_word, began)
        yield outcome

    async def _job_id(self, settings: ClusterSettings) -> str:
        named = self.named or {}
        found = await wait_for(
            from_json(named), settings, outage_tolerance_seconds=self.outage_tolerance_seconds, log=self.log
        )
        if found["jobs"] > 1:
            self.log.info("%d jobs are named %r; the newest, %s, counts", found["jobs"], named["name"], found["job_id"])
        return str(found["job_id"])

    async def _end_of(self, job_id: str, settings: ClusterSettings) -> AccountingEntry:
        events = tracker_for(settings).follow(job_id, outage_tolerance_seconds=self.outage_tolerance_seconds)
        async with aclosing(events):
            async for event in events:
                match event:
                    case StateSeen(job):
                        self.log.info("%s", describe_state(job))
                    case OutageBegan(error):
                        self.log.warning("%s Asking again until the cluster answers.", error)
                    case OutageOver(seconds=seconds):
                        self.log.info("the cluster answers again after %.0f s", seconds)
                    case JobOver(entry):
                        self.log.info("%s", describe_usage(entry))
                        return entry
        raise AssertionError("the tracker ends with JobOver or an error")
