"""What all sensors share: they are deferred at once, and cost no worker while they wait."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, NoReturn

from airflow.sdk import Context
from airflow.sdk.bases.sensor import BaseSensorOperator
from airflow.sdk.exceptions import AirflowSensorTimeout, AirflowSkipException
from airflow.triggers.base import BaseTrigger

from headnode.errors import HeadnodeError, JobSpecError
from headnode.hooks.connection import load_settings
from headnode.hooks.slurm import SlurmHook
from headnode.templated import is_templated
from headnode.triggers.ending import nothing_is_lost_in_trigger
from headnode.triggers.outcome import Outcome, error_in, to_airflow
from headnode.triggers.pace import SCHEDULER_CATCHES_UP_SECONDS


class DeferredSensor(BaseSensorOperator):
    """Hands its wait to the triggerer, where all sensors of a cluster share one command an interval.

    How often is looked is the connection's ``poll_seconds`` and ``poll_max_seconds``; ``mode``, ``poke_interval`` and
    their like of other sensors mean nothing here.

    :param slurm_conn_id: an Airflow connection of type ``slurm`` or ``ssh``
    :param timeout: how long to wait at most (7 days, or ``[sensors] default_timeout``; ten seconds at least); then
        the task fails for good
    :param soft_fail: skip the task where it would fail
    :param outage_tolerance: how long the cluster may be silent before the task fails
    """

    def __init__(
        self,
        *,
        slurm_conn_id: str = SlurmHook.default_conn_name,
        timeout: timedelta | float | None = None,
        outage_tolerance: timedelta = timedelta(hours=24),
        **kwargs: Any,
    ) -> None:
        super().__init__(timeout=timeout, **kwargs)
        self.slurm_conn_id = slurm_conn_id
        self.outage_tolerance = outage_tolerance

    def _check_now(self, check: Callable[[], object], *values: Any) -> None:
        """Run ``check`` when the DAG is parsed, unless one of ``values`` is only known later.

        Raises:
            JobSpecError: a field can't be right; the message names the task.
        """
        if any(is_templated(value) for value in values):
            return
        try:
            check()
        except JobSpecError as error:
            raise JobSpecError(error.field, f"{error.problem} (task {self.task_id!r})") from None

    def execute(self, context: Context) -> NoReturn:  # noqa: ARG002 - Airflow's signature
        """Check the rendered fields and hand the wait to the triggerer."""
        try:
            trigger = self._trigger()
            load_settings(self.slurm_conn_id)
        except HeadnodeError as error:
            raise to_airflow(error, about=f"task {self.task_id!r} on connection {self.slurm_conn_id!r}") from None
        self.defer(trigger=trigger, method_name="resume", timeout=self._patience)

    def resume(self, context: Context, event: Outcome) -> Any:  # noqa: ARG002 - Airflow's signature
        """Return what was found.

        Raises:
            HeadnodeError: what went wrong.
            AirflowSkipException: the same, with ``soft_fail``.
        """
        if event["status"] == "success":
            return event["result"]
        error = error_in(event)
        if self.soft_fail or self.never_fail:
            raise AirflowSkipException(str(error)) from error
        raise to_airflow(error, name=event["error"])

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after the wait; where that took too long, say what was waited for."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except AirflowSensorTimeout as error:
            raise AirflowSensorTimeout(f"{self._waits_for()} did not come true within {self._patience}") from error

    @property
    def _patience(self) -> timedelta:
        """How long is waited: one that ends before a busy scheduler has heard of it would fail without its reason."""
        return timedelta(seconds=max(self.timeout, SCHEDULER_CATCHES_UP_SECONDS))

    def _trigger(self) -> BaseTrigger:
        """Return the trigger for the rendered fields.

        Raises:
            JobSpecError: a field can't be right.
        """
        raise NotImplementedError

    def _waits_for(self) -> str:
        """Return what is waited for, for messages."""
        raise NotImplementedError

    def _shared_arguments(self) -> dict[str, Any]:
        return {
            "slurm_conn_id": self.slurm_conn_id,
            "ends_task": nothing_is_lost_in_trigger(self),
            "push_result": self.do_xcom_push,
            "outage_tolerance_seconds": self.outage_tolerance.total_seconds(),
        }
