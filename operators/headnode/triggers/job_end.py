"""The trigger that waits for the end of a job that somebody else submitted."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from headnode.cluster.tracker import JobOver, OutageBegan, OutageOver, StateSeen
from headnode.errors import HeadnodeError
from headnode.hooks.connection import aload_settings
from headnode.slurm.ends import job_error
from headnode.triggers.outcome import failure, success
from headnode.triggers.pace import let_scheduler_catch_up
from headnode.triggers.reporting import describe_state, describe_usage
from headnode.triggers.trackers import tracker_for


class SlurmJobEndTrigger(BaseTrigger):
    """Waits for a job (or a whole array) by its id; it never cancels it.

    :param slurm_conn_id: the Airflow connection to the cluster
    :param job_id: Slurm's id
    :param outage_tolerance_seconds: how long the cluster may be silent
    """

    def __init__(self, *, slurm_conn_id: str, job_id: str, outage_tolerance_seconds: float = 86_400.0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.slurm_conn_id = slurm_conn_id
        self.job_id = job_id
        self.outage_tolerance_seconds = outage_tolerance_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments, which Airflow stores while the task is deferred."""
        return (
            "headnode.triggers.job_end.SlurmJobEndTrigger",
            {
                "slurm_conn_id": self.slurm_conn_id,
                "job_id": self.job_id,
                "outage_tolerance_seconds": self.outage_tolerance_seconds,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the one event that ends the wait."""
        began = time.monotonic()
        try:
            settings = await aload_settings(self.slurm_conn_id)
            tracker = tracker_for(settings)
            async for event in tracker.follow(self.job_id, outage_tolerance_seconds=self.outage_tolerance_seconds):
                match event:
                    case StateSeen(job):
                        self.log.info("%s", describe_state(job))
                    case OutageBegan(error):
                        self.log.warning("%s Asking again until the cluster answers.", error)
                    case OutageOver(seconds=seconds):
                        self.log.info("the cluster answers again after %.0f s", seconds)
                    case JobOver(entry):
                        self.log.info("%s", describe_usage(entry))
            if (failed := job_error(entry, where=settings.ssh.host)) is not None:
                raise failed
        except HeadnodeError as error:
            outcome = TriggerEvent(failure(error, about=f"job {self.job_id} on connection {self.slurm_conn_id!r}"))
        else:
            outcome = TriggerEvent(success(entry.state_word, None))
        await let_scheduler_catch_up(began)
        yield outcome
