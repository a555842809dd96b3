"""Finds the record of a task instance's job in Airflow's database, or says why there is none to show."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from headnode.errors import HeadnodeError
from headnode.slurm.record import SCHEMA_VERSION, JobRecord

RECORD_KEY = "slurm_job"
_ENDED = ("success", "failed", "skipped", "upstream_failed", "removed")


class TaskReference(NamedTuple):
    """Which task instance is asked about."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int


class RecordAbsent(HeadnodeError):
    """There is no record; ``expected`` says whether one may still come."""

    def __init__(self, title: str, explanation: str, *, expected: bool = False) -> None:
        super().__init__(f"{title}. {explanation}")
        self.title = title
        self.explanation = explanation
        self.expected = expected


class RecordUnreadable(HeadnodeError):
    """There is a record that this version of headnode cannot read."""

    def __init__(self, title: str, explanation: str, *, newer: bool = False) -> None:
        super().__init__(f"{title}. {explanation}")
        self.title = title
        self.explanation = explanation
        self.newer = newer


def find_record(session: Session, task: TaskReference) -> JobRecord:
    """Return the record of the job of ``task``'s latest try."""
    value = session.scalar(
        select(XComModel.value).where(
            XComModel.dag_id == task.dag_id,
            XComModel.run_id == task.run_id,
            XComModel.task_id == task.task_id,
            XComModel.map_index == task.map_index,
            XComModel.key == RECORD_KEY,
        )
    )
    if value is None:
        raise _why_absent(session, task)
    return parse_record(value)


def parse_record(value: Any) -> JobRecord:
    """Return the record that an XCom's stored ``value`` holds: JSON text, or what it was decoded to."""
    try:
        data = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise RecordUnreadable(
            "This is no job record",
            f"The XCom '{RECORD_KEY}' does not hold a JSON object. A custom XCom backend keeps values outside of "
            "Airflow's database, where this page cannot follow; or another task wrote this key.",
        )
    version = data.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise RecordUnreadable(
            "This record is newer than this page",
            f"The job was recorded by a newer headnode (schema version {version}; this one reads up to "
            f"{SCHEMA_VERSION}). Update airflow-provider-headnode where Airflow's API server runs.",
            newer=True,
        )
    try:
        return JobRecord.model_validate(data)
    except ValidationError as error:
        fields = ", ".join(sorted({".".join(map(str, problem["loc"])) or "the record" for problem in error.errors()}))
        raise RecordUnreadable(
            "This job record is damaged",
            f"The XCom '{RECORD_KEY}' does not follow schema version {SCHEMA_VERSION}; wrong: {fields}.",
        ) from error


def _why_absent(session: Session, task: TaskReference) -> RecordAbsent:
    row = session.execute(
        select(TaskInstance.state, TaskInstance.operator).where(
            TaskInstance.dag_id == task.dag_id,
            TaskInstance.run_id == task.run_id,
            TaskInstance.task_id == task.task_id,
            TaskInstance.map_index == task.map_index,
        )
    ).first()
    if row is None:
        return RecordAbsent(
            "No such task instance", "Airflow knows no task instance of this DAG, run, task and map index."
        )
    state, operator = row
    kind = f"Its operator is {operator}, its state '{state or 'none'}'."
    if state in _ENDED:
        return RecordAbsent(
            "No Slurm job",
            f"This task ended without a job on a cluster: it is not a Slurm task, or it ended before it "
            f"submitted one; then its log says why. {kind}",
        )
    return RecordAbsent(
        "No Slurm job yet",
        f"No job has been submitted for this task so far; if it is a Slurm task, its job appears here. {kind}",
        expected=True,
    )
