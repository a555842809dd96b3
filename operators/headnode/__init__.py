"""headnode: Apache Airflow plans, Slurm on the supercomputer runs, one head node between them.

The public names are loaded when they are first used, so that a DAG file pays only for what it needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from headnode.assets.remote_path import RemotePathEventTrigger
    from headnode.decorators.slurm import slurm_task
    from headnode.hooks.jobs import SlurmJob
    from headnode.hooks.slurm import SlurmHook
    from headnode.operators.download import DownloadOperator
    from headnode.operators.slurm_array import SlurmArrayOperator
    from headnode.operators.slurm_job import SlurmJobOperator
    from headnode.operators.tune import TuneOperator
    from headnode.operators.upload import UploadOperator
    from headnode.sensors.maintenance import NoMaintenanceSensor
    from headnode.sensors.partition import SlurmPartitionSensor
    from headnode.sensors.remote_path import RemotePathSensor
    from headnode.sensors.slurm_job import SlurmJobSensor
    from headnode.slurm.policy import ExcludeNode, MoreMemory, Resubmit
    from headnode.triggers.slurm_job import SlurmJobTrigger

__all__ = [
    "DownloadOperator",
    "ExcludeNode",
    "MoreMemory",
    "NoMaintenanceSensor",
    "RemotePathEventTrigger",
    "RemotePathSensor",
    "Resubmit",
    "SlurmArrayOperator",
    "SlurmHook",
    "SlurmJob",
    "SlurmJobOperator",
    "SlurmJobSensor",
    "SlurmJobTrigger",
    "SlurmPartitionSensor",
    "TuneOperator",
    "UploadOperator",
    "__version__",
    "slurm_task",
]

__version__: Final = "0.1.0"

_HOMES: Final = {
    "DownloadOperator": "headnode.operators.download",
    "ExcludeNode": "headnode.slurm.policy",
    "MoreMemory": "headnode.slurm.policy",
    "NoMaintenanceSensor": "headnode.sensors.maintenance",
    "RemotePathEventTrigger": "headnode.assets.remote_path",
    "RemotePathSensor": "headnode.sensors.remote_path",
    "Resubmit": "headnode.slurm.policy",
    "SlurmArrayOperator": "headnode.operators.slurm_array",
    "SlurmHook": "headnode.hooks.slurm",
    "SlurmJob": "headnode.hooks.jobs",
    "SlurmJobOperator": "headnode.operators.slurm_job",
    "SlurmJobSensor": "headnode.sensors.slurm_job",
    "SlurmJobTrigger": "headnode.triggers.slurm_job",
    "SlurmPartitionSensor": "headnode.sensors.partition",
    "TuneOperator": "headnode.operators.tune",
    "UploadOperator": "headnode.operators.upload",
    "slurm_task": "headnode.decorators.slurm",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'headnode' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
