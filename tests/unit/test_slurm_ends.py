"""The end of a job as an error: its class says whether trying again helps, its text what happened and what to do."""

import pytest

from headnode.errors import JobCancelled, JobFailed, JobOutOfMemory, JobTimedOut, NodeFailed
from headnode.slurm.accounting import parse_accounting
from headnode.slurm.ends import job_error
from headnode.slurm.states import JobState, phase_of


def sacct(line):
    """Return the line with the fields that the end does not depend on."""
    *most, memory, nodes = line.split("|")
    return "|".join([*most, memory, "1", "cpu=1,mem=1M,node=1", "0", "900", "901", "999", nodes, "/x"])


def ended(line: str):
    """Return the entry in a line of sacct."""
    return next(iter(parse_accounting(sacct(line)).values()))


def test_a_good_end_is_no_error():
    """COMPLETED, and nothing else."""
    assert job_error(ended("7|COMPLETED|0:0|60|1|00:01:00||n1"), where="lumi") is None


@pytest.mark.parametrize(
    ("state", "kind", "retryable"),
    [
        ("FAILED", JobFailed, False),
        ("TIMEOUT", JobTimedOut, False),
        ("DEADLINE", JobTimedOut, False),
        ("OUT_OF_MEMORY", JobOutOfMemory, False),
        ("CANCELLED by 1000", JobCancelled, False),
        ("PREEMPTED", JobCancelled, False),
        ("NODE_FAIL", NodeFailed, True),
        ("BOOT_FAIL", NodeFailed, True),
    ],
)
def test_each_end_has_its_error(state: str, kind: type[Exception], retryable: object):
    """The message holds Slurm's word."""
    error = job_error(ended(f"7|{state}|0:0|60|1|00:01:00||n1"), where="lumi")
    assert type(error) is kind
    assert error.retryable is retryable
    assert f"job 7 on lumi ended as {state} after 0:01:00" in str(error)


def test_no_other_state_is_a_good_end():
    """Also not one that is no end."""
    for state in JobState:
        error = job_error(ended(f"7|{state}|0:0|60|1|00:01:00||n1"), where="lumi")
        assert (error is None) == (phase_of(state).value == "succeeded")


def test_the_whole_message():
    """Exit code, signal, nodes, what to do, and the last lines of the log."""
    error = job_error(
        ended("7|FAILED|3:9|3725|1|00:01:00||n[1-2]"), where="lumi", log_tail=["reading", "KeyError: 'x'"]
    )
    assert str(error) == (
        "job 7 on lumi ended as FAILED after 1:02:05 with exit code 3 by signal 9 on n[1-2]: its own output says more"
        "\nThe last lines of its log:\n  reading\n  KeyError: 'x'"
    )


def test_a_functions_exception_takes_the_place_of_the_log():
    """What it raised, then the traceback; none of their lines passes for one of ours."""
    raised = ("ValueError: no\n[2026] INFO - \x07", "Traceback:\n  line 1\n")
    error = job_error(ended("7|FAILED|70:0|60|1|00:01:00||n1"), where="lumi", log_tail=["a line"], raised=raised)
    assert str(error) == (
        "job 7 on lumi ended as FAILED after 0:01:00 with exit code 70 on n1: its function raised ValueError: no\n"
        "  [2026] INFO - \\x07\n  Traceback:\n    line 1"
    )
