"""From a prepared job and what is an array's own to the trigger that runs the array, for workers and triggerers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from headnode.errors import JobSpecError
from headnode.slurm.arrays import render_elements
from headnode.slurm.elements import parse_array
from headnode.triggers.array_logs import Which
from headnode.triggers.slurm_array import SlurmArrayTrigger
from headnode.triggers.slurm_job import SlurmJobTrigger


@dataclass(frozen=True, kw_only=True)
class ArrayFields:
    """What an array has beside a job's fields; see ``SlurmArrayTrigger``. ``array`` may hold a throttle, ``%50``."""

    array: str
    arguments: str | None
    max_running: int | None
    element_retries: int
    min_success_fraction: float
    log_elements: Which
    uses_index: bool

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON types."""
        return asdict(self)


def check_array(fields: Mapping[str, Any]) -> None:
    """Refuse what does not go with an array among the rendered fields of a job, or those known so far.

    Raises:
        JobSpecError: there is such a thing.
    """
    if fields.get("components"):
        raise JobSpecError("components", "can't be given: Slurm has no arrays of heterogeneous jobs")
    options = fields.get("sbatch_options")
    if isinstance(options, Mapping) and "array" in options:
        raise JobSpecError("sbatch_options", "'array' must be given as the operator's own array=")


def array_trigger(job: SlurmJobTrigger, fields: ArrayFields) -> SlurmArrayTrigger:
    """Return the trigger of an array whose elements each are like ``job``.

    Raises:
        JobSpecError: the array can't be right.
    """
    if job.is_array:
        raise JobSpecError("array", "is in a line of #SBATCH too; leave that out")
    elements, throttle = parse_array(fields.array)
    if None not in (throttle, fields.max_running) and throttle != fields.max_running:
        raise JobSpecError("max_running", f"is {fields.max_running}, and array= says %{throttle}; give one of them")
    most = fields.max_running or throttle
    array = render_elements(elements)
    arguments = job.serialize()[1]
    arguments |= fields.to_json() | {"array": array, "max_running": most}
    arguments["is_array"], arguments["elements"] = True, len(elements)
    arguments["requested"] = {**job.requested, "array": f"{array}%{most}" if most is not None else array}
    return SlurmArrayTrigger(**arguments)
