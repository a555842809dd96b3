"""What a followed job leaves in Airflow: the record in XCom ``slurm_job``, and the result."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from airflow.sdk.bases.xcom import BaseXCom
from airflow.sdk.execution_time.xcom import XCom

from headnode.cluster.following import Followed
from headnode.slurm.accounting import AccountingEntry
from headnode.slurm.record import JobRecord, Labels, StateChange, Submission, shorten_nodes, summarize_elements

RECORD_KEY: Final = "slurm_job"
RETURN_KEY: Final = BaseXCom.XCOM_RETURN_KEY


def with_state(record: JobRecord, job: Followed) -> JobRecord:
    """Return the record with a change of state added, to the history and to the submission that it is about."""
    changed = record.changed(StateChange(at=datetime.now(UTC), state=job.state_word, reason=job.reason))
    submissions = _with_submission(record, job.job_id, {"state": job.state_word})
    return changed.model_copy(update={"nodes": shorten_nodes(job.nodes), "submissions": submissions})


def with_end(record: JobRecord, entry: AccountingEntry) -> JobRecord:
    """Return the record of a job that has ended; its submission keeps the end and the usage, too."""
    if not record.history or record.history[-1].state != entry.state_word:
        record = record.changed(StateChange(at=datetime.now(UTC), state=entry.state_word))
    end = {"state": entry.state_word, "exit_code": entry.exit_code, "signal": entry.signal, "usage": entry.usage}
    update: dict[str, Any] = {
        **end,
        "reason": None,
        "nodes": shorten_nodes(entry.nodes) or record.nodes,
        "submissions": _with_submission(record, entry.job_id, {**end, "nodes": shorten_nodes(entry.nodes)}),
    }
    if entry.element_ends:
        update["element_states"] = summarize_elements(
            {index: element.state.value for index, element in entry.element_ends.items()}
        )
    return record.model_copy(update=update)


def _with_submission(record: JobRecord, job_id: str, update: dict[str, Any]) -> list[Submission]:
    """Return the submissions, the last one of ``job_id`` updated."""
    submissions = list(record.submissions)
    for at in range(len(submissions) - 1, -1, -1):
        if submissions[at].job_id == job_id:
            submissions[at] = submissions[at].model_copy(update=update)
            break
    return submissions


async def store_record(record: JobRecord) -> None:
    """Write the record to XCom, where it shows at once."""
    await _store(record.labels, RECORD_KEY, record.to_xcom())


async def stored_record(labels: Labels, key: str | None = None) -> JobRecord | None:
    """Return the record that a triggerer wrote for the task, if there is one; with ``key`` only of that submission."""
    value: Any = await XCom.aget_one(
        key=RECORD_KEY,
        dag_id=labels.dag_id,
        task_id=labels.task_id,
        run_id=labels.run_id,
        map_index=labels.map_index,
    )
    if not isinstance(value, dict) or value.get("schema_version") != 1 or key not in (None, value.get("key")):
        return None
    return JobRecord.model_validate(value)


async def store_result(labels: Labels, result: Any) -> None:
    """Write the job's result as the task's return value."""
    await _store(labels, RETURN_KEY, result)


async def _store(labels: Labels, key: str, value: Any) -> None:
    await XCom.aset(
        key=key,
        value=value,
        dag_id=labels.dag_id,
        task_id=labels.task_id,
        run_id=labels.run_id,
        map_index=labels.map_index,
    )
