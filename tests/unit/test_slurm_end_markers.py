"""Ended jobs without accounting: slurmctld's memory as literal transcripts, and the markers that jobs leave."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headnode.errors import UnreadableAnswer
from headnode.slurm.end_markers import Marker, entry_without_accounting, parse_marker, parse_scontrol
from headnode.slurm.states import JobState, Phase, phase_of

# Slurm 22.05.8, SLURM_TIME_FORMAT=%s
JOB = (
    "JobId=1 JobName=wrap UserId=root(0) GroupId=root(0) MCS_label=N/A Priority=4294901759 Nice=0 Account=root"
    " QOS=normal JobState=COMPLETED Reason=None Dependency=(null) Requeue=1 Restarts=0 BatchFlag=1 Reboot=0"
    " ExitCode=0:0 RunTime=00:00:03 TimeLimit=00:05:00 TimeMin=N/A SubmitTime=1795270509 EligibleTime=1795270509"
    " AccrueTime=1795270509 StartTime=1795270510 EndTime=1795270513 Deadline=N/A SuspendTime=None SecsPreSuspend=0"
    " LastSchedEval=1795270509 Scheduler=Backfill Partition=batch AllocNode:Sid=localhost:1084 ReqNodeList=(null)"
    " ExcNodeList=(null) NodeList=n1 BatchHost=n1 NumNodes=1 NumCPUs=2 NumTasks=1 CPUs/Task=1 ReqB:S:C:T=0:0:*:*"
    " TRES=cpu=2,mem=500M,node=1,billing=1 Socks/Node=* NtasksPerN:B:S:C=0:0:*:* CoreSpec=* MinCPUsNode=1"
    " MinMemoryCPU=500M MinTmpDiskNode=0 Features=(null) DelayBoot=00:00:00 OverSubscribe=OK Contiguous=0"
    " Licenses=(null) Network=(null) Command=(null) WorkDir=/w/a dir/k1/work StdErr=/w/e StdIn=/dev/null StdOut=/w/o"
    " Power= \n"
)
FAILED = JOB.replace("JobState=COMPLETED", "JobState=FAILED").replace("ExitCode=0:0", "ExitCode=3:0")
ELEMENT = JOB.replace("JobId=1 ", "JobId=8 ArrayJobId=2 ArrayTaskId=5 ArrayTaskThrottle=2 ")
PENDING = ELEMENT.replace("ArrayTaskId=5", "ArrayTaskId=6-9%2").replace("=COMPLETED", "=PENDING")
COMPONENT = FAILED.replace("JobId=1 ", "JobId=4 HetJobId=3 HetJobOffset=1 ")
LEADER = JOB.replace("JobId=1 ", "JobId=3 HetJobId=3 HetJobOffset=0 ")


def entries(text, markers=None, keys=None):
    """Return the entries of all jobs in the answer."""
    return {
        job_id: entry_without_accounting(job_id, parts, markers or {})
        for job_id, parts in parse_scontrol(text, keys).items()
    }


def test_an_ended_job():
    """State, exit code, times and resources."""
    entry = entries(JOB)["1"]
    assert (entry.state, entry.exit_code, entry.nodes, entry.source) == (JobState.COMPLETED, 0, "n1", "scontrol")
    assert (entry.submitted_at, entry.started_at, entry.ended_at) == (1795270509, 1795270510, 1795270513)
    assert (entry.usage.elapsed_seconds, entry.usage.allocated_cpus, entry.usage.node_count) == (3, 2, 1)
    assert entries(FAILED)["1"].exit_code == 3


def test_arrays_and_heterogeneous_jobs():
    """Elements and components are taken together; what has not started keeps the whole unfinished."""
    assert entries(ELEMENT)["2"].element_ends[5].state is JobState.COMPLETED
    waiting = entries(ELEMENT + PENDING)["2"]
    assert (waiting.state, waiting.elements) == (JobState.PENDING, 5)
    assert (entries(LEADER + COMPONENT)["3"].state, entries(LEADER + COMPONENT)["3"].elements) == (JobState.FAILED, 2)


def test_another_job_with_the_same_id():
    """Job ids come round again."""
    assert entries(JOB, keys={"1": "k1"}).keys() == {"1"}
    assert entries(JOB, keys={"1": "k2"}) == {}


def test_a_name_that_looks_like_an_end():
    """The job's name may hold anything; it is no end."""
    running = JOB.replace("JobState=COMPLETED", "JobState=RUNNING")
    named = running.replace("JobName=wrap", "JobName=x JobState=COMPLETED Reason=None")
    assert entries(named)["1"].state is JobState.RUNNING


@pytest.mark.parametrize("text", ["JobId=1 JobName=x", JOB[:300], "nothing", JOB.replace("ExitCode=0:0", "ExitCode=x")])
def test_a_cut_answer_is_unreadable(text):
    """Half a record is none."""
    with pytest.raises(UnreadableAnswer):
        parse_scontrol(text)


def test_markers():
    """One line of five numbers, or nothing."""
    assert parse_marker("3 100 200 17 0\n") == Marker(exit_code=3, started_at=100, ended_at=200, job_id="17")
    for other in ("", "3", "3 100 200", "x 100 200 17 0", "0 100 200 17 0 more", "-1 100 200 17 0"):
        assert parse_marker(other) is None


@given(st.text())
def test_no_text_is_a_success_by_chance(text):
    """Only five numbers of which the first is 0."""
    marker = parse_marker(text)
    assert marker is None or len(text.split()) == 5


def test_what_slurmctld_has_forgotten_the_marker_knows():
    """Alone, and for single elements; a signal is told from an exit code."""
    good, bad = parse_marker("0 100 200 17 0"), parse_marker("143 100 150 17 0")
    entry = entry_without_accounting("17", (), {None: good})
    assert (entry.state, entry.source, entry.usage.elapsed_seconds) == (JobState.COMPLETED, "marker", 100)
    entry = entry_without_accounting("17", (), {None: bad})
    assert (entry.state, entry.exit_code, entry.signal) == (JobState.FAILED, 143, 15)
    entry = entries(ELEMENT, {4: bad, 5: bad, 6: good})["2"]
    assert {element: end.state.value for element, end in entry.element_ends.items()} == {
        4: "FAILED",
        5: "COMPLETED",  # slurmctld knows better
        6: "COMPLETED",
    }
    assert entry_without_accounting("17", (), {}) is None


def test_a_marker_never_ends_a_job_that_slurmctld_holds_unfinished():
    """A requeued job runs again."""
    running = JOB.replace("JobState=COMPLETED", "JobState=RUNNING")
    entry = entries(running, {None: parse_marker("0 100 200 1 0")})["1"]
    assert phase_of(entry.state) is Phase.RUNNING
