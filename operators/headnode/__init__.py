"""headnode: Apache Airflow plans, Slurm on the supercomputer runs, one head node between them.

The public names are loaded when they are first used, so that a DAG file pays only for what it needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from headnode.hooks.slurm import SlurmHook
    from headnode.operators.slurm_job import SlurmJobOperator
    from headnode.sensors.slurm_job import SlurmJobSensor
    from headnode.triggers.slurm_job import SlurmJobTrigger

__all__ = ["SlurmHook", "SlurmJobOperator", "SlurmJobSensor", "SlurmJobTrigger", "__version__"]

__version__: Final = "0.1.0"

_HOMES: Final = {
    "SlurmHook": "headnode.hooks.slurm",
    "SlurmJobOperator": "headnode.operators.slurm_job",
    "SlurmJobSensor": "headnode.sensors.slurm_job",
    "SlurmJobTrigger": "headnode.triggers.slurm_job",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'headnode' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
