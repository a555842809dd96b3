"""``NoMaintenanceSensor``: waits until no maintenance stands in the way of a job."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from headnode.cluster.conditions import NoMaintenance, to_json
from headnode.sensors.checks import check_name, check_time
from headnode.sensors.deferred import DeferredSensor
from headnode.triggers.condition import SlurmConditionTrigger


class NoMaintenanceSensor(DeferredSensor):
    """Waits, without a worker, while a reservation with the flag MAINT is active or begins soon.

    Returns ``free_until``, seconds since the epoch up to which none was announced. Maintenance that the site
    announces without a reservation, and reservations that it hides (``PrivateData``), are not seen.

    :param slurm_conn_id: an Airflow connection of type ``slurm`` or ``ssh``
    :param within: how soon is too soon, such as the time limit of the jobs that follow; by the cluster's own clock
    :param partition: only maintenance of this partition's nodes counts; by default that of any node; templated
    :param timeout: how long to wait at most
    :param soft_fail: skip the task where it would fail
    :param outage_tolerance: how long the cluster may be silent before the task fails
    """

    template_fields: Sequence[str] = ("slurm_conn_id", "partition")

    def __init__(self, *, within: timedelta, partition: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.within = within
        self.partition = partition
        self._check_now(self._condition, partition)

    def _condition(self) -> NoMaintenance:
        return NoMaintenance(
            within_seconds=check_time(self.within, "within"),
            partition=check_name(self.partition, "partition", "a partition") if self.partition else None,
        )

    def _trigger(self) -> SlurmConditionTrigger:
        return SlurmConditionTrigger(condition=to_json(self._condition()), **self._shared_arguments())

    def _waits_for(self) -> str:
        return f"no maintenance within {self.within}" + (f" in partition {self.partition}" if self.partition else "")
