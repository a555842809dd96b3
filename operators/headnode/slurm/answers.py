"""What Slurm's commands print, read into data. A line that has not the asked form raises ``UnreadableAnswer``."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass

from headnode.errors import UnreadableAnswer
from headnode.slurm.arrays import count_elements
from headnode.slurm.commands import SACCT_FIELDS, TAG_PREFIX
from headnode.slurm.record import Usage
from headnode.slurm.states import JobState, Phase, combined_state, parse_state, phase_of
from headnode.slurm.time_limits import parse_elapsed

_NUMBER = re.compile(r"[0-9]+")
# Long lists of pending elements are cut: ``123_[1,3,5,...``
_JOB_ID = re.compile(r"(?P<base>[0-9]+)(?:_(?:[0-9]+|\[[^\]]*\]?)|\+[0-9]+)?(?P<step>\..+)?")
_NOT_A_REASON = frozenset({"", "None", "(null)"})


@dataclass(frozen=True, kw_only=True)
class QueueEntry:
    """An unfinished job, its array elements taken together. ``state_word`` is Slurm's own word."""

    job_id: str
    state: JobState
    state_word: str
    reason: str | None
    nodes: str | None
    is_compound: bool = False


@dataclass(frozen=True, kw_only=True)
class AccountingEntry:
    """What accounting knows of a job, its array elements (or components) taken together.

    Accounting may not have heard of all ``elements`` yet. ``exit_code`` and
    ``signal`` are those of the element (or job) whose state speaks for the whole.
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


def parse_submitted(stdout: str) -> str:
    """Return the job id that ``sbatch --parsable`` printed, whatever a login banner put around it.

    Raises:
        UnreadableAnswer: there is no line ``ID`` or ``ID;cluster``.
    """
    ids = re.findall(r"^([0-9]+)(?:;\S*)?$", stdout, re.MULTILINE)
    if not ids:
        raise UnreadableAnswer(f"sbatch printed no job id but {stdout.strip()[:200]!r}")
    return str(ids[-1])


def parse_queue(stdout: str) -> dict[str, QueueEntry]:
    """Return the unfinished jobs in squeue's answer by (array) job id.

    Raises:
        UnreadableAnswer: a line has too few fields, as when the answer was cut.
    """
    rows: dict[str, list[tuple[JobState, str, str, str]]] = defaultdict(list)
    compound: set[str] = set()
    for line in filter(None, stdout.split("\n")):
        fields = line.split("|", 6)
        if len(fields) != 7 or not _NUMBER.fullmatch(fields[0]):  # noqa: PLR2004 - the asked format
            raise UnreadableAnswer(f"squeue's line {line[:200]!r} has not the form that was asked for")
        if fields[1] != fields[0]:
            compound.add(fields[0])
        rows[fields[0]].append((parse_state(fields[2]), fields[2], fields[3], fields[6].strip()))
    entries = {}
    for job_id, elements in rows.items():
        speaker = combined_state(state for state, *_ in elements)
        _, word, _, reason = next(element for element in elements if element[0] is speaker)
        nodes = ",".join(dict.fromkeys(element[2] for element in elements if element[2]))
        entries[job_id] = QueueEntry(
            job_id=job_id,
            state=speaker,
            state_word=word,
            reason=None if reason in _NOT_A_REASON else reason,
            nodes=nodes or None,
            is_compound=job_id in compound,
        )
    return entries


def parse_accounting(stdout: str) -> dict[str, AccountingEntry]:
    """Return what sacct says of each (array) job.

    Raises:
        UnreadableAnswer: a line has not the asked fields, as when the answer was cut.
    """
    rows: dict[str, list[dict[str, str]]] = defaultdict(list)
    for line in filter(None, stdout.split("\n")):
        values = line.split("|")
        match = _JOB_ID.fullmatch(values[0])
        if len(values) != len(SACCT_FIELDS) or match is None:
            raise UnreadableAnswer(f"sacct's line {line[:200]!r} has not the form that was asked for")
        rows[match["base"]].append(dict(zip(SACCT_FIELDS, values, strict=True)))
    return {job_id: _accounting_entry(job_id, parts) for job_id, parts in rows.items()}


def _accounting_entry(job_id: str, rows: list[dict[str, str]]) -> AccountingEntry:
    allocations = [row for row in rows if not _is_step(row["JobID"])]
    if not allocations:
        raise UnreadableAnswer(f"sacct names steps of job {job_id}, but not the job")
    states = [parse_state(row["State"]) for row in allocations]
    state = combined_state(states)
    speaker = allocations[states.index(state)]
    exit_code, signal = _exit_code(speaker)
    nodes = ",".join(
        dict.fromkeys(row["NodeList"] for row in allocations if row["NodeList"] not in {"", "None assigned"})
    )
    return AccountingEntry(
        job_id=job_id,
        state=state,
        state_word=speaker["State"],
        exit_code=exit_code,
        signal=signal,
        nodes=nodes or None,
        usage=_usage(rows, allocations),
        elements=sum(_elements(row) for row in allocations),
        failed_elements=sum(
            _elements(row)
            for row, element in zip(allocations, states, strict=True)
            if phase_of(element) is Phase.FAILED
        ),
    )


def _elements(row: dict[str, str]) -> int:
    """Return for how many elements a row stands: those that were cancelled before they started share one."""
    _, bracket, indexes = row["JobID"].partition("_[")
    return (count_elements(indexes.rstrip("]")) if bracket else 1) or 1


def _is_step(job_id: str) -> bool:
    match = _JOB_ID.fullmatch(job_id)
    return match is not None and match["step"] is not None


def _exit_code(row: dict[str, str]) -> tuple[int, int | None]:
    match = re.fullmatch(r"([0-9]{1,9}):([0-9]{1,9})", row["ExitCode"])
    if match is None:
        raise UnreadableAnswer(f"sacct's exit code {row['ExitCode']!r} of job {row['JobID']} can't be read")
    return int(match[1]), int(match[2]) or None


def _usage(rows: list[dict[str, str]], allocations: list[dict[str, str]]) -> Usage:
    try:
        memory = [parse_memory(row["MaxRSS"]) for row in rows if row["MaxRSS"]]
        return Usage(
            elapsed_seconds=max(int(row["ElapsedRaw"] or 0) for row in allocations),
            allocated_cpus=sum(int(row["AllocCPUS"] or 0) for row in allocations),
            cpu_seconds=sum(parse_elapsed(row["TotalCPU"]) for row in allocations if row["TotalCPU"]),
            max_rss_bytes=max(memory, default=None),
        )
    except (ValueError, OverflowError) as error:
        raise UnreadableAnswer(f"sacct's figures for job {rows[0]['JobID']} can't be read: {error}") from error


def parse_memory(text: str) -> int:
    """Return the bytes in a size of sacct such as ``1234K`` or ``1.5G`` (factors of 1024).

    Raises:
        ValueError: ``text`` is no such size.
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([KMGTP]?)", text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no size as sacct writes it")
    factor: int = 1024 ** " KMGTP".index(match[2] or " ")
    return round(float(match[1]) * factor)


def find_tagged(stdout: str, key: str) -> str | None:
    """Return the id of the job that carries ``key``, in squeue's or sacct's list of tags, or None.

    Sites that don't store comments in accounting (``AccountingStoreFlags``) still store the working directory, which
    ends in ``/<key>/work``. The other jobs in the list may be anybody's work: their directories and comments may hold
    bars, and comments go on in further lines.

    Raises:
        UnreadableAnswer: a line has not the asked fields.
    """
    begun = False
    for line in filter(None, stdout.split("\n")):
        fields = line.split("|", 3)
        match = _JOB_ID.fullmatch(fields[0])
        if begun and match is None:
            continue
        if len(fields) != 4 or match is None:  # noqa: PLR2004 - the asked format
            raise UnreadableAnswer(f"the line {line[:200]!r} has not the form that was asked for")
        if line.endswith(f"|{TAG_PREFIX}{key}") or fields[2].endswith(f"/{key}/work"):
            return match["base"]
        begun = True
    return None
