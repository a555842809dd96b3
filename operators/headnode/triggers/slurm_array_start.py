"""The trigger of an array's ``start_from_trigger=True``: it starts the task without any worker."""

from __future__ import annotations

from typing import Any

from headnode.triggers.array_preparation import ArrayFields, array_trigger
from headnode.triggers.slurm_job import SlurmJobTrigger
from headnode.triggers.slurm_job_start import SlurmJobStartTrigger


class SlurmArrayStartTrigger(SlurmJobStartTrigger):
    """Checks the fields, which Airflow has rendered here, and goes on as ``SlurmArrayTrigger``.

    :param array_fields: what is the array's own, as ``ArrayFields.to_json`` gives it
    :param job: the arguments of ``SlurmJobStartTrigger``
    """

    def __init__(self, *, array_fields: dict[str, Any], **job: Any) -> None:
        super().__init__(**job)
        self.array_fields = array_fields

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments, which Airflow stores while the task is deferred."""
        return (
            "headnode.triggers.slurm_array_start.SlurmArrayStartTrigger",
            {**super().serialize()[1], "array_fields": self.array_fields},
        )

    async def _prepared(self) -> SlurmJobTrigger:
        fields = ArrayFields(**self.array_fields)
        job = await self._job(takes_arguments=fields.arguments is not None)
        return array_trigger(job, fields)
