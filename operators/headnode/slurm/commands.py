"""Slurm's client commands as lists of arguments. Answers are read by ``headnode.slurm.answers``.

Every command prints times as seconds since the epoch (``SLURM_TIME_FORMAT=%s``), so that no time zone matters, and
lists of array elements in full (``SLURM_BITSTR_LEN=0``).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

TAG_PREFIX: Final = "headnode:"

# The working directory may hold bars where it is somebody else's, and comes last.
SQUEUE_FORMAT: Final = "%i|%T|%N|%S|%e|%V|%r|%Z"
SACCT_FIELDS: Final = (
    "JobID",
    "State",
    "ExitCode",
    "ElapsedRaw",
    "AllocCPUS",
    "TotalCPU",
    "MaxRSS",
    "NTasks",
    "AllocTRES",
    "ConsumedEnergyRaw",
    "Submit",
    "Start",
    "End",
    "NodeList",
    "WorkDir",
)
SQUEUE_TAG_FORMAT: Final = "%i|%T|%Z|%k"
SACCT_TAG_FIELDS: Final = ("JobID", "State", "WorkDir", "Comment")
_PLAIN: Final = ("env", "SLURM_TIME_FORMAT=%s", "SLURM_BITSTR_LEN=0")


def squeue(job_ids: Collection[str]) -> list[str]:
    """Ask for the unfinished ones among ``job_ids``, one line for each (and for each started array element).

    squeue fails on a single unknown id, but is silent on unknown ones among several (src/squeue/opts.c), so one id
    is asked for twice.
    """
    ids = sorted(job_ids, key=int)
    if len(ids) == 1:
        ids *= 2
    return [*_PLAIN, "squeue", "--noheader", f"--jobs={','.join(ids)}", f"--format={SQUEUE_FORMAT}"]


def sacct(job_ids: Collection[str]) -> list[str]:
    """Ask accounting for ``job_ids`` with their steps, from the beginning of time.

    Job ids come round again and requeued jobs have several records, so all of them are asked for.
    """
    ids = ",".join(sorted(job_ids, key=int))
    options = ("--noheader", "--parsable2", "--duplicates", f"--jobs={ids}", f"--format={','.join(SACCT_FIELDS)}")
    return [*_PLAIN, "sacct", *options]


def scontrol_show_job(job_id: str) -> list[str]:
    """Ask slurmctld for one job (with all of its elements); it knows ended jobs for MinJobAge (300 s by default)."""
    return [*_PLAIN, "scontrol", "--oneliner", "show", "job", job_id]


def scontrol_show_config() -> list[str]:
    """Ask slurmctld for its configuration."""
    return ["scontrol", "show", "config"]


def squeue_tags(user: str | None = None) -> list[str]:
    """Ask for all jobs of one user that slurmctld knows, with their tags; the login's own user by default."""
    who = f"--user={user}" if user else "--me"
    return ["squeue", "--noheader", "--states=all", who, f"--format={SQUEUE_TAG_FORMAT}"]


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
