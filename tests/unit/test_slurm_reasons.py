"""Why a job waits: each of Slurm's reasons says whether waiting helps, and what does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headnode.slurm.reasons import Prospect, describe_reason, explain_reason

# The words of libslurm 22.05, whole (``strings``), which squeue shows for jobs that have not ended.
TRES = ("Cpu", "Mem", "Node", "Energy", "GRES", "License", "BB", "Billing", "Unknown")
WAITS = (
    *[
        "Priority",
        "Resources",
        "BeginTime",
        "Dependency",
        "Prolog",
        "Cleaning",
        "Licenses",
        "Reservation",
        "JobArrayTaskLimit",
    ],
    *[
        "SchedDefer",
        "ReqNodeNotAvail",
        "QOSUsageThreshold",
        "AccountingPolicy",
        "BurstBufferResources",
        "BurstBufferStageIn",
    ],
    *["PowerNotAvail", "PowerReserved", "FedJobLock", "AssociationJobLimit", "AssociationResourceLimit", "QOSJobLimit"],
    *["AssociationTimeLimit", "QOSTimeLimit", "QOSResourceLimit", "AssocMaxJobsLimit", "AssocMaxSubmitJobLimit"],
    *["QOSMaxJobsPerUserLimit", "QOSMaxCpuPerUserLimit", "QOSMaxSubmitJobPerUserLimit", "MaxJobsPerAccount"],
    *["AssocGrpWallLimit", "QOSGrpJobsLimit", "AssocGrpCPUMinutesLimit", "QOSGrpCPURunMinutesLimit", "QOSGrpMemLimit"],
    *(f"{who}Grp{what}{unit}" for who in ("Assoc", "QOS") for what in TRES for unit in ("", "Minutes", "RunMinutes")),
    *(f"QOSMax{what}PerUser" for what in TRES),
    *(f"Max{what}PerAccount" for what in TRES),
    "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions",
)
NEEDS_A_PERSON = (
    *[
        "JobHeldUser",
        "JobHeldAdmin",
        "PartitionDown",
        "PartitionInactive",
        "PartitionNodeLimit",
        "NodeDown",
        "FrontEndDown",
    ],
    *["ReservationDeleted", "SystemFailure", "JobLaunchFailure", "BurstBufferOperation", "JobHoldMaxRequeue"],
    "launch failed requeued held",
    "job requeued in held state",
    "user env retrieval failed requeued held",
)
NEVER_STARTS = (
    *[
        "DependencyNeverSatisfied",
        "PartitionTimeLimit",
        "PartitionConfig",
        "BadConstraints",
        "MaxMemPerLimit",
        "DeadLine",
    ],
    *["InvalidAccount", "InvalidQOS", "AccountNotAllowed", "QOSNotAllowed", "QOSMinCpuNotSatisfied"],
    *["QOSMaxWallDurationPerJobLimit", "AssocMaxWallDurationPerJobLimit", "AssocMaxCpuMinutesPerJobLimit"],
    *(f"{who}Max{what}{per}" for who in ("Assoc", "QOS") for what in TRES for per in ("PerJob", "PerNode")),
    *(f"QOSMin{what}" for what in TRES),
)


@pytest.mark.parametrize(
    ("reason", "prospect"),
    [
        *((reason, Prospect.WAITS) for reason in WAITS),
        *((reason, Prospect.NEEDS_PERSON) for reason in NEEDS_A_PERSON),
        *((reason, Prospect.NEVER_STARTS) for reason in NEVER_STARTS),
    ],
)
def test_every_reason_says_whether_waiting_helps(reason: str, prospect: Prospect):
    """And whoever must act is told what to do."""
    meaning = explain_reason(reason)
    assert meaning is not None
    assert meaning.prospect is prospect
    assert prospect is Prospect.WAITS or meaning.advice


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("Priority", "Priority: jobs of higher priority are before it"),
        (
            "JobHeldUser",
            "JobHeldUser: its owner holds it; it will not start by itself; `scontrol release <job id>` lets it go",
        ),
        (
            "DependencyNeverSatisfied",
            (
                "DependencyNeverSatisfied: it waits for another job that ended otherwise than it must; it will never"
                " start as it is; cancel it, or give it another dependency with `scontrol update`"
            ),
        ),
        ("AWordOfTomorrow", "AWordOfTomorrow"),
    ],
)
def test_the_sentence_for_the_log(reason: str, text: str):
    """Slurm's own word comes first; a word that is not known is shown as it is."""
    assert describe_reason(reason) == text


@pytest.mark.parametrize(
    "shown", ["ReqNodeNotAvail, UnavailableNodes:n[1-2]", "(ReqNodeNotAvail, Reserved for maintenance)"]
)
def test_details_after_the_code_are_kept(shown: str):
    """Nodes, or a reservation; squeue puts parentheses around it in its other format."""
    meaning = explain_reason(shown)
    assert meaning is not None
    assert meaning.code == "ReqNodeNotAvail"
    assert describe_reason(shown).startswith(f"{shown}: nodes that it needs")


@pytest.mark.parametrize("reason", [None, "", "None", "(null)", "NonZeroExitCode"])
def test_what_is_no_reason_to_wait_is_not_explained(reason: str | None):
    """Slurm writes None where there is none, and also says why jobs ended."""
    assert explain_reason(reason) is None


@given(st.text())
def test_any_text_is_shown(reason: str):
    """Whatever a site's plugin writes."""
    assert describe_reason(reason).startswith(reason)
