"""What squeue and sbatch print, read into data. A line that has not the asked form raises ``UnreadableAnswer``."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from headnode.errors import UnreadableAnswer
from headnode.slurm.arrays import count_elements
from headnode.slurm.commands import TAG_PREFIX
from headnode.slurm.states import JobState, combined_state, parse_state

# Long lists of pending elements are cut where SLURM_BITSTR_LEN is not honoured: ``123_[1,3,5,...``
JOB_ID: Final = re.compile(r"(?P<base>[0-9]{1,10})(?P<part>_(?:[0-9]{1,10}|\[[^\]]*\]?)|\+[0-9]{1,10})?(?P<step>\..+)?")
_NOT_A_REASON = frozenset({"", "None", "(null)"})
_QUEUE_FIELDS = 7  # the last one is the reason and the working directory


@dataclass(frozen=True, kw_only=True)
class QueueEntry:
    """An unfinished job, its array elements taken together. ``state_word`` is Slurm's own word.

    ``counts`` says how many elements (or components) are in which state. Times are the cluster's, in seconds since
    the epoch; ``submitted_at`` and ``last_submitted_at`` are of the first and the last of them that was submitted or
    requeued, ``ends_at`` is when the first of them reaches its time limit.
    """

    job_id: str
    state: JobState
    state_word: str
    reason: str | None
    nodes: str | None
    is_compound: bool = False
    counts: Mapping[str, int] = field(default_factory=dict)
    submitted_at: int | None = None
    last_submitted_at: int | None = None
    ends_at: int | None = None


@dataclass(frozen=True)
class _QueueRow:
    part: str | None
    state: JobState
    word: str
    nodes: str
    ends_at: int | None
    submitted_at: int | None
    reason: str
    directory: str


def parse_submitted(stdout: str) -> str:
    """Return the job id that ``sbatch --parsable`` printed, whatever a login banner put around it.

    Raises:
        UnreadableAnswer: there is no line ``ID`` or ``ID;cluster``.
    """
    ids = re.findall(r"^([0-9]+)(?:;\S*)?$", stdout, re.MULTILINE)
    if not ids:
        raise UnreadableAnswer(f"sbatch printed no job id but {stdout.strip()[:200]!r}")
    return str(ids[-1])


def parse_queue(stdout: str, keys: Mapping[str, str | None] | None = None) -> dict[str, QueueEntry]:
    """Return the unfinished jobs in squeue's answer by (array) job id.

    ``keys`` holds the keys of those jobs that have one: another job with the same id is left out, because job ids
    come round again. A job that runs in its submission's directory, ``.../<key>/work``, is the one of the key.

    Raises:
        UnreadableAnswer: a line has too few fields, as when the answer was cut.
    """
    rows: dict[str, list[_QueueRow]] = defaultdict(list)
    for line in filter(None, stdout.split("\n")):
        fields = line.split("|", _QUEUE_FIELDS - 1)
        match = JOB_ID.fullmatch(fields[0])
        if len(fields) != _QUEUE_FIELDS or match is None or match["step"] or "|" not in fields[6]:
            raise UnreadableAnswer(f"squeue's line {line[:200]!r} has not the form that was asked for")
        row = _queue_row(match["part"], fields)
        if is_of_key(row.directory, (keys or {}).get(match["base"])):
            rows[match["base"]].append(row)
    return {job_id: _queue_entry(job_id, parts) for job_id, parts in rows.items()}


def is_of_key(directory: str, key: str | None) -> bool:
    """Whether a job that runs in ``directory`` is the one of ``key``; every job is where the key is not known."""
    return key is None or directory.endswith(f"/{key}/work")


def _queue_row(part: str | None, fields: list[str]) -> _QueueRow:
    _, word, nodes, _, ends, submitted, rest = fields
    reason, _, directory = rest.rpartition("|/") if "|/" in rest else rest.rpartition("|")
    return _QueueRow(
        part=part,
        state=parse_state(word),
        word=word,
        nodes=nodes,
        ends_at=parse_epoch(ends),
        submitted_at=parse_epoch(submitted),
        reason=reason.strip(),
        directory=f"/{directory}",
    )


def _queue_entry(job_id: str, rows: list[_QueueRow]) -> QueueEntry:
    state = combined_state(row.state for row in rows)
    speaker = next(row for row in rows if row.state is state)
    counts: Counter[str] = Counter()
    for row in rows:
        counts[row.word] += elements_in(row.part)
    submitted = [row.submitted_at for row in rows if row.submitted_at is not None]
    ends = [row.ends_at for row in rows if row.ends_at is not None and row.nodes]
    return QueueEntry(
        job_id=job_id,
        state=state,
        state_word=speaker.word,
        reason=None if speaker.reason in _NOT_A_REASON else speaker.reason,
        nodes=",".join(dict.fromkeys(row.nodes for row in rows if row.nodes)) or None,
        is_compound=any(row.part for row in rows),
        counts=dict(counts),
        submitted_at=min(submitted, default=None),
        last_submitted_at=max(submitted, default=None),
        ends_at=min(ends, default=None),
    )


def elements_in(part: str | None) -> int:
    """Return for how many elements a row stands: those that have not started share one, ``_[3-9%2]``."""
    if part is None or not part.startswith("_["):
        return 1
    return count_elements(part[2:].rstrip("]")) or 1


def parse_epoch(text: str) -> int | None:
    """Return the seconds since the epoch, or None for the words that Slurm writes where there is no time."""
    return int(text) if re.fullmatch(r"[0-9]{1,12}", text) else None


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
        match = JOB_ID.fullmatch(fields[0])
        if begun and match is None:
            continue
        if len(fields) != 4 or match is None:  # noqa: PLR2004 - the asked format
            raise UnreadableAnswer(f"the line {line[:200]!r} has not the form that was asked for")
        if line.endswith(f"|{TAG_PREFIX}{key}") or fields[2].endswith(f"/{key}/work"):
            return match["base"]
        begun = True
    return None
