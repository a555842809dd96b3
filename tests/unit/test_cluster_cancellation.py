"""Ending a task's job against a scripted host: cancelled means seen to be gone."""

import uuid

import pytest

from headnode.cluster.cancellation import cancel, withdraw
from headnode.cluster.place import JobPlace
from headnode.cluster.procedures import drive_sync
from headnode.cluster.queries import AskedJob
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
RUNNING = f"1000\n7|RUNNING|n1|1|2|3|None|/w/{PLACE.key}/work\n"
COMPLETING = RUNNING.replace("RUNNING", "COMPLETING")
ELSEWHERE = "1000\n7|RUNNING|n1|1|2|3|None|/home/somebody/else\n"
GONE = "1000\n"


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


@pytest.mark.parametrize("queue", [GONE, COMPLETING])
def test_a_job_that_is_gone_or_ending_is_not_cancelled(queue):
    """There is nothing to cancel, and that is what was wanted."""
    assert converse(cancel(["7"]), says(queue)) == ([], 0)


def test_a_job_is_cancelled_until_it_is_seen_to_be_gone():
    """Again and again."""
    assert converse(cancel(["7"]), says(RUNNING), says(), says(COMPLETING)) == (["7"], 0)
    assert converse(cancel(["7"]), says(RUNNING), says(), says(RUNNING), says(), says(GONE)) == (["7"], 1)


def test_another_job_with_the_same_id_is_left_alone():
    """Job ids come round again; a job is told by the directory that it runs in."""
    ours = AskedJob(job_id="7", key=PLACE.key)
    assert converse(cancel([ours]), says(ELSEWHERE)) == ([], 0)
    assert converse(cancel([ours]), says(RUNNING), says(), says(ELSEWHERE)) == (["7"], 0)


@pytest.mark.parametrize("words", ["Job/step already completing or completed", "Invalid job id specified"])
def test_a_job_that_ends_by_itself_meanwhile(words):
    """That scancel finds nothing is no trouble."""
    failed = says(stderr=f"scancel: error: Kill job error on job id 7: {words}\n", status=1)
    assert converse(cancel(["7"]), says(RUNNING), failed, says(GONE)) == (["7"], 0)


def test_an_absent_controller_is_no_success():
    """The message says what kept it from being seen."""
    away = says(stderr="slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n", status=1)
    with pytest.raises(ControllerUnavailable, match=r"cancelling 7 could not be verified.*Unable to contact"):
        converse(cancel(["7"], attempts=2), away, away, away)


def test_a_job_that_stays():
    """After some attempts its cancellation is not claimed."""
    with pytest.raises(ControllerUnavailable, match="still in the queue"):
        converse(cancel(["7"], attempts=2), says(RUNNING), says(), says(RUNNING), says(), says(RUNNING))


@pytest.mark.parametrize("reply", ["withdrawn\n", "superseded\n"])
def test_nothing_to_withdraw(reply):
    """No job, or one that a later try looks after."""
    assert converse(withdraw(PLACE), says(reply)) == ([], 0)


def test_jobs_are_withdrawn():
    """All that the task's directory knows of, also those of earlier tries."""
    other = f"{uuid.UUID(int=6)}-1"
    both = says(f"withdrawn\njob {other} 6\njob {PLACE.key} 7\n")
    queue = RUNNING + f"6|PENDING||1|2|3|None|/w/{other}/work\n"
    talk = [both, says(queue), says(), says(GONE)]
    assert converse(withdraw(PLACE), *talk) == (["7", "6"], 0)


def test_a_submission_that_is_under_way_is_waited_for():
    """It holds the lock."""
    job = says(f"withdrawn\njob {PLACE.key} 7\n")
    assert converse(withdraw(PLACE), says("locked\n"), job, says(RUNNING), says(), says(GONE)) == (["7"], 1)


def test_an_unclear_submission_is_looked_up_before_it_counts_as_none():
    """In squeue and sacct, twice, and by the marker that it may have left."""
    unclear = says(f"withdrawn\nunclear {PLACE.key}\n")
    assert converse(withdraw(PLACE), unclear, says(), says(), says(), says(), says()) == ([], 1)
    found = says(f"7|RUNNING|/x|headnode:{PLACE.key}\n")
    assert converse(withdraw(PLACE), unclear, found, says(RUNNING), says(), says(GONE)) == (["7"], 0)


def test_other_answers():
    """Each says what is wrong."""
    with pytest.raises(CommandRefused, match="can't be withdrawn: mkdir: cannot create"):
        converse(withdraw(PLACE), says("", "mkdir: cannot create\n", 1))
    with pytest.raises(UnreadableAnswer, match="what is this"):
        converse(withdraw(PLACE), says("what is this\n"))
