"""The record of an array that runs as one or several array jobs, round after round."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from headnode.cluster.following import Followed
from headnode.cluster.submission import Submitted
from headnode.slurm.accounting import AccountingEntry, ElementEnd
from headnode.slurm.elements import ArrayPart
from headnode.slurm.record import JobRecord, StateChange, Usage, shorten_nodes, summarize_elements
from headnode.slurm.states import JobState, combined_state


@dataclass(frozen=True, kw_only=True)
class Run:
    """One array job that has ended."""

    part: ArrayPart
    submitted: Submitted
    entry: AccountingEntry

    @property
    def ends(self) -> dict[int, ElementEnd]:
        """How its elements ended, by their numbers in the whole array."""
        return self.part.ends(self.entry.element_ends)


def with_states(record: JobRecord, seen: Followed, words: Mapping[str, str]) -> JobRecord:
    """Return the record with the present states; ``seen`` speaks for all jobs, ``words`` are by job id."""
    submissions = [
        each.model_copy(update={"state": words[each.job_id]}) if each.job_id in words and not each.ended else each
        for each in record.submissions
    ]
    if (record.state, record.reason) != (seen.state_word, seen.reason):
        record = record.changed(StateChange(at=datetime.now(UTC), state=seen.state_word, reason=seen.reason))
    return record.model_copy(update={"submissions": submissions, "nodes": shorten_nodes(seen.nodes) or record.nodes})


def with_run(record: JobRecord, run: Run) -> JobRecord:
    """Return the record with the end of one array job, in the submission that made it."""
    entry = run.entry
    end: dict[str, Any] = {
        "state": entry.state_word,
        "exit_code": entry.exit_code,
        "signal": entry.signal,
        "usage": entry.usage,
        "nodes": shorten_nodes(entry.nodes),
    }
    submissions = [
        each.model_copy(update=end) if each.key == run.submitted.key else each for each in record.submissions
    ]
    return record.model_copy(update={"submissions": submissions})


def with_round(record: JobRecord, runs: Sequence[Run], ends: Mapping[int, ElementEnd]) -> JobRecord:
    """Return the record after a round: ``runs`` are all array jobs so far, ``ends`` the last ends of all elements."""
    state = worst_state(ends.values())
    speaker = next((end for end in ends.values() if end.state is state), None)
    if record.state != state.value:
        record = record.changed(StateChange(at=datetime.now(UTC), state=state.value))
    nodes = dict.fromkeys(run.entry.nodes for run in runs if run.entry.nodes)
    update: dict[str, Any] = {
        "reason": None,
        "exit_code": speaker.exit_code if speaker else None,
        "signal": speaker.signal if speaker else None,
        "nodes": shorten_nodes(",".join(nodes)) or record.nodes,
        "usage": total_usage([run.entry.usage for run in runs]),
        "element_states": summarize_elements({element: end.state.value for element, end in ends.items()}),
    }
    return record.model_copy(update=update)


def worst_state(ends: Iterable[ElementEnd]) -> JobState:
    """Return the state that speaks for all elements; what nobody knows counts as failed, for it is over."""
    return combined_state({JobState.FAILED if end.state is JobState.UNKNOWN else end.state for end in ends})


def total_usage(usages: Collection[Usage]) -> Usage:
    """Return what several array jobs used, which ran side by side or one after the other.

    Sums and maxima are as for the elements of one array (``headnode.slurm.record.Usage``).
    """

    def most(name: str) -> Any:
        return max((value for each in usages if (value := getattr(each, name)) is not None), default=None)

    def total(name: str) -> Any:
        return sum(getattr(each, name) or 0 for each in usages)

    return Usage(
        elapsed_seconds=most("elapsed_seconds") or 0,
        allocated_cpus=total("allocated_cpus"),
        cpu_seconds=round(total("cpu_seconds"), 3),
        allocated_cpu_seconds=total("allocated_cpu_seconds"),
        max_rss_bytes=most("max_rss_bytes"),
        memory_used_bytes=most("memory_used_bytes"),
        allocated_memory_bytes=most("allocated_memory_bytes"),
        gpus=most("gpus") or 0,
        node_count=most("node_count") or 0,
        energy_joules=total("energy_joules") or None,
    )
