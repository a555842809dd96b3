"""What is known of ended jobs where there is no accounting: slurmctld's memory and the jobs' own end markers.

slurmctld forgets an ended job after MinJobAge. The marker is one line that the script's last act writes into the
job's directory, ``<exit code> <start> <end> <job id> <restarts>`` with times in seconds since the epoch.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from headnode.errors import UnreadableAnswer
from headnode.slurm.accounting import AccountingEntry, Part, accounting_entry, parse_exit_code
from headnode.slurm.answers import is_of_key, parse_epoch
from headnode.slurm.states import JobState, parse_state, phase_of
from headnode.slurm.time_limits import parse_elapsed

MARKER_NAME: Final = "end"
_MARKER: Final = re.compile(r"([0-9]{1,3}) ([0-9]{1,12}) ([0-9]{1,12}) ([0-9]{1,10}) ([0-9]{1,6})")
_SIGNALLED: Final = 128  # a shell's exit code for a command that died of signal n is 128 + n

# The fields that are read follow each other in this order (src/api/job_info.c, ``slurm_sprint_job_info``); the job's
# name, which may hold anything, is before them, and what else its owner may write is after them. Atomic groups keep the
# time in proportion to the line's length.
_HEAD: Final = re.compile(
    r"JobId=(?P<id>[0-9]{1,10}) (?:ArrayJobId=(?P<array>[0-9]{1,10}) ArrayTaskId=(?P<element>\S+) )?"
    r"(?:HetJobId=(?P<het>[0-9]{1,10}) HetJobOffset=(?P<offset>[0-9]{1,10}) )?"
)
_STATE: Final = re.compile(r" JobState=(?P<state>\S+) Reason=")
_RECORD: Final = re.compile(
    r"(?> JobState=(?P<state>\S+) Reason=)(?>.*? ExitCode=(?P<exit>\S+) RunTime=(?P<elapsed>\S+) )"
    r"(?>.*?SubmitTime=(?P<submit>\S+) )(?>.*? StartTime=(?P<start>\S+) EndTime=(?P<end>\S+) )"
    r"(?>.*? NodeList=(?P<nodes>\S*) )(?>.*? NumCPUs=(?P<cpus>[0-9]{1,9})(?:-[0-9]{1,9})? )"
    r"(?>.*? WorkDir=(?P<directory>/.*?) (?:\w*Comment|StdErr|StdIn|StdOut|Power)=)"
)
_RESOURCES: Final = re.compile(r" (?:Alloc)?TRES=(\S+)")


@dataclass(frozen=True)
class Marker:
    """The last word of a job's script."""

    exit_code: int
    started_at: int
    ended_at: int
    job_id: str


def parse_marker(text: str) -> Marker | None:
    """Return what the marker says, or None where it says nothing that can be read: then nothing is known."""
    match = _MARKER.fullmatch(text.strip())
    if match is None:
        return None
    return Marker(exit_code=int(match[1]), started_at=int(match[2]), ended_at=int(match[3]), job_id=match[4])


def parse_scontrol(stdout: str, keys: Mapping[str, str | None] | None = None) -> dict[str, list[Part]]:
    """Return the jobs in the answer of ``scontrol --oneliner show job`` by (array) job id; ``keys`` as for squeue.

    Raises:
        UnreadableAnswer: a line has not the form that scontrol gives it.
    """
    jobs: dict[str, list[Part]] = defaultdict(list)
    for line in filter(None, stdout.split("\n")):
        head, states = _HEAD.match(line), list(_STATE.finditer(line))
        match = _RECORD.match(line, states[-1].start()) if states else None
        if head is None or match is None:
            raise UnreadableAnswer(f"scontrol's line {line[:200]!r} has not the form of a job")
        job_id = head["array"] or head["het"] or head["id"]
        if is_of_key(match["directory"], (keys or {}).get(job_id)):
            part = _scontrol_part(head, match)
            if phase_of(part.state).ended and len({state["state"] for state in states}) > 1:
                # A name or another text of the owner's looks like a state: which one is it?
                part.state = JobState.UNKNOWN
            jobs[job_id].append(part)
    return jobs


def _scontrol_part(head: re.Match[str], match: re.Match[str]) -> Part:
    exit_code, signal = parse_exit_code(match["exit"], head["id"])
    element, offset = head["element"], head["offset"]
    resources = _RESOURCES.search(match.string, match.end("cpus"), match.start("directory"))
    suffix = f"_[{element}]" if element else f"+{offset}" if offset else None
    if element and element.isdigit():
        suffix = f"_{element}"
    try:
        elapsed = round(parse_elapsed(match["elapsed"]))
    except ValueError:
        elapsed = 0  # INVALID, of a job that never started
    return Part(
        suffix=suffix,
        state=parse_state(match["state"]),
        word=match["state"],
        exit_code=exit_code,
        signal=signal,
        nodes=match["nodes"],
        elapsed_seconds=elapsed,
        cpus=int(match["cpus"]),
        submitted_at=parse_epoch(match["submit"]),
        started_at=parse_epoch(match["start"]),
        ended_at=parse_epoch(match["end"]),
        tres=resources[1] if resources else "",
    )


def marker_part(marker: Marker, element: int | None) -> Part:
    """Return what a marker tells of a job, or of one element of an array.

    A script that was ended by a signal leaves 128 and the signal's number; whether it was cancelled or out of time
    can't be told from that, so it is FAILED.
    """
    signal = marker.exit_code - _SIGNALLED if marker.exit_code > _SIGNALLED else None
    state = JobState.COMPLETED if marker.exit_code == 0 else JobState.FAILED
    return Part(
        suffix=None if element is None else f"_{element}",
        state=state,
        word=state.value,
        exit_code=marker.exit_code,
        signal=signal,
        nodes="",
        elapsed_seconds=max(0, marker.ended_at - marker.started_at),
        started_at=marker.started_at,
        ended_at=marker.ended_at,
    )


def entry_without_accounting(
    job_id: str, known: Sequence[Part], markers: Mapping[int | None, Marker]
) -> AccountingEntry | None:
    """Return what slurmctld and the markers (by element, None for a plain job) say of a job; None is nothing.

    slurmctld knows more than a marker (a time limit, a node that broke) and comes first. While it holds the job
    unfinished, so it is: a script that wrote its marker may be requeued.
    """
    parts = list(known)
    if any(not phase_of(part.state).ended for part in parts):
        return accounting_entry(job_id, parts, "scontrol")
    seen = {part.suffix for part in parts}
    from_markers = [marker_part(marker, element) for element, marker in sorted(markers.items(), key=_by_element)]
    added = [part for part in from_markers if part.suffix not in seen]
    if parts and all(part.suffix is None or part.suffix.startswith("+") for part in parts):
        added = []  # slurmctld knows the whole of a job that is no array
    if not parts and not added:
        return None
    return accounting_entry(job_id, parts + added, "scontrol" if parts else "marker")


def _by_element(item: tuple[int | None, Marker]) -> int:
    return -1 if item[0] is None else item[0]
