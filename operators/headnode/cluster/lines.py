"""Lines for whoever waits for a job: what it writes, which state it is in and why, what it used."""

from __future__ import annotations

import codecs
from collections import deque
from collections.abc import Sequence
from typing import Final

from headnode.cluster.following import Followed
from headnode.cluster.logs import LogPiece
from headnode.slurm.accounting import AccountingEntry
from headnode.slurm.reasons import describe_reason
from headnode.slurm.record import shorten_nodes
from headnode.slurm.usage import usage_table
from headnode.slurm.visible import visible

TAIL_LINES: Final = 20

# A line without an end is shown in parts of this length.
MAX_LINE_LENGTH: Final = 16 * 1024
MARKS: Final = {"stdout": "| ", "stderr": "! "}


class LogLines:
    r"""Cuts the pieces of a job's logs into lines, each stream for itself.

    Lines of stdout begin with ``| ``, those of stderr with ``! ``. Bytes that are no UTF-8 are shown as replacement
    characters, and of a line that a progress bar has written over, what a terminal would show in the end. Colours are
    left out, other control characters are shown as in ``\x1b``: a job's line is never taken for one of ours.
    """

    def __init__(self) -> None:
        self._streams = {stream: _Stream(mark) for stream, mark in MARKS.items()}

    def feed(self, piece: LogPiece) -> list[str]:
        """Return the lines that are complete now, with the mark of their stream."""
        return self._streams[piece.stream].feed(piece.data)

    def finish(self) -> list[str]:
        """Return what was written after the last newlines, if anything."""
        return [line for stream in self._streams.values() for line in stream.finish()]

    @property
    def tail(self) -> list[str]:
        """The last lines of stdout, then those of stderr with their mark."""
        return [*self._streams["stdout"].tail, *(f"! {line}" for line in self._streams["stderr"].tail)]


class _Stream:
    def __init__(self, mark: str) -> None:
        self._mark = mark
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)

    def feed(self, data: bytes) -> list[str]:
        *lines, rest = (self._rest + self._decoder.decode(data)).split("\n")
        rest = _overwritten(rest)
        if len(rest) > MAX_LINE_LENGTH:
            lines, rest = [*lines, rest], ""
        self._rest = rest
        return self._shown(lines)

    def finish(self) -> list[str]:
        rest, self._rest = self._rest + self._decoder.decode(b"", final=True), ""
        return self._shown([rest] if rest else [])

    def _shown(self, lines: list[str]) -> list[str]:
        shown = [visible(_overwritten(line).rstrip("\r")) for line in lines]
        self.tail.extend(shown)
        return [self._mark + line for line in shown]


def _overwritten(line: str) -> str:
    """Return what a terminal shows of ``line`` after its carriage returns; one at its end is kept."""
    end = "\r" if line.endswith("\r") else ""
    return line.rstrip("\r").rpartition("\r")[2] + end


def describe_state(job: Followed) -> str:
    """Return one line for the log about the state a job is in, and in plain words why it waits."""
    text = f"job {job.job_id} is {job.state_word}"
    if job.nodes:
        text += f" on {job.nodes}"
    if job.reason:
        text += f" ({visible(describe_reason(job.reason, job_id=job.job_id))})"
    elif job.state_word == "REQUEUE_HOLD":
        text += " (it was requeued and is held; it will not start by itself; `scontrol release` lets it go)"
    return text


def describe_usage(entry: AccountingEntry) -> str:
    """Return a short table for the log about what a job used."""
    usage = usage_table(entry.usage, nodes=shorten_nodes(entry.nodes))
    elements = f" in {entry.elements} elements" if entry.elements > 1 else ""
    return f"job {entry.job_id} ended as {entry.state_word}{elements} and used\n{usage}"


def describe_cancelled(job_ids: Sequence[str]) -> str:
    """Return one line for the log about the jobs that were cancelled."""
    if not job_ids:
        return "no job was left to cancel"
    return f"job {job_ids[0]} is cancelled" if len(job_ids) == 1 else f"jobs {', '.join(job_ids)} are cancelled"
