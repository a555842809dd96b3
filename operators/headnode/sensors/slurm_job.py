"""``SlurmJobSensor``: waits for a job that somebody else submitted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NoReturn

from airflow.sdk import BaseOperator, Context

from headnode.errors import HeadnodeError, JobSpecError
from headnode.hooks.connection import load_settings
from headnode.hooks.slurm import SlurmHook
from headnode.templated import is_templated
from headnode.triggers.job_end import SlurmJobEndTrigger
from headnode.triggers.outcome import Outcome, error_in, to_airflow


class SlurmJobSensor(BaseOperator):
    """Waits, without a worker, until a job (or a whole array) has ended well; its ``return_value`` is the state.

    :param slurm_conn_id: an Airflow connection of type ``slurm`` or ``ssh``
    :param job_id: Slurm's id; templated, e.g. ``{{ ti.xcom_pull('train', key='slurm_job')['job_id'] }}``
    :param timeout: how long to wait at most; the job itself is left alone
    :param outage_tolerance: how long the cluster may be silent before the task fails
    """

    template_fields: Sequence[str] = ("slurm_conn_id", "job_id")
    ui_color = "#e6f1f2"

    def __init__(
        self,
        *,
        slurm_conn_id: str = SlurmHook.default_conn_name,
        job_id: str,
        timeout: timedelta | None = None,
        outage_tolerance: timedelta = timedelta(hours=24),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.slurm_conn_id = slurm_conn_id
        self.job_id = job_id
        self.timeout = timeout
        self.outage_tolerance = outage_tolerance
        if not is_templated(job_id):
            _check_job_id(job_id, self.task_id)

    def execute(self, context: Context) -> NoReturn:  # noqa: ARG002 - Airflow's signature
        """Check the rendered id and hand the wait to the triggerer."""
        try:
            job_id = _check_job_id(self.job_id, self.task_id)
            load_settings(self.slurm_conn_id)
        except HeadnodeError as error:
            raise to_airflow(error, about=f"task {self.task_id!r} on connection {self.slurm_conn_id!r}") from None
        trigger = SlurmJobEndTrigger(
            slurm_conn_id=self.slurm_conn_id,
            job_id=job_id,
            outage_tolerance_seconds=self.outage_tolerance.total_seconds(),
        )
        self.defer(trigger=trigger, method_name="resume", timeout=self.timeout)

    def resume(self, context: Context, event: Outcome) -> Any:  # noqa: ARG002 - Airflow's signature
        """Return Slurm's word for how the job ended.

        Raises:
            JobError: it did not end well.
        """
        if event["status"] == "success":
            return event["result"]
        raise to_airflow(error_in(event), name=event["error"])


def _check_job_id(job_id: Any, task_id: str) -> str:
    text = str(job_id).strip()
    if not text.isdigit():
        raise JobSpecError("job_id", f"{job_id!r} is no job id of Slurm, which is a whole number (task {task_id!r})")
    return text
