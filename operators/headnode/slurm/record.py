"""The record of a job: the XCom ``slurm_job`` that Airflow's UI, reports and later runs read.

The schema is versioned: a reader looks at ``schema_version`` first, and a change of meaning is a new version.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from headnode.slurm.arrays import render_elements

SCHEMA_VERSION = 1
# A record is stored anew at every change, so it must stay small (well below 64 KiB) whatever a job does.
MAX_HISTORY: Final = 100
MAX_NODES_LENGTH: Final = 1000
MAX_ELEMENTS_LENGTH: Final = 12_000  # over all states


class _Part(BaseModel):
    # A field that a newer headnode has added within the same version is passed over, so that pages and triggerers may
    # be updated in any order.
    model_config = ConfigDict(extra="ignore", frozen=True)


class Labels(_Part):
    """Whose job it is, in Airflow's words. ``map_index`` is -1 for a task that is not mapped."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1
    try_number: int = 1


class StateChange(_Part):
    """One change that was seen; ``at`` is Airflow's clock in UTC, ``state`` and ``reason`` are Slurm's words."""

    at: datetime
    state: str
    reason: str | None = None


class Usage(_Part):
    """What accounting says was used, summed or maximal over the job's steps (and array elements).

    ``cpu_seconds`` is the consumed CPU time (TotalCPU), ``max_rss_bytes`` the largest resident memory of a task,
    ``memory_used_bytes`` the same times the step's tasks, as ``seff`` reckons; of an array, both are those of the
    element that used most. ``allocated_memory_bytes``, ``gpus`` and ``node_count`` are from AllocTRES, of an array
    those of its largest element. ``energy_joules`` is None where the site does not measure it.
    """

    elapsed_seconds: int = 0
    allocated_cpus: int = 0
    cpu_seconds: float = 0.0
    allocated_cpu_seconds: float | None = None  # over the elements; None in records of earlier versions
    max_rss_bytes: int | None = None
    memory_used_bytes: int | None = None
    allocated_memory_bytes: int | None = None
    gpus: int = 0
    node_count: int = 0
    energy_joules: int | None = None

    @property
    def cpu_efficiency(self) -> float | None:
        """Consumed over allocated CPU time, 0 to 1, or None where nothing was allocated."""
        allocated = self.allocated_cpu_seconds
        if allocated is None:
            allocated = self.elapsed_seconds * self.allocated_cpus
        return self.cpu_seconds / allocated if allocated else None

    @property
    def memory_efficiency(self) -> float | None:
        """Used over allocated memory, as ``seff`` reckons, or None where one of them is unknown."""
        if self.memory_used_bytes is None or not self.allocated_memory_bytes:
            return None
        return self.memory_used_bytes / self.allocated_memory_bytes


class Submission(_Part):
    """One sbatch inside one try, why it was made and how its job ended.

    ``number`` counts from 1 inside the try; ``state`` is Slurm's word, None before any was seen; ``dependency`` is what
    was given to ``sbatch --dependency``.
    """

    number: int = Field(ge=1)
    job_id: str
    at: datetime
    reason: str = "first submission of this try"
    key: str | None = None
    directory: str | None = None
    dependency: str | None = None
    state: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    nodes: str | None = None
    usage: Usage | None = None

    @property
    def ended(self) -> bool:
        """Whether its job was seen to its end: what it used is kept then, and not before."""
        return self.usage is not None


class JobRecord(_Part):
    """Everything about one task's job that outlives it."""

    schema_version: Literal[1] = 1
    key: str  # the task instance's UUID and the number of the submission
    conn_id: str
    host: str
    labels: Labels
    job_id: str
    job_name: str
    directory: str  # absolute, on the cluster
    log_path: str  # absolute, on the cluster; of an array the directory's pattern, e.g. output.*.log
    error_log_path: str | None = None  # the same for stderr
    script_sha256: str
    requested: dict[str, Any]  # the job description's resource fields that were set
    submissions: list[Submission]
    history: list[StateChange] = []
    state: str = "PENDING"  # Slurm's word, or the worst one over the elements of an array
    reason: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    nodes: str | None = None
    usage: Usage | None = None
    jobs_to_come: int = 0  # of an array in several jobs: how many of them are still to be submitted
    withdrawn: str | None = None  # why headnode itself has taken the job out of the queue
    element_states: dict[str, str] | None = None  # of an array: Slurm's word to indexes, e.g. {"FAILED": "3,7-9"}

    def to_xcom(self) -> dict[str, Any]:
        """Return the record as JSON types."""
        return self.model_dump(mode="json")

    def changed(self, change: StateChange) -> JobRecord:
        """Return the record with one more change of state; of very many, those in the middle are left out."""
        history = [*self.history, change]
        if len(history) > MAX_HISTORY:
            history = [*history[: MAX_HISTORY // 4], *history[len(history) - MAX_HISTORY * 3 // 4 :]]
        return self.model_copy(update={"history": history, "state": change.state, "reason": change.reason})

    def resubmitted(self, submission: Submission) -> JobRecord:
        """Return the record of a job that was submitted once more: ``submission`` is the one that counts now."""
        update = {
            "key": submission.key or self.key,
            "job_id": submission.job_id,
            "directory": submission.directory or self.directory,
            "submissions": [*self.submissions, submission],
            "exit_code": None,
            "signal": None,
        }
        return self.model_copy(update=update)


def shorten_nodes(nodes: str | None) -> str | None:
    """Return a list of nodes, cut at its end where it is very long, as Slurm cuts lists."""
    return nodes if nodes is None or len(nodes) <= MAX_NODES_LENGTH else f"{nodes[: MAX_NODES_LENGTH - 3]}..."


def summarize_elements(states: Mapping[int, str]) -> dict[str, str]:
    """Return which elements are in which state, e.g. ``{"COMPLETED": "0-2,4-999", "FAILED": "3"}``.

    A list that is very long is cut, and says how many elements it stands for: ``0,2,4,... (5000 in all)``.
    """
    indexes: dict[str, list[int]] = defaultdict(list)
    for index, word in states.items():
        indexes[word].append(index)
    summary = {}
    longest = MAX_ELEMENTS_LENGTH // max(len(indexes), 4)
    for word, members in sorted(indexes.items()):
        text = render_elements(members)
        if len(text) > longest:
            text = f"{text[:longest].rpartition(',')[0]},... ({len(members)} in all)"
        summary[word] = text
    return summary
