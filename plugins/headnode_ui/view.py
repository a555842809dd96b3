"""What the job page shows, worked out from the record and the time of day: words, tones, lengths of bars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

from headnode.links.slurm_job import airflow_path
from headnode.slurm.reasons import Prospect, explain_reason
from headnode.slurm.record import JobRecord, StateChange, Submission, Usage
from headnode.slurm.states import parse_state, phase_of
from headnode.slurm.usage import duration, usage_facts
from headnode_ui.records import TaskReference

REFRESH_SECONDS = 10
_NOTHING = "-"


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
    """What was used; a percentage is None where nothing was allocated or measured."""

    facts: list[tuple[str, str]]
    cpu_percent: float | None
    memory_percent: float | None


@dataclass(frozen=True, kw_only=True)
class SubmissionView:
    """One row of the table of submissions."""

    number: int
    job_id: str
    at: str
    reason: str
    dependency: str | None
    state: str
    tone: str
    end: str
    elapsed: str


@dataclass(frozen=True, kw_only=True)
class ElementsView:
    """The elements of an array that are in one state."""

    state: str
    tone: str
    indexes: str


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
    submissions: list[SubmissionView]
    elements: list[ElementsView]
    advice: tuple[str, str] | None
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
        outcome=_ended_with(record.exit_code, record.signal),
        elapsed=duration(sum(_lengths(record.history, until))),
        stages=_stages(record.history, until),
        requested=_requested(record.requested),
        submissions=[_submission(each) for each in record.submissions],
        elements=_elements(record.element_states),
        advice=_advice(record),
        usage=_usage(record.usage) if record.usage else None,
        refresh_seconds=None if phase.ended else REFRESH_SECONDS,
        record_path=_record_path(record),
    )


def task_page_path(task: TaskReference) -> str:
    """Return the path of Airflow's own page of a task instance."""
    parts = [quote(part, safe="") for part in (task.dag_id, task.run_id, task.task_id)]
    page = f"{airflow_path()}/dags/{parts[0]}/runs/{parts[1]}/tasks/{parts[2]}"
    return page if task.map_index < 0 else f"{page}/mapped/{task.map_index}"


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


def _requested(requested: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what was asked for, of a heterogeneous job one line for each further component."""
    components = requested.get("components")
    lines = [(name, plain(value)) for name, value in requested.items() if name != "components"]
    if isinstance(components, list):
        lines += [(f"component {number}", plain(each)) for number, each in enumerate(components, start=1)]
    return lines


def _record_path(record: JobRecord) -> str:
    labels = record.labels
    query = urlencode({"run_id": labels.run_id, "task_id": labels.task_id, "map_index": labels.map_index})
    return f"job.json?{query}"


def _ended_with(exit_code: int | None, signal: int | None) -> str | None:
    parts = []
    if exit_code is not None:
        parts.append(f"exit code {exit_code}")
    if signal:
        parts.append(f"signal {signal}")
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
    return UsageView(
        facts=usage_facts(usage),
        cpu_percent=_percent(usage.cpu_efficiency),
        memory_percent=_percent(usage.memory_efficiency),
    )


def _percent(share: float | None) -> float | None:
    return None if share is None else round(100 * share, 1)


def _submission(submission: Submission) -> SubmissionView:
    ended = _ended_with(submission.exit_code, submission.signal)
    return SubmissionView(
        number=submission.number,
        job_id=submission.job_id,
        at=moment(submission.at),
        reason=submission.reason,
        dependency=submission.dependency,
        state=submission.state or _NOTHING,
        tone=phase_of(parse_state(submission.state)).value if submission.state else "unknown",
        end=ended or _NOTHING,
        elapsed=_NOTHING if submission.usage is None else duration(submission.usage.elapsed_seconds),
    )


def _elements(states: Mapping[str, str] | None) -> list[ElementsView]:
    """Return the states of an array's elements, those that need a look first."""
    shown = [
        ElementsView(state=word, tone=phase_of(parse_state(word)).value, indexes=indexes.replace(",", ", "))
        for word, indexes in (states or {}).items()
    ]
    return sorted(shown, key=lambda each: (each.tone == "succeeded", each.state))


def _advice(record: JobRecord) -> tuple[str, str] | None:
    """Return why the job waits in plain words and in what tone, None where there is nothing to say."""
    if (
        phase_of(parse_state(record.state)).ended
        or (meaning := explain_reason(record.reason, job_id=record.job_id)) is None
    ):
        return None
    words = meaning.words[0].upper() + meaning.words[1:]
    if meaning.prospect is Prospect.NEEDS_PERSON:
        words += "; it will not start by itself"
    elif meaning.prospect is Prospect.NEVER_STARTS:
        words += "; it will never start as it is"
    text = f"{words}{f': {meaning.advice}' if meaning.advice else ''}."
    return text, "pending" if meaning.prospect is Prospect.WAITS else "blocked"
