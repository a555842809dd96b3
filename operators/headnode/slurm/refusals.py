"""What sbatch's error messages mean for whoever would send the job again.

The strings are those of Slurm's ``src/common/slurm_errno.c``; the classes are a reading of ``src/sbatch/sbatch.c``
and ``src/common/slurm_protocol_api.c``.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

from headnode.slurm.visible import visible


class Refusal(Enum):
    """Whether a job may exist after the message, and whether sending it again can help."""

    NOT_SUBMITTED = "nothing was submitted; the same command may pass later"
    OUTCOME_UNKNOWN = "a job may exist; look for it before anything is sent again"
    PERMANENT = "nothing was submitted, and the same command can never pass"
    POLICY = "nothing was submitted; a limit or a state of the site stands in the way"


_MESSAGES: Final[tuple[tuple[Refusal, tuple[str, ...]], ...]] = (
    (
        Refusal.NOT_SUBMITTED,
        (
            "Unable to contact slurm controller (connect failure)",
            "Rate limit exceeded, please retry",
            "Connection timed out establishing",
            "Communication connection failure",
            "standby mode",
            "MaxJobCount limit reached",
            "Requested nodes are busy",
            "Required ports are in use",
            "I/O error writing script/environment to file",
            "Protocol authentication error",
            "Invalid authentication credential",
            "Authentication credential expired",
        ),
    ),
    (
        Refusal.POLICY,
        (
            "System submissions disabled",
            "Job violates accounting/QOS policy",
            "breached requested QOS usage threshold",
            "Requested partition configuration not available now",
            "Required node not available",
            "Required partition not available",
            "Partition in DOWN state",
            "Requested reservation is not usable now",
        ),
    ),
    (
        Refusal.PERMANENT,
        (
            "Requested node configuration is not available",
            "Requested time limit is invalid",
            "Time limit specification required",
            "Invalid partition name specified",
            "No partition specified or system default partition",
            "Invalid account or account/partition combination",
            "Invalid qos specification",
            "Invalid wckey specification",
            "Invalid feature specification",
            "Invalid license specification",
            "Invalid generic resource (gres) specification",
            "Invalid GRES specification",
            "Requested GRES option unsupported",
            "mutually exclusive",
            "User's group not permitted to use this partition",
            "Access/permission denied",
            "More processors requested than permitted",
            "Node count specification invalid",
            "CPU count specification invalid",
            "Task count specification invalid",
            "Memory required by task is not available",
            "Memory specification can not be satisfied",
            "Job dependency problem",
            "Circular job dependency",
            "Invalid job array specification",
            "Pathname of a file, directory or other parameter too long",
            "Job script not specified",
            "Environment is missing in job",
            "without the current working directory specified",
            "Access denied to requested reservation",
            "Requested reservation is invalid",
            "Unable to open file",
            "This does not look like a batch script",
            "Batch script contains DOS line breaks",
            "Incompatible versions of client and server code",
            "unrecognized option",
            "invalid option",
            "Invalid --",
            "Invalid directive found in batch script",
            "requires an argument",
            "command not found",
        ),
    ),
)


_VERDICT: Final = re.compile(r"Batch job submission failed: (.*)")
_JOB_ID: Final = re.compile(r"^[0-9]+(?:;\S*)?$", re.MULTILINE)


def classify_refusal(text: str) -> Refusal:
    """Return what sbatch's output ``text`` means; whatever is not known may have submitted a job.

    sbatch tries again by itself, so that its last verdict alone counts where it gives one.
    """
    if _JOB_ID.search(text):
        return Refusal.OUTCOME_UNKNOWN
    verdicts = _VERDICT.findall(text)
    folded = (verdicts[-1] if verdicts else text).casefold()
    for refusal, messages in _MESSAGES:
        if any(message.casefold() in folded for message in messages):
            return refusal
    return Refusal.OUTCOME_UNKNOWN


_REMEDIES: Final[tuple[tuple[str, str], ...]] = (
    ("partition name", "`sinfo -s` on the cluster lists the partitions"),
    ("system default partition", "name a partition; `sinfo -s` on the cluster lists them"),
    ("account or account/partition", "`sacctmgr show assoc user=$USER` on the cluster lists your accounts"),
    ("qos", "`sacctmgr show assoc user=$USER format=account,qos` on the cluster lists your QOSes"),
    ("time limit", "`sinfo -o '%P %l'` on the cluster lists the partitions' limits"),
    ("node configuration is not available", "ask for fewer CPUs, GPUs or less memory, or name another partition"),
    ("Memory", "ask for less memory, or name another partition"),
    ("GRES", "`sinfo -o '%P %G'` on the cluster lists the GPUs"),
    ("gres", "`sinfo -o '%P %G'` on the cluster lists the GPUs"),
    ("accounting/QOS policy", "a limit of your account or QOS is reached; wait for own jobs to end or ask for less"),
    ("command not found", "Slurm's commands are not in PATH; `headnode check CONN_ID` finds them and names the fix"),
    ("option", "`man sbatch` on the cluster lists the options of its version"),
)


def remedy_for(message: str) -> str:
    """Return what to do about a refusal, in a few words."""
    found = (remedy for mark, remedy in _REMEDIES if mark in message)
    return next(found, "the job asks for something that this cluster does not give")


def message_of(text: str) -> str:
    """Return the telling part of sbatch's output, on one line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if "error" in line.casefold()] or lines or ["sbatch said nothing"]
    last = telling[-1]
    for prefix in ("sbatch: error: Batch job submission failed: ", "sbatch: error: "):
        last = last.removeprefix(prefix)
    return visible(last[:500])
