"""The trigger of an array's ``start_from_trigger=True``: it starts the task without any worker."""

from __future__ import annotations

from typing import Any

from headnode.hooks.connection import aload_settings
from headnode.hooks.deployment import adeployment_id
from headnode.slurm.policy import FailurePolicy
from headnode.triggers.array_preparation import ArrayFields, array_trigger
from headnode.triggers.preparation import SPEC_FIELDS, prepare_trigger
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
        job = prepare_trigger(
            {name: getattr(self, name) for name in SPEC_FIELDS},
            templated=frozenset(self.templated),
            ti=self.task_instance,
            settings=await aload_settings(self.slurm_conn_id),
            deployment_id=await adeployment_id(),
            ends_task=True,
            push_result=self.push_result,
            outage_tolerance_seconds=self.outage_tolerance_seconds,
            depends_on=self.depends_on,
            policy=FailurePolicy.from_json(self.policy),
            max_pending_seconds=self.max_pending_seconds,
            takes_arguments=fields.arguments is not None,
        )
        return array_trigger(job, fields)
