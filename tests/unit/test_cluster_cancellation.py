"""Ending a task's job against a scripted host: cancelled means seen to be gone."""

import uuid

import pytest

from headnode.cluster.cancellation import withdraw
from headnode.cluster.place import JobPlace
from headnode.cluster.procedures import drive_sync
from headnode.cluster.queries import cancel
from headnode.errors import CommandRefused, ControllerUnavailable, UnreadableAnswer
from headnode.slurm.record import Labels
from headnode.ssh.port import Answer
from headnode.ssh.scripted import ScriptedTransport

PLACE = JobPlace(
    work_directory="/w",
    deployment_id="d",
    labels=Labels(dag_id="d", run_id="r", task_id="t"),
    owner=str(uuid.UUID(int=7)),
)
RUNNING = "7|7|RUNNING|n1|a|b|None\n"
COMPLETING = "7|7|COMPLETING|n1|a|b|None\n"


def says(stdout="", stderr="", status=0):
    """Return a framed answer."""
    framed = f"headnode:begin\n{stdout}\nheadnode:end:{status}\n"
    return Answer(stdout=framed.encode(), stderr=stderr.encode(), exit_status=0)


def converse(procedure, *answers):
    """Run the procedure against the script; return its result and the number of its pauses."""
    host, naps = ScriptedTransport(answers), []
    result = drive_sync(procedure, host.answer, sleep=naps.append)
    assert not host._answers, "the host was expected to be asked more"
    return result, len(naps)


@pytest.mark.parametrize("queue", ["", COMPLETING])
def test_a_job_that_is_gone_or_ending_is_cancelled(queue):
    """At the first look."""
    assert converse(cancel(["7"]), says(), says(queue)) == (None, 0)


def test_a_job_that_is_still_there_is_cancelled_again():
    """Until it is seen to be gone."""
    assert converse(cancel(["7"]), says(), says(RUNNING), says(), says("")) == (None, 1)


@pytest.mark.parametrize("words", ["Job/step already completing or completed", "Invalid job id specified"])
def test_a_job_that_was_over_already(words):
    """There is nothing to cancel, and that is what was wanted."""
    failed = says(stderr=f"scancel: error: Kill job error on job id 7: {words}\n", status=1)
    assert converse(cancel(["7"]), failed, says("")) == (None, 0)


def test_an_absent_controller_is_no_success():
    """The message says what kept it from being seen."""
    away = says(stderr="slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n", status=1)
    with pytest.raises(ControllerUnavailable, match=r"cancelling 7 could not be verified.*Unable to contact"):
        converse(cancel(["7"], attempts=2), away, away, away, away)


def test_a_job_that_stays():
    """After some attempts its cancellation is not claimed."""
    with pytest.raises(ControllerUnavailable, match="still in the queue"):
        converse(cancel(["7"], attempts=2), says(), says(RUNNING), says(), says(RUNNING))


@pytest.mark.parametrize("reply", ["none\n", "superseded\n"])
def test_nothing_to_withdraw(reply):
    """No job, or one that a later try looks after."""
    assert converse(withdraw(PLACE), says(reply)) == (None, 0)


def test_a_job_is_withdrawn():
    """By its id."""
    assert converse(withdraw(PLACE), says("job 7\n"), says(), says("")) == ("7", 0)


def test_a_submission_that_is_under_way_is_waited_for():
    """It holds the lock."""
    assert converse(withdraw(PLACE), says("locked\n"), says("job 7\n"), says(), says("")) == ("7", 1)


def test_an_unclear_submission_is_looked_up_before_it_counts_as_none():
    """In squeue and sacct, twice."""
    assert converse(withdraw(PLACE), says("unclear\n"), says(), says(), says(), says()) == (None, 1)
    found = says(f"7|RUNNING|/x|headnode:{PLACE.key}\n")
    assert converse(withdraw(PLACE), says("unclear\n"), found, says(), says("")) == ("7", 0)


def test_other_answers():
    """Each says what is wrong."""
    with pytest.raises(CommandRefused, match="can't be withdrawn: mkdir: cannot create"):
        converse(withdraw(PLACE), says("", "mkdir: cannot create\n", 1))
    with pytest.raises(UnreadableAnswer, match="what is this"):
        converse(withdraw(PLACE), says("what is this\n"))
