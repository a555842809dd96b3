"""Submission as a conversation with a scripted host: what is sent after which answer, and what never is."""

import base64
import uuid

import pytest

from headnode.cluster.place import JobPlace
from headnode.cluster.procedures import drive_sync
from headnode.cluster.submission import MAX_ATTEMPTS, SubmitRequest, Submitted, Superseded, submit
from headnode.errors import (
    CommandRefused,
    ConnectionLost,
    ControllerUnavailable,
    HeadnodeError,
    OutcomeUnknown,
    UnreadableAnswer,
)
from headnode.slurm.record import Labels
from headnode.ssh.port import Answer
from headnode.ssh.scripted import ScriptedTransport

OWNER = str(uuid.UUID(int=7))
PLACE = JobPlace(
    work_directory="/w", deployment_id="d", labels=Labels(dag_id="d", run_id="r", task_id="t"), owner=OWNER
)
DIRECTORY = f"directory /w/d/tasks/x/{PLACE.key}\nkey {PLACE.key}\n"
TIMED_OUT = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation\n"


def says(stdout="", stderr="", status=0):
    """Return a framed answer."""
    framed = f"Welcome\nheadnode:begin\n{stdout}\nheadnode:end:{status}\n"
    return Answer(stdout=framed.encode(), stderr=stderr.encode(), exit_status=0)


def refused(text, attempt=1, status=1):
    """Return the step's answer when sbatch said ``text``."""
    return says(f"{DIRECTORY}refused {attempt} {status} {base64.b64encode(text.encode()).decode()}\n")


class Conversation:
    """A submission against a script; purposes and pauses are kept in order."""

    def __init__(self, *answers, code=None):
        self.steps = []
        self._host = ScriptedTransport(answers)
        self._request = SubmitRequest(place=PLACE, script="#!/bin/bash\ntrue\n", code=code)

    def run(self):
        """Submit, and see that the script was used up."""
        try:
            return drive_sync(submit(self._request, settle_seconds=3.0), self._answer, sleep=self.steps.append)
        finally:
            assert not self._host._answers, "the host was expected to be asked more"

    def _answer(self, command):
        self.steps.append(command.purpose)
        return self._host.answer(command)


STEP, SQUEUE, SACCT = "submitting the job", "looking for the job in squeue", "looking for the job in sacct"
MARKER = "looking for the job's own end marker"
WRITE, CLOSE = "writing down the job's id", "closing a refused submission"


def test_a_submission():
    """One step."""
    talk = Conversation(says(f"{DIRECTORY}submitted 4711\n"))
    assert talk.run() == Submitted(job_id="4711", directory=f"/w/d/tasks/x/{PLACE.key}", key=PLACE.key, adopted=False)
    assert talk.steps == [STEP]


def test_a_job_that_is_there_is_adopted():
    """The step read its id."""
    assert Conversation(says(f"{DIRECTORY}adopted 4711\n")).run().adopted


@pytest.mark.parametrize(
    ("text", "error", "kind", "message"),
    [
        ("Invalid qos specification", CommandRefused, "permanent", "refused the job: Invalid qos specification; "),
        ("System submissions disabled", CommandRefused, "policy", "refused the job for now: System submissions"),
        ("Unable to contact slurm controller (connect failure)", ControllerUnavailable, None, "connect failure"),
    ],
)
def test_a_refusal_is_closed_and_raised(text, error, kind, message):
    """Nothing is looked up, nothing is sent again."""
    talk = Conversation(refused(f"sbatch: error: Batch job submission failed: {text}\n"), says())
    with pytest.raises(error, match=message.replace("(", r"\(").replace(")", r"\)")) as caught:
        talk.run()
    assert getattr(caught.value, "kind", None) == kind
    assert talk.steps == [STEP, CLOSE]


@pytest.mark.parametrize("said", [TIMED_OUT, "", "4711\n", "a word of a later version\n"])
def test_an_unclear_answer_is_looked_up_in_the_queue(said):
    """The job is there: its id is written down and read by the step, and sbatch is not called again."""
    talk = Conversation(
        refused(said),
        says(f"4711|RUNNING|/elsewhere|headnode:{PLACE.key}\n"),
        says(),
        says(f"{DIRECTORY}adopted 4711\n"),
    )
    assert talk.run().job_id == "4711"
    assert talk.steps == [STEP, SQUEUE, WRITE, STEP]


def test_a_job_whose_id_cannot_be_written_is_followed():
    """The disk is full: the job that was found is the job, and sbatch is not called again."""
    queue = says(f"4711|RUNNING|/w/d/tasks/x/{PLACE.key}/work|headnode:{PLACE.key}\n")
    talk = Conversation(refused(""), queue, says(stderr="printf: write error: No space left on device", status=1))
    assert talk.run() == Submitted(job_id="4711", directory=f"/w/d/tasks/x/{PLACE.key}", key=PLACE.key, adopted=True)
    assert talk.steps == [STEP, SQUEUE, WRITE]


def test_an_unclear_answer_is_looked_up_in_accounting():
    """A short job has left the queue already."""
    talk = Conversation(
        refused(TIMED_OUT),
        says("1|RUNNING|/home|\n"),
        says(f"4711|COMPLETED|/w/d/tasks/x/{PLACE.key}/work|\n"),
        says(),
        says(f"{DIRECTORY}adopted 4711\n"),
    )
    assert talk.run().job_id == "4711"
    assert talk.steps == [STEP, SQUEUE, SACCT, WRITE, STEP]


def test_nothing_is_sent_again_before_a_request_under_way_must_have_arrived():
    """Both are asked, waited for, and asked again; only then is a second attempt made."""
    nothing = [says()] * 5
    talk = Conversation(refused(TIMED_OUT), *nothing, says(f"{DIRECTORY}submitted 4712\n"))
    assert talk.run().job_id == "4712"
    assert talk.steps == [STEP, SQUEUE, SACCT, 3.0, SQUEUE, SACCT, MARKER, STEP]
    assert b"resolved=1 " in talk._host.commands[-1].stdin


@pytest.mark.parametrize(
    "answers",
    [
        [says(stderr="slurm_load_jobs error: Unable to contact slurm controller\n", status=1)],
        [says(), says(stderr="sacct: error: Problem talking to the database\n", status=1)],
        [says(), says(stderr="sacct: error: Problem talking to the database\n", status=0)],
    ],
)
def test_where_nothing_can_be_known_nothing_is_sent(answers):
    """Both must have answered before a job counts as absent."""
    with pytest.raises(ControllerUnavailable):
        Conversation(refused(TIMED_OUT), *answers).run()


def test_a_cut_list_is_no_absence():
    """Nor is an answer without its end."""
    with pytest.raises(UnreadableAnswer):
        Conversation(refused(TIMED_OUT), says("4711|RUNN")).run()
    cut = Answer(stdout=b"headnode:begin\n", stderr=b"", exit_status=0)
    with pytest.raises(UnreadableAnswer):
        Conversation(refused(TIMED_OUT), cut).run()


def test_a_site_without_accounting():
    """There a short job that slurmctld has forgotten is known by the marker that it left."""
    disabled = says(stderr="Slurm accounting storage is disabled\n", status=1)
    silence = [says(), disabled, says(), disabled]
    talk = Conversation(refused(TIMED_OUT), *silence, says(), says(f"{DIRECTORY}submitted 1\n"))
    assert talk.run().job_id == "1"
    talk = Conversation(
        refused(TIMED_OUT), *silence, says("0 1000 1003 4711 0\n"), says(), says(f"{DIRECTORY}adopted 4711\n")
    )
    assert talk.run().job_id == "4711"
    assert talk.steps[-3:] == [MARKER, WRITE, STEP]


def test_attempts_have_an_end():
    """The message names the tag to look for."""
    answers = [each for at in range(MAX_ATTEMPTS) for each in (refused(TIMED_OUT, at + 1), *[says()] * 5)]
    with pytest.raises(OutcomeUnknown, match=f"headnode:{PLACE.key}"):
        Conversation(*answers).run()


def test_a_step_that_an_earlier_one_left_open():
    """It is looked up like an unclear answer."""
    talk = Conversation(
        says(f"{DIRECTORY}unresolved {PLACE.key} 1 30\n"),
        says(f"4711|RUNNING|/elsewhere|headnode:{PLACE.key}\n"),
        says(),
        says(f"{DIRECTORY}adopted 4711\n"),
    )
    assert talk.run().adopted


def test_an_earlier_trys_open_submission_is_resolved_first():
    """Its job is found and ended before this one is sent."""
    other = f"{uuid.UUID(int=6)}-1"
    talk = Conversation(
        says(f"{DIRECTORY}unresolved {other} 1 30\n"),
        says(f"4710|RUNNING|/elsewhere|headnode:{other}\n"),
        says(),
        says(f"{DIRECTORY}earlier 4710 4710\n"),
        says(f"{DIRECTORY}submitted 4711\n"),
    )
    assert talk.run().job_id == "4711"
    assert talk.steps == [STEP, SQUEUE, WRITE, STEP, 2.0, STEP]


def test_waiting_for_another_submitter():
    """The lock is waited for."""
    talk = Conversation(says("locked\n"), says(f"{DIRECTORY}adopted 4711\n"))
    assert talk.run().adopted
    assert talk.steps == [STEP, 2.0, STEP]


def test_code_is_uploaded_where_it_is_missing():
    """Under its hash, on standard input."""
    talk = Conversation(says(f"{DIRECTORY}nocode\n"), says(), says(f"{DIRECTORY}submitted 4711\n"), code=b"archive")
    talk.run()
    assert talk.steps == [STEP, "uploading the code", STEP]
    assert base64.b64encode(b"archive") in talk._host.commands[1].stdin


def test_code_that_was_staged_and_is_gone():
    """It can't be sent from here: the message says what to do."""
    with pytest.raises(CommandRefused, match=r"not in the connection's work directory any more.*clear the task"):
        Conversation(says(f"{DIRECTORY}nocode\n")).run()


@pytest.mark.parametrize("name", ["../up", ".hidden", "a b", "", "-x"])
def test_files_with_other_names_are_refused(name):
    """They lie beside the script and nowhere else."""
    with pytest.raises(ValueError, match="must consist of letters"):
        SubmitRequest(place=PLACE, script="#!/bin/bash\n", files={name: b""})


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (says("superseded other-uuid\n"), Superseded, "other-uuid.*nothing was submitted"),
        (says("unwritable /w/d\n", "mkdir: No space left on device"), CommandRefused, "/w/d.*No space left.*quota"),
        (says(f"unseen {base64.b64encode(b'error: cannot').decode()}\n"), ControllerUnavailable, "error: cannot"),
        (says(f"lockless {base64.b64encode(b'flock: 9: No locks').decode()}\n"), CommandRefused, "No locks.*flock"),
        (says("what is this\n"), UnreadableAnswer, "what is this"),
        (says("", "bash: flock: command not found", 127), HeadnodeError, "flock: command not found"),
        (ConnectionLost("gone"), ConnectionLost, "gone"),
    ],
)
def test_other_answers(answer, error, message):
    """Each says what is wrong."""
    with pytest.raises(error, match=message):
        Conversation(answer).run()


def test_nothing_of_a_script_shows_in_the_list_of_processes():
    """It may hold what others on the head node should not read."""
    talk = Conversation(says(f"{DIRECTORY}submitted 4711\n"))
    talk.run()
    assert [command.text for command in talk._host.commands] == ["/bin/bash -s"]
