"""``SlurmJobSensor``: waits for a job that somebody else submitted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from headnode.cluster.conditions import JobNamed, to_json
from headnode.errors import JobSpecError
from headnode.sensors.checks import check_job_id, check_name, check_time
from headnode.sensors.deferred import DeferredSensor
from headnode.triggers.job_end import SlurmJobEndTrigger


class SlurmJobSensor(DeferredSensor):
    """Waits, without a worker, until a job (or a whole array) has ended well; its ``return_value`` is the state.

    The job is left alone, whatever becomes of the task. By name, the newest of those that were submitted within
    ``submitted_within`` counts, be it queued, running or over; one that comes while an earlier one is followed does
    not.

    :param slurm_conn_id: an Airflow connection of type ``slurm`` or ``ssh``
    :param job_id: Slurm's id; templated, e.g. ``{{ ti.xcom_pull('train', key='slurm_job')['job_id'] }}``
    :param job_name: the job's name, where the id is not known; templated
    :param user: whose job, with ``job_name``; by default the login's own; templated
    :param submitted_within: how long ago, by the cluster's clock, a job of the name may have been submitted
    :param wait_for_job: whether to wait until there is a job of the name; else the task fails where there is none
    :param timeout: how long to wait at most
    :param soft_fail: skip the task where it would fail
    :param outage_tolerance: how long the cluster may be silent before the task fails
    """

    template_fields: Sequence[str] = ("slurm_conn_id", "job_id", "job_name", "user")

    def __init__(
        self,
        *,
        job_id: str | None = None,
        job_name: str | None = None,
        user: str | None = None,
        submitted_within: timedelta = timedelta(days=1),
        wait_for_job: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.job_id = job_id
        self.job_name = job_name
        self.user = user
        self.submitted_within = submitted_within
        self.wait_for_job = wait_for_job
        self._check_now(self._trigger_fields, job_id, job_name, user)

    def _trigger_fields(self) -> dict[str, Any]:
        if (self.job_id is None) == (self.job_name is None):
            raise JobSpecError("job_id", "give one of job_id and job_name")
        if self.job_name is None:
            return {"job_id": check_job_id(self.job_id)}
        named = JobNamed(
            name=check_name(self.job_name, "job_name", "the name of a job"),
            user=check_name(self.user, "user", "a user") if self.user else "",
            submitted_within_seconds=check_time(self.submitted_within, "submitted_within"),
            must_exist=not self.wait_for_job,
        )
        return {"named": to_json(named)}

    def _trigger(self) -> SlurmJobEndTrigger:
        return SlurmJobEndTrigger(**self._trigger_fields(), **self._shared_arguments())

    def _waits_for(self) -> str:
        return f"the end of job {self.job_id or self.job_name}"
