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
    from headnode.operators.build_environment import BuildEnvironmentOperator
    from headnode.operators.download import DownloadOperator
    from headnode.operators.slurm_array import SlurmArrayOperator
    from headnode.operators.slurm_job import SlurmJobOperator
    from headnode.operators.train import TrainOperator
    from headnode.operators.tune import TuneOperator
    from headnode.operators.upload import UploadOperator
    from headnode.sensors.maintenance import NoMaintenanceSensor
    from headnode.sensors.partition import SlurmPartitionSensor
    from headnode.sensors.remote_path import RemotePathSensor
    from headnode.sensors.slurm_job import SlurmJobSensor
    from headnode.sites.environments.apptainer import Apptainer
    from headnode.sites.environments.commands import Commands
    from headnode.sites.environments.conda import Conda
    from headnode.sites.environments.modules import Modules
    from headnode.sites.environments.virtual_env import VirtualEnv
    from headnode.sites.launchers.deepspeed import DeepSpeed
    from headnode.sites.launchers.mpi import DeepHyper, Heat, Horovod, Mpi
    from headnode.sites.launchers.optuna import OptunaWorkers
    from headnode.sites.launchers.ray import RayCluster, RayTune
    from headnode.sites.launchers.tensorflow import TensorFlowMultiWorker
    from headnode.sites.launchers.torchrun import Torchrun
    from headnode.slurm.policy import ExcludeNode, MoreMemory, Resubmit
    from headnode.triggers.slurm_job import SlurmJobTrigger

__all__ = [
    "Apptainer",
    "BuildEnvironmentOperator",
    "Commands",
    "Conda",
    "DeepHyper",
    "DeepSpeed",
    "DownloadOperator",
    "ExcludeNode",
    "Heat",
    "Horovod",
    "Modules",
    "MoreMemory",
    "Mpi",
    "NoMaintenanceSensor",
    "OptunaWorkers",
    "RayCluster",
    "RayTune",
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
    "TensorFlowMultiWorker",
    "Torchrun",
    "TrainOperator",
    "TuneOperator",
    "UploadOperator",
    "VirtualEnv",
    "__version__",
    "slurm_task",
]

__version__: Final = "0.1.0"

_HOMES: Final = {
    "Apptainer": "headnode.sites.environments.apptainer",
    "BuildEnvironmentOperator": "headnode.operators.build_environment",
    "Commands": "headnode.sites.environments.commands",
    "Conda": "headnode.sites.environments.conda",
    "DeepHyper": "headnode.sites.launchers.mpi",
    "DeepSpeed": "headnode.sites.launchers.deepspeed",
    "DownloadOperator": "headnode.operators.download",
    "ExcludeNode": "headnode.slurm.policy",
    "Heat": "headnode.sites.launchers.mpi",
    "Horovod": "headnode.sites.launchers.mpi",
    "Modules": "headnode.sites.environments.modules",
    "MoreMemory": "headnode.slurm.policy",
    "Mpi": "headnode.sites.launchers.mpi",
    "NoMaintenanceSensor": "headnode.sensors.maintenance",
    "OptunaWorkers": "headnode.sites.launchers.optuna",
    "RayCluster": "headnode.sites.launchers.ray",
    "RayTune": "headnode.sites.launchers.ray",
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
    "TensorFlowMultiWorker": "headnode.sites.launchers.tensorflow",
    "Torchrun": "headnode.sites.launchers.torchrun",
    "TrainOperator": "headnode.operators.train",
    "TuneOperator": "headnode.operators.tune",
    "UploadOperator": "headnode.operators.upload",
    "VirtualEnv": "headnode.sites.environments.virtual_env",
    "slurm_task": "headnode.decorators.slurm",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'headnode' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
