"""Slurm's client commands as lists of arguments. Answers are read by ``headnode.slurm.answers``."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

TAG_PREFIX: Final = "headnode:"

SQUEUE_FORMAT: Final = "%F|%i|%T|%N|%S|%e|%r"  # the reason is free text and comes last
SACCT_FIELDS: Final = (
    "JobID",
    "State",
    "ExitCode",
    "ElapsedRaw",
    "AllocCPUS",
    "TotalCPU",
    "MaxRSS",
    "NodeList",
)
SQUEUE_TAG_FORMAT: Final = "%F|%T|%Z|%k"
SACCT_TAG_FIELDS: Final = ("JobID", "State", "WorkDir", "Comment")


def squeue(job_ids: Collection[str]) -> list[str]:
    """Ask for the unfinished ones among ``job_ids``, one line for each (and for each started array element).

    squeue fails on a single unknown id, but is silent on unknown ones among several (src/squeue/opts.c), so one id
    is asked for twice.
    """
    ids = sorted(job_ids, key=int)
    if len(ids) == 1:
        ids *= 2
    return ["squeue", "--noheader", f"--jobs={','.join(ids)}", f"--format={SQUEUE_FORMAT}"]


def sacct(job_ids: Collection[str]) -> list[str]:
    """Ask accounting for ``job_ids`` with their steps, from the beginning of time."""
    ids = ",".join(sorted(job_ids, key=int))
    return ["sacct", "--noheader", "--parsable2", f"--jobs={ids}", f"--format={','.join(SACCT_FIELDS)}"]


def squeue_tags(user: str | None = None) -> list[str]:
    """Ask for all unfinished jobs of one user with their tags; the login's own user by default."""
    who = f"--user={user}" if user else "--me"
    return ["squeue", "--noheader", who, f"--format={SQUEUE_TAG_FORMAT}"]


def sacct_tags(since: str = "now-3days") -> list[str]:
    """Ask accounting for all of the login user's jobs since ``since`` with their tags."""
    fields = ",".join(SACCT_TAG_FIELDS)
    return [
        "sacct",
        "--noheader",
        "--parsable2",
        "--allocations",
        f"--starttime={since}",
        f"--format={fields}",
    ]


def scancel(job_ids: Collection[str]) -> list[str]:
    """Cancel ``job_ids``, whole arrays included."""
    return ["scancel", *sorted(job_ids, key=int)]


def tag(key: str) -> str:
    """Return the comment that marks the job of ``key``."""
    return TAG_PREFIX + key
