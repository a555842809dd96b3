"""The trigger that waits until something holds on a cluster."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TaskSuccessEvent, TriggerEvent

from headnode.cluster.conditions import Condition, Met, NotYet, from_json
from headnode.cluster.outages import OutageBegan, OutageOver
from headnode.errors import HeadnodeError
from headnode.hooks.connection import aload_settings
from headnode.ssh.settings import ClusterSettings
from headnode.triggers.outcome import failure, success
from headnode.triggers.pace import let_scheduler_catch_up
from headnode.triggers.preparation import labels_of
from headnode.triggers.reporting import store_result
from headnode.triggers.watchers import conditions_of

if TYPE_CHECKING:
    from headnode.triggers.job_end import SlurmJobEndTrigger


class SlurmConditionTrigger(BaseTrigger):
    """Waits for a path, for free nodes or GPUs, or for the end of maintenance.

    :param slurm_conn_id: the Airflow connection to the cluster
    :param condition: what is waited for, as ``headnode.cluster.conditions.to_json`` writes it
    :param ends_task: whether success may end the task here, without a worker
    :param push_result: whether what was found is wanted as XCom ``return_value``
    :param outage_tolerance_seconds: how long the cluster may be silent
    """

    def __init__(
        self,
        *,
        slurm_conn_id: str,
        condition: dict[str, Any],
        ends_task: bool = False,
        push_result: bool = True,
        outage_tolerance_seconds: float = 86_400.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.slurm_conn_id = slurm_conn_id
        self.condition = condition
        self.ends_task = ends_task
        self.push_result = push_result
        self.outage_tolerance_seconds = outage_tolerance_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments, which Airflow stores while the task is deferred."""
        return (
            "headnode.triggers.condition.SlurmConditionTrigger",
            {
                "slurm_conn_id": self.slurm_conn_id,
                "condition": self.condition,
                "ends_task": self.ends_task,
                "push_result": self.push_result,
                "outage_tolerance_seconds": self.outage_tolerance_seconds,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the one event that ends the wait."""
        began = time.monotonic()
        try:
            settings = await aload_settings(self.slurm_conn_id)
            found = await wait_for(
                from_json(self.condition),
                settings,
                outage_tolerance_seconds=self.outage_tolerance_seconds,
                log=self.log,
            )
        except HeadnodeError as error:
            outcome = TriggerEvent(failure(error, about=f"connection {self.slurm_conn_id!r}"))
            await let_scheduler_catch_up(began)
        else:
            outcome = await success_event(self, found, began)
        yield outcome


async def wait_for(
    condition: Condition, settings: ClusterSettings, *, outage_tolerance_seconds: float, log: Any
) -> dict[str, Any]:
    """Wait until ``condition`` holds, with a line in ``log`` whenever what is seen changes; return what was found.

    Raises:
        HeadnodeError: it can never hold, or could not be looked at for longer than the tolerance.
    """
    events = conditions_of(settings).watch(condition, outage_tolerance_seconds=outage_tolerance_seconds)
    async with aclosing(events):
        async for event in events:
            match event:
                case NotYet(why=why):
                    log.info("waiting: %s", why)
                case OutageBegan(error):
                    log.warning("%s Asking again until there is an answer.", error)
                case OutageOver(seconds=seconds):
                    log.info("there is an answer again after %.0f s", seconds)
                case Met(found=found):
                    log.info("found: %s", found)
                    return found
    raise AssertionError("the watcher ends with Met or an error")


async def success_event(trigger: SlurmConditionTrigger | SlurmJobEndTrigger, result: Any, began: float) -> TriggerEvent:
    """Return the event that ends the task, or hands it to a worker when the scheduler is ready for that.

    The result is stored before: XComs that go with a ``TaskSuccessEvent`` reach other tasks as JSON text (Airflow 3.3).
    """
    if trigger.ends_task and trigger.task_instance is not None:
        if trigger.push_result:
            await store_result(labels_of(trigger.task_instance), result)
        return TaskSuccessEvent()
    await let_scheduler_catch_up(began)
    return TriggerEvent(success(result, None))
