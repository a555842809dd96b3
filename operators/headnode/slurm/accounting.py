"""What accounting says of jobs that have left the queue: sacct's answer, read into data."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from headnode.errors import UnreadableAnswer
from headnode.slurm.answers import JOB_ID, elements_in, is_of_key, parse_epoch
from headnode.slurm.arrays import expand_elements
from headnode.slurm.commands import SACCT_FIELDS
from headnode.slurm.record import Usage
from headnode.slurm.states import JobState, Phase, combined_state, parse_state, phase_of
from headnode.slurm.time_limits import parse_elapsed

_NO_NODES: Final = frozenset({"", "None assigned", "(null)"})
# Slurm's NO_VAL and INFINITE of 32 and 64 bits stand for "not measured" (slurm.h).
_NO_VALUES: Final = frozenset({0, 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFE, 0xFFFFFFFFFFFFFFFF})
_INDEX: Final = {name: number for number, name in enumerate(SACCT_FIELDS)}


class ElementEnd(NamedTuple):
    """How one element of an array ended (or what state it is in)."""

    state: JobState
    exit_code: int | None
    signal: int | None


@dataclass(frozen=True, kw_only=True)
class AccountingEntry:
    """What is known of a job that left the queue, its array elements (or components) taken together.

    Accounting may not have heard of all ``elements`` yet. ``exit_code`` and ``signal`` are those of the element (or
    job) whose state speaks for the whole. Times are the cluster's, in seconds since the epoch; ``submitted_at`` and
    ``last_submitted_at`` are of the first and the last of them that was submitted or requeued. ``element_ends`` are
    by SLURM_ARRAY_TASK_ID, and empty for a job that is no array. ``source`` is who says so: sacct, slurmctld
    (``scontrol``), or the marker that the job itself wrote when its script ended.
    """

    job_id: str
    state: JobState
    state_word: str
    exit_code: int | None
    signal: int | None
    nodes: str | None
    usage: Usage
    elements: int
    failed_elements: int
    submitted_at: int | None = None
    last_submitted_at: int | None = None
    started_at: int | None = None
    ended_at: int | None = None
    element_ends: Mapping[int, ElementEnd] = field(default_factory=dict)
    source: Literal["sacct", "scontrol", "marker"] = "sacct"


@dataclass(kw_only=True)
class Part:
    """One row of accounting that is no step: a job, an array element, or a component of a heterogeneous job."""

    suffix: str | None  # ``_3``, ``_[4-9]``, ``+1``
    state: JobState
    word: str
    exit_code: int | None
    signal: int | None
    nodes: str
    elapsed_seconds: int = 0
    cpus: int = 0
    cpu_seconds: float = 0.0
    energy: int = 0
    submitted_at: int | None = None
    started_at: int | None = None
    ended_at: int | None = None
    tres: str = ""
    max_rss: int | None = None
    memory_used: int | None = None


def parse_accounting(stdout: str, keys: Mapping[str, str | None] | None = None) -> dict[str, AccountingEntry]:
    """Return what sacct says of each (array) job; ``keys`` as in ``parse_queue``.

    Of a job that was requeued, and so has several records, the latest counts.

    Raises:
        UnreadableAnswer: a line has not the asked fields, as when the answer was cut.
    """
    jobs: dict[str, dict[str, Part]] = defaultdict(dict)
    current: tuple[str, Part | None] = ("", None)
    for line in filter(None, stdout.split("\n")):
        fields = line.split("|", len(SACCT_FIELDS) - 1)
        match = JOB_ID.fullmatch(fields[0])
        if len(fields) != len(SACCT_FIELDS) or match is None:
            raise UnreadableAnswer(f"sacct's line {line[:200]!r} has not the form that was asked for")
        name = match["base"] + (match["part"] or "")
        if match["step"]:
            if current[0] != name:
                raise UnreadableAnswer(f"sacct names steps of job {name}, but not the job")
            _add_step(current[1], fields)
            continue
        ours = is_of_key(fields[_INDEX["WorkDir"]], (keys or {}).get(match["base"]))
        part = _part(match["part"], fields) if ours else None
        current = (name, part)
        if part is not None and _is_newer(part, jobs[match["base"]].get(name)):
            jobs[match["base"]][name] = part
    return {job_id: accounting_entry(job_id, parts.values()) for job_id, parts in jobs.items() if parts}


def accounting_entry(
    job_id: str, parts: Collection[Part], source: Literal["sacct", "scontrol", "marker"] = "sacct"
) -> AccountingEntry:
    """Return the entry of the job that consists of ``parts``, of which there must be one at least."""
    state = combined_state(part.state for part in parts)
    speaker = next(part for part in parts if part.state is state)
    submitted = [part.submitted_at for part in parts if part.submitted_at]
    return AccountingEntry(
        job_id=job_id,
        state=state,
        state_word=speaker.word,
        exit_code=speaker.exit_code,
        signal=speaker.signal,
        nodes=",".join(dict.fromkeys(part.nodes for part in parts if part.nodes not in _NO_NODES)) or None,
        usage=_usage(job_id, parts),
        elements=sum(elements_in(part.suffix) for part in parts),
        failed_elements=sum(elements_in(part.suffix) for part in parts if phase_of(part.state) is Phase.FAILED),
        submitted_at=min(submitted, default=None),
        last_submitted_at=max(submitted, default=None),
        started_at=min((part.started_at for part in parts if part.started_at), default=None),
        ended_at=max((part.ended_at for part in parts if part.ended_at), default=None),
        element_ends=_element_ends(parts),
        source=source,
    )


def _element_ends(parts: Iterable[Part]) -> dict[int, ElementEnd]:
    # The row of those that never started may still name some that did, when the array was cancelled just then.
    together_first = sorted(parts, key=lambda part: not (part.suffix or "").startswith("_["))
    ends = {}
    for part in together_first:
        if part.suffix and part.suffix.startswith("_"):
            end = ElementEnd(part.state, part.exit_code, part.signal)
            ends.update(dict.fromkeys(expand_elements(part.suffix[1:].strip("[]")) or (), end))
    return dict(sorted(ends.items()))


def _is_newer(part: Part, than: Part | None) -> bool:
    return than is None or (part.submitted_at or 0) >= (than.submitted_at or 0)


def _part(suffix: str | None, fields: list[str]) -> Part:
    value = dict(zip(SACCT_FIELDS, fields, strict=True))
    exit_code, signal = parse_exit_code(value["ExitCode"], fields[0])
    state, ended_at = parse_state(value["State"]), parse_epoch(value["End"])
    if phase_of(state).ended and ended_at is None:
        # slurmctld tells of starts in batches, with the state that a job is in by then; what ended meanwhile shows for
        # some seconds as FAILED with exit code 0. Only a row with its end is the last word.
        state = JobState.UNKNOWN
    try:
        return Part(
            suffix=suffix,
            state=state,
            word=value["State"],
            exit_code=exit_code,
            signal=signal,
            nodes=value["NodeList"],
            elapsed_seconds=int(value["ElapsedRaw"] or 0),
            cpus=int(value["AllocCPUS"] or 0),
            cpu_seconds=parse_elapsed(value["TotalCPU"]) if value["TotalCPU"] else 0.0,
            energy=int(value["ConsumedEnergyRaw"] or 0),
            submitted_at=parse_epoch(value["Submit"]),
            started_at=parse_epoch(value["Start"]),
            ended_at=ended_at,
            tres=value["AllocTRES"],
        )
    except (ValueError, OverflowError) as error:
        raise UnreadableAnswer(f"sacct's figures for job {fields[0]} can't be read: {error}") from error


def _add_step(part: Part | None, fields: list[str]) -> None:
    memory, tasks = fields[_INDEX["MaxRSS"]], fields[_INDEX["NTasks"]]
    if part is None or not memory:
        return
    try:
        size = parse_memory(memory)
        used = size * int(tasks or 1)
    except (ValueError, OverflowError) as error:
        raise UnreadableAnswer(f"sacct's figures for step {fields[0]} can't be read: {error}") from error
    part.max_rss = max(size, part.max_rss or 0)
    part.memory_used = max(used, part.memory_used or 0)


def parse_exit_code(text: str, job_id: str) -> tuple[int, int | None]:
    """Return exit code and signal from Slurm's ``3:0``.

    Raises:
        UnreadableAnswer: ``text`` has another form.
    """
    match = re.fullmatch(r"([0-9]{1,9}):([0-9]{1,9})", text)
    if match is None:
        raise UnreadableAnswer(f"the exit code {text!r} of job {job_id} can't be read")
    return int(match[1]), int(match[2]) or None


def _usage(job_id: str, parts: Collection[Part]) -> Usage:
    # Components of a heterogeneous job run side by side; elements of an array are jobs of their own.
    over = sum if any(part.suffix and part.suffix.startswith("+") for part in parts) else max
    resources = [parse_tres(part.tres, job_id) for part in parts]
    return Usage(
        elapsed_seconds=max(part.elapsed_seconds for part in parts),
        allocated_cpus=sum(part.cpus for part in parts),
        cpu_seconds=round(sum(part.cpu_seconds for part in parts), 3),
        allocated_cpu_seconds=float(sum(part.elapsed_seconds * part.cpus for part in parts)),
        max_rss_bytes=max((part.max_rss for part in parts if part.max_rss is not None), default=None),
        memory_used_bytes=max((part.memory_used for part in parts if part.memory_used is not None), default=None),
        allocated_memory_bytes=over([each.get("mem", 0) for each in resources]) or None,
        gpus=over([each.get("gres/gpu", 0) for each in resources]),
        node_count=over([each.get("node", 0) for each in resources]),
        energy_joules=sum(part.energy for part in parts if part.energy not in _NO_VALUES) or None,
    )


def parse_tres(text: str, job_id: str) -> dict[str, int]:
    """Return the counts in AllocTRES, e.g. ``cpu=2,mem=1000M,node=1,gres/gpu=4``; memory in bytes.

    Raises:
        UnreadableAnswer: a part has not the form ``name=count``.
    """
    found = {}
    for name, _, count in (each.partition("=") for each in text.split(",") if each and text != "(null)"):
        try:
            found[name] = parse_memory(count) if name == "mem" else int(float(count.rstrip("KMGTP") or "x"))
        except (ValueError, OverflowError) as error:
            raise UnreadableAnswer(f"the resources {text[:200]!r} of job {job_id} can't be read: {error}") from error
    return found


def parse_memory(text: str) -> int:
    """Return the bytes in a size of sacct such as ``1234K`` or ``1.5G`` (factors of 1024).

    Raises:
        ValueError: ``text`` is no such size.
    """
    match = re.fullmatch(r"([0-9]{1,18}(?:\.[0-9]{1,18})?)([KMGTP]?)", text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no size as sacct writes it")
    factor: int = 1024 ** " KMGTP".index(match[2] or " ")
    return round(float(match[1]) * factor)
