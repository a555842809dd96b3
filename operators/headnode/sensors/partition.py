"""``SlurmPartitionSensor``: waits until a partition has nodes or GPUs to spare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headnode.cluster.conditions import PartitionFree, to_json
from headnode.errors import JobSpecError
from headnode.sensors.checks import check_count, check_name
from headnode.sensors.deferred import DeferredSensor
from headnode.triggers.condition import SlurmConditionTrigger


class SlurmPartitionSensor(DeferredSensor):
    """Waits, without a worker, until a partition has free nodes or GPUs; returns how many.

    A node is free when no job is on it and it takes one: not drained, reserved, planned for another job or about to
    reboot; one that is powered down to save energy is woken for a job, and counts. GPUs are free where no job has
    them, on nodes with CPUs to spare. Nothing is held for the tasks that come after: somebody else may be faster.

    :param slurm_conn_id: an Airflow connection of type ``slurm`` or ``ssh``
    :param partition: its name; templated
    :param free_nodes: so many whole nodes; templated
    :param free_gpus: so many GPUs; templated
    :param gpu_type: Slurm's word for the GPUs that count, e.g. ``a100``; templated
    :param timeout: how long to wait at most
    :param soft_fail: skip the task where it would fail
    :param outage_tolerance: how long the cluster may be silent before the task fails
    """

    template_fields: Sequence[str] = ("slurm_conn_id", "partition", "free_nodes", "free_gpus", "gpu_type")

    def __init__(
        self,
        *,
        partition: str,
        free_nodes: int | str | None = None,
        free_gpus: int | str | None = None,
        gpu_type: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.partition = partition
        self.free_nodes = free_nodes
        self.free_gpus = free_gpus
        self.gpu_type = gpu_type
        self._check_now(self._condition, partition, free_nodes, free_gpus, gpu_type)

    def _condition(self) -> PartitionFree:
        nodes, gpus = check_count(self.free_nodes, "free_nodes"), check_count(self.free_gpus, "free_gpus")
        if not (nodes or gpus):
            raise JobSpecError("free_nodes", "give free_nodes or free_gpus")
        if self.gpu_type and not gpus:
            raise JobSpecError("gpu_type", "goes with free_gpus")
        return PartitionFree(
            partition=check_name(self.partition, "partition", "a partition"),
            nodes=nodes,
            gpus=gpus,
            gpu_type=self.gpu_type or None,
        )

    def _trigger(self) -> SlurmConditionTrigger:
        return SlurmConditionTrigger(condition=to_json(self._condition()), **self._shared_arguments())

    def _waits_for(self) -> str:
        wanted = f"{self.free_nodes or 0} nodes and {self.free_gpus or 0} GPUs"
        return f"{wanted} free in partition {self.partition}"
