"""What the job page shows, worked out from the record and the time of day: words, tones, lengths of bars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

from headnode.links.slurm_job import airflow_path
from headnode.slurm.record import JobRecord, StateChange, Usage
from headnode.slurm.states import parse_state, phase_of
from headnode_ui.records import TaskReference

REFRESH_SECONDS = 10
_NOTHING = "-"
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stretch of the timeline; ``start`` and ``length`` are hundredths of the bar."""

    state: str
    reason: str | None
    at: str
    duration: str
    tone: str
    start: float
    length: float


@dataclass(frozen=True, kw_only=True)
class UsageView:
    """What was used; ``cpu_percent`` is None where no CPU time was allocated."""

    facts: list[tuple[str, str]]
    cpu_percent: float | None


@dataclass(frozen=True, kw_only=True)
class JobView:
    """Everything that the template writes."""

    record: JobRecord
    tone: str
    ended: bool
    outcome: str | None
    elapsed: str
    stages: list[Stage]
    requested: list[tuple[str, str]]
    submissions: list[tuple[int, str, str, str]]
    usage: UsageView | None
    refresh_seconds: int | None
    record_path: str


def job_view(record: JobRecord, *, now: datetime) -> JobView:
    """Return the view of ``record`` at the time ``now``."""
    phase = phase_of(parse_state(record.state))
    until = None if phase.ended else now
    return JobView(
        record=record,
        tone=phase.value,
        ended=phase.ended,
        outcome=_outcome(record),
        elapsed=duration(sum(_lengths(record.history, until))),
        stages=_stages(record.history, until),
        requested=[(name, plain(value)) for name, value in record.requested.items()],
        submissions=[(s.number, s.job_id, moment(s.at), s.reason) for s in record.submissions],
        usage=_usage(record.usage) if record.usage else None,
        refresh_seconds=None if phase.ended else REFRESH_SECONDS,
        record_path=_record_path(record),
    )


def task_page_path(task: TaskReference) -> str:
    """Return the path of Airflow's own page of a task instance."""
    parts = [quote(part, safe="") for part in (task.dag_id, task.run_id, task.task_id)]
    page = f"{airflow_path()}/dags/{parts[0]}/runs/{parts[1]}/tasks/{parts[2]}"
    return page if task.map_index < 0 else f"{page}/mapped/{task.map_index}"


def duration(seconds: float) -> str:
    """Return a length of time for people: ``45 s``, ``3 min 05 s``, ``2 h 05 min``, ``3 d 04 h``."""
    whole = max(0, round(seconds))
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02d} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02d} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR:02d} h"


def size(count: int) -> str:
    """Return a number of bytes for people, in Slurm's powers of 1024."""
    scaled, unit = float(count), _UNITS[0]
    for unit in _UNITS:
        if scaled < 1024 or unit == _UNITS[-1]:  # noqa: PLR2004
            break
        scaled /= 1024
    return f"{scaled:.0f} {unit}" if unit == _UNITS[0] else f"{scaled:.1f} {unit}"


def moment(at: datetime) -> str:
    """Return a time of day in UTC."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def plain(value: Any) -> str:
    """Return a requested value as text: ``a=1, b`` for mappings and lists."""
    if value is None or value in ("", [], {}):
        return _NOTHING
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={plain(part)}" for key, part in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(plain(part) for part in value)
    return str(value)


def _record_path(record: JobRecord) -> str:
    labels = record.labels
    query = urlencode({"run_id": labels.run_id, "task_id": labels.task_id, "map_index": labels.map_index})
    return f"job.json?{query}"


def _outcome(record: JobRecord) -> str | None:
    parts = []
    if record.exit_code is not None:
        parts.append(f"exit code {record.exit_code}")
    if record.signal:
        parts.append(f"signal {record.signal}")
    return ", ".join(parts) or None


def _lengths(history: list[StateChange], now: datetime | None) -> list[float]:
    """Return how many seconds each state lasted: the last one until ``now``, or not at all where that is None.

    A clock that was set back makes a state short, never negative, so that bars and sums stay right.
    """
    ends = [*(later.at for later in history[1:]), now]
    return [
        max(0.0, (end - change.at).total_seconds()) if end else 0.0
        for change, end in zip(history, ends, strict=False)  # without a history, now ends nothing
    ]


def _stages(history: list[StateChange], now: datetime | None) -> list[Stage]:
    lengths = _lengths(history, now)
    whole = sum(lengths) or 1.0
    stages, before = [], 0.0
    for number, (change, seconds) in enumerate(zip(history, lengths, strict=True), start=1):
        is_end = number == len(history) and now is None
        stages.append(
            Stage(
                state=change.state,
                reason=change.reason,
                at=moment(change.at),
                duration=_NOTHING if is_end else duration(seconds),
                tone=phase_of(parse_state(change.state)).value,
                start=round(100 * before / whole, 3),
                length=round(100 * seconds / whole, 3),
            )
        )
        before += seconds
    return stages


def _usage(usage: Usage) -> UsageView:
    facts = [
        ("Elapsed", duration(usage.elapsed_seconds)),
        ("Allocated CPUs", str(usage.allocated_cpus)),
        ("CPU time", duration(usage.cpu_seconds)),
        ("Largest memory of a task", _NOTHING if usage.max_rss_bytes is None else size(usage.max_rss_bytes)),
    ]
    efficiency = usage.cpu_efficiency
    return UsageView(facts=facts, cpu_percent=None if efficiency is None else round(100 * efficiency, 1))
