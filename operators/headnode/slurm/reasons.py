"""Why a job waits, in plain words: Slurm's pending reasons, what each means for the wait and what to do about it.

Words and meanings are those of squeue(1), JOB REASON CODES, and of Slurm's list of job reason codes (20.11 to 26.05);
the descriptions that slurmctld shows in place of a code are those of ``src/slurmctld/job_mgr.c``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final


class Prospect(Enum):
    """Whether a job that waits for this reason will start."""

    WAITS = "waits"  # it will start by itself
    NEEDS_PERSON = "needs a person"  # it will not start until somebody acts
    NEVER_STARTS = "will never start"  # as it stands: the job, or a limit of the site, must change


@dataclass(frozen=True, kw_only=True)
class PendingReason:
    """What a reason means. ``code`` is Slurm's word, ``advice`` what to do, None where waiting is all there is."""

    code: str
    prospect: Prospect
    words: str
    advice: str | None = None


_W, _P, _N = Prospect.WAITS, Prospect.NEEDS_PERSON, Prospect.NEVER_STARTS
_ASK = "ask the site's support"
_SCONTROL_RELEASE = "`scontrol release <job id>` lets it go"

# From a code's exact spelling; families of limits follow below.
_CODES: Final[dict[str, tuple[Prospect, str, str | None]]] = {
    "Priority": (_W, "jobs of higher priority are before it", None),
    "Resources": (_W, "it waits for nodes to become free", None),
    "WaitingForScheduling": (_W, "the scheduler has not looked at it yet", None),
    "SchedDefer": (_W, "the scheduler starts no job at the moment it is submitted", None),
    "BeginTime": (_W, "its earliest time to start has not come", None),
    "Dependency": (_W, "it waits for another job", None),
    "DependencyNeverSatisfied": (
        _N,
        "it waits for another job that ended otherwise than it must",
        "cancel it, or give it another dependency with `scontrol update`",
    ),
    "Prolog": (_W, "its nodes are being prepared", None),
    "Cleaning": (_W, "it was requeued, and its last run is still being cleaned up", None),
    "Licenses": (_W, "all licenses that it needs are in use", None),
    "Reservation": (_W, "it waits for its reservation to begin", None),
    "ReservationDeleted": (_P, "its reservation was deleted", "release it without the reservation, or cancel it"),
    "JobHeldUser": (_P, "its owner holds it", _SCONTROL_RELEASE),
    "JobHeldAdmin": (_P, "an administrator holds it", f"only an administrator can release it: {_ASK}"),
    "JobArrayTaskLimit": (_W, "as many elements of its array run as may at once", None),
    "PartitionTimeLimit": (
        _N,
        "it asks for more time than the partition gives",
        "ask for less time or another partition; `sinfo -o '%P %l'` lists the limits",
    ),
    "PartitionNodeLimit": (
        _P,
        "it asks for more nodes than the partition gives, or has in working order",
        "ask for fewer nodes or another partition; `sinfo -s` lists them",
    ),
    "PartitionConfig": (_N, "it asks for what its partition does not give", "name another partition, or ask for less"),
    "PartitionDown": (_P, "its partition is down", f"{_ASK} when it will be up again"),
    "PartitionInactive": (_P, "its partition starts no jobs at present", f"{_ASK} when it will"),
    "NodeDown": (_P, "a node that it needs is down", "leave out the node, or wait for its repair"),
    "FrontEndDown": (_P, "no front end node is up", _ASK),
    "ReqNodeNotAvail": (
        _W,
        "nodes that it needs are down, drained or reserved, e.g. for a maintenance",
        "`scontrol show reservation` lists what is reserved; a shorter time_limit may fit before it",
    ),
    "BadConstraints": (_N, "no node has all that it asks for", "change its constraint, memory, CPUs or GPUs"),
    "MaxMemPerLimit": (_N, "it asks for more memory than the site gives to one job", "ask for less memory"),
    "InvalidAccount": (_N, "its account is not valid (any more)", "`sacctmgr show assoc user=$USER` lists yours"),
    "InvalidQOS": (_N, "its QOS is not valid (any more)", "`sacctmgr show assoc user=$USER` lists yours"),
    "AccountNotAllowed": (_N, "its partition does not take its account", "name another account or partition"),
    "QOSNotAllowed": (_N, "its partition or account does not take its QOS", "name another QOS or partition"),
    "QOSUsageThreshold": (_W, "its account used more than its QOS allows at its priority", "name another QOS"),
    "AccountingPolicy": (_W, "a limit of its account or QOS stands in the way", None),
    "DeadLine": (_N, "it can't end before its deadline", "cancel it, or give it more time"),
    "JobLaunchFailure": (_P, "it could not be launched and is held", f"look at its script, then {_SCONTROL_RELEASE}"),
    "JobHoldMaxRequeue": (_P, "it was requeued as often as may be, and is held", _SCONTROL_RELEASE),
    "SystemFailure": (_P, "Slurm, a file system or the network failed under it", _ASK),
    "BurstBufferOperation": (_P, "a burst buffer operation failed", "look at its burst buffer directives"),
    "BurstBufferResources": (_W, "it waits for space in the burst buffer", None),
    "BurstBufferStageIn": (_W, "its data are being copied into the burst buffer", None),
    "PowerNotAvail": (_W, "the site's limit of power is reached", None),
    "PowerReserved": (_W, "power is reserved for other jobs", None),
    "MaxPoweredUpNodes": (_W, "as many nodes are powered up as may be", None),
    "MpiPortsBusy": (_W, "all ports for MPI are in use", None),
    "FedJobLock": (_W, "another cluster of the federation is looking at it", None),
}

_LIMITS = "`sacctmgr show assoc user=$USER` and `sacctmgr show qos` list the limits"
_BUDGET = "until its budget is renewed or raised; `sshare` shows what is left"
# The first that matches counts. A limit for one job or node is never met by waiting; one for all jobs of a group is.
_FAMILIES: Final[tuple[tuple[str, Prospect, str, str | None], ...]] = (
    (
        r"(Assoc|QOS)Grp\w*RunMinutes(Limit)?",
        _W,
        "the jobs of its account or QOS that run hold as much as they may together",
        None,
    ),
    (
        r"(Assoc|QOS)Grp\w*Minutes(Limit)?|(Assoc|QOS)GrpWall(Limit)?",
        _W,
        "the budget of its account or QOS is used up",
        _BUDGET,
    ),
    (r"(Assoc|QOS)Grp\w+", _W, "the jobs of its account or QOS use as much as they may together", None),
    (
        r"QOSMin\w+",
        _N,
        "it asks for less than its QOS is meant for",
        "ask for more, or name another QOS",
    ),
    (
        r"(Assoc|QOS)Max\w*(PerJob|PerNode)(Limit)?",
        _N,
        "it asks for more than its account or QOS gives to one job",
        f"ask for less, or name another account or QOS; {_LIMITS}",
    ),
    (
        r"(Assoc|QOS)Max\w+|(Association|QOS)JobLimit|Max\w+PerAccount",
        _W,
        "as many jobs (or as much) of this user or account run as may",
        None,
    ),
    (
        r"(Association|QOS)(Resource|Time)Limit",
        _W,
        "a limit of its account or QOS is reached",
        _LIMITS,
    ),
)
_DESCRIPTIONS: Final[tuple[tuple[str, Prospect, str, str | None], ...]] = (
    (
        r"launch failed requeued held",
        _P,
        "it could not be launched, was requeued and is held",
        f"look at its script and directory, then {_SCONTROL_RELEASE}",
    ),
    (
        r"user env retrieval failed requeued held",
        _P,
        "its environment could not be read, it was requeued and is held",
        f"look at the login shell's start-up files, then {_SCONTROL_RELEASE}",
    ),
    (r".*requeued.*held.*", _P, "it was requeued and is held", _SCONTROL_RELEASE),
    (
        r"Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions",
        _W,
        "its nodes are down, drained or kept for other jobs",
        "`sinfo -R` lists nodes out of order",
    ),
)
# Patterns take long for texts that are no reasons.
_LONGEST: Final = 1000
_NOT_A_REASON: Final = frozenset({"", "None", "(null)"})


def explain_reason(reason: str | None, *, job_id: str | None = None) -> PendingReason | None:
    """Return what squeue's ``reason`` (%r) means; None where there is none, or one that this table does not hold.

    The advice names ``job_id`` where it is given.

    Slurm adds details after a comma (``ReqNodeNotAvail, UnavailableNodes:n1``), and squeue's other format puts
    parentheses around it.
    """
    text = (reason or "")[:_LONGEST].strip().removeprefix("(").removesuffix(")")
    if text in _NOT_A_REASON:
        return None
    found = _find(text)
    if found is not None and found.advice is not None and job_id is not None:
        return replace(found, advice=found.advice.replace("<job id>", job_id))
    return found


def _find(text: str) -> PendingReason | None:
    code = text.partition(",")[0].strip()
    if code in _CODES:
        prospect, words, advice = _CODES[code]
        return PendingReason(code=code, prospect=prospect, words=words, advice=advice)
    for name, patterns, flags in ((text, _DESCRIPTIONS, re.IGNORECASE), (code, _FAMILIES, re.NOFLAG)):
        for pattern, prospect, words, advice in patterns:
            if re.fullmatch(pattern, name, flags):
                return PendingReason(code=name, prospect=prospect, words=words, advice=advice)
    return None


def describe_reason(reason: str, *, job_id: str | None = None) -> str:
    """Return Slurm's reason with its meaning in plain words, and what to do where the job won't start by itself."""
    meaning = explain_reason(reason, job_id=job_id)
    if meaning is None:
        return reason
    if meaning.prospect is Prospect.WAITS:
        return f"{reason}: {meaning.words}{_then(meaning.advice)}"
    what = "it will never start as it is" if meaning.prospect is _N else "it will not start by itself"
    return f"{reason}: {meaning.words}; {what}{_then(meaning.advice)}"


def _then(advice: str | None) -> str:
    return f"; {advice}" if advice else ""
