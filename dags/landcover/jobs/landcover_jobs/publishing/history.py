"""Who published and rolled back what, and when: `history.jsonl`, a line an action, only ever added to."""

from __future__ import annotations

import json
import os
import pwd
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from landcover_jobs.job import StepError

FILE = "history.jsonl"
BY_VARIABLE = "LANDCOVER_BY"
Action = Literal["publish", "rollback", "remove"]


@dataclass(frozen=True)
class Entry:
    """One line."""

    time: str
    action: Action
    year: int
    version: str
    by: str


def read_history(published: Path) -> tuple[Entry, ...]:
    """Return what has happened, the oldest first; a last line that a crash has cut short is left out.

    Raises:
        StepError: a whole line is no entry.
    """
    path = published / FILE
    if not path.is_file():
        return ()
    whole, _, _ = path.read_bytes().rpartition(b"\n")
    entries = []
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            entries.append(Entry(**json.loads(line)))
        except (ValueError, TypeError) as error:
            raise StepError(f"{path}, line {number}, is no entry ({error}): mend or remove that line") from error
    return tuple(entries)


def add_to_history(published: Path, action: Action, year: int, version: str) -> None:
    """Add a line, over what a crash has cut short, and have it on the disk; only for who holds the lock."""
    path = published / FILE
    entry = Entry(datetime.now(tz=UTC).isoformat(timespec="seconds"), action, year, version, who())
    line = json.dumps(asdict(entry), sort_keys=True) + "\n"
    known = path.read_bytes() if path.is_file() else b""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        os.ftruncate(handle, known.rfind(b"\n") + 1)
        os.lseek(handle, 0, os.SEEK_END)
        os.write(handle, line.encode())
        os.fsync(handle)
    finally:
        os.close(handle)


def who() -> str:
    """Return who asked for it: $LANDCOVER_BY, which the DAG may set, else the user of the job."""
    named = os.environ.get(BY_VARIABLE) or os.environ.get("SLURM_JOB_USER")
    if named:
        return named
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container may run under a number that has no name
        return str(os.getuid())
