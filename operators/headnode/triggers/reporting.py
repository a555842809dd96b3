"""What a followed job leaves in Airflow: lines in the task's log, and the record in XCom ``slurm_job``."""

from __future__ import annotations

import codecs
from collections import deque
from datetime import UTC, datetime
from typing import Any, Final

from airflow.sdk.bases.xcom import BaseXCom
from airflow.sdk.execution_time.xcom import XCom

from headnode.cluster.following import Followed
from headnode.cluster.logs import LogPiece
from headnode.slurm.answers import AccountingEntry
from headnode.slurm.record import JobRecord, Labels, StateChange

RECORD_KEY: Final = "slurm_job"
RETURN_KEY: Final = BaseXCom.XCOM_RETURN_KEY
TAIL_LINES: Final = 20

# Why a job waits, in plain words; Slurm's own word is shown beside it (squeue.1, JOB REASON CODES).
_REASONS: Final = {
    "Priority": "jobs of higher priority are before it",
    "Resources": "it waits for nodes to become free",
    "Dependency": "it waits for another job",
    "JobHeldUser": "it is held; `scontrol release` lets it go",
    "JobHeldAdmin": "an administrator holds it",
    "PartitionTimeLimit": "it asks for more time than the partition gives: it will never start",
    "PartitionNodeLimit": "it asks for more nodes than the partition gives: it will never start",
    "AssocGrpCPUMinutesLimit": "the account's budget of CPU time is used up",
    "QOSMaxJobsPerUserLimit": "as many jobs of this user run as may",
    "ReqNodeNotAvail": "nodes that it needs are down, drained or reserved",
    "BeginTime": "its earliest time to start has not come",
}


class LogLines:
    """Cuts the pieces of a job's log into lines; bytes that are no UTF-8 are shown as replacement characters."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)

    def feed(self, piece: LogPiece) -> list[str]:
        """Return the lines that are complete now."""
        *lines, self._rest = (self._rest + self._decoder.decode(piece.data)).split("\n")
        self.tail.extend(lines)
        return lines

    def finish(self) -> list[str]:
        """Return what was written after the last newline, if anything."""
        rest, self._rest = self._rest + self._decoder.decode(b"", final=True), ""
        self.tail.extend([rest] if rest else [])
        return [rest] if rest else []


def describe_state(job: Followed) -> str:
    """Return one line for the log about the state a job is in."""
    text = f"job {job.job_id} is {job.state_word}"
    if job.nodes:
        text += f" on {job.nodes}"
    if job.reason:
        words = _REASONS.get(job.reason.split(",", 1)[0])
        text += f" ({job.reason}: {words})" if words else f" ({job.reason})"
    return text


def describe_usage(entry: AccountingEntry) -> str:
    """Return one line for the log about what a job used."""
    usage = entry.usage
    text = f"job {entry.job_id} used {usage.elapsed_seconds} s on {usage.allocated_cpus} CPUs"
    allocated = usage.elapsed_seconds * usage.allocated_cpus
    if allocated:
        text += f", {usage.cpu_seconds:.1f} s CPU time ({usage.cpu_seconds / allocated:.0%} of what it held)"
    if usage.max_rss_bytes is not None:
        text += f", at most {usage.max_rss_bytes / 2**20:.0f} MiB of memory a task"
    return text


def with_state(record: JobRecord, job: Followed) -> JobRecord:
    """Return the record with a change of state added."""
    change = StateChange(at=datetime.now(UTC), state=job.state_word, reason=job.reason)
    update = {"history": [*record.history, change], "state": job.state_word, "reason": job.reason, "nodes": job.nodes}
    return record.model_copy(update=update)


def with_end(record: JobRecord, entry: AccountingEntry) -> JobRecord:
    """Return the record of a job that has ended."""
    history = record.history
    if not history or history[-1].state != entry.state_word:
        history = [*history, StateChange(at=datetime.now(UTC), state=entry.state_word)]
    update = {
        "history": history,
        "state": entry.state_word,
        "reason": None,
        "exit_code": entry.exit_code,
        "signal": entry.signal,
        "nodes": entry.nodes or record.nodes,
        "usage": entry.usage,
    }
    return record.model_copy(update=update)


async def store_record(record: JobRecord) -> None:
    """Write the record to XCom, where it shows at once."""
    await _store(record.labels, RECORD_KEY, record.to_xcom())


async def stored_record(labels: Labels, key: str) -> JobRecord | None:
    """Return the record that an earlier triggerer wrote for the same submission, if there is one."""
    value: Any = await XCom.aget_one(
        key=RECORD_KEY,
        dag_id=labels.dag_id,
        task_id=labels.task_id,
        run_id=labels.run_id,
        map_index=labels.map_index,
    )
    if not isinstance(value, dict) or value.get("key") != key or value.get("schema_version") != 1:
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
