"""Where a job stands: whoever still knows it says so, and nobody's silence is an end."""

import base64

import pytest

from headnode.cluster.procedures import drive_sync
from headnode.cluster.queries import AskedJob
from headnode.cluster.standing import Standing, standing_of
from headnode.errors import ControllerUnavailable
from headnode.slurm.states import JobState
from headnode.ssh.port import Answer

KEY = "4f9619ff-8b86-d011-b42d-00c04fc964ff-1"
DIRECTORY = f"/w/tasks/t/{KEY}"
JOB = AskedJob(job_id="7", key=KEY, directory=DIRECTORY)
RUNNING = f"7|RUNNING|n1|1|N/A|900|None|{DIRECTORY}/work\n"
PAST = "7|{}|0:0|1|1|00:00:01|||cpu=1,mem=1M,node=1||900|901|902|n1|" + DIRECTORY + "/work\n"
NO_ACCOUNTING = "Slurm accounting storage is disabled"
FORGOTTEN = f"headnode:job 7 {base64.b64encode(b'slurm_load_jobs error: Invalid job id specified').decode()}\n"
MARKER = FORGOTTEN + "headnode:marker 7 end 3 900 902 7 0\n"


def answers(queue="", past="", past_error="", memory=FORGOTTEN):
    """Return a host that gives these answers, framed as a host frames them; an exception is raised in their place."""

    def run(command):
        said, stderr = {
            "asking squeue": (f"1000\n{queue}", ""),
            "asking sacct": (past, past_error),
            "asking for ended jobs": (memory, ""),
        }[command.purpose]
        if isinstance(said, Exception):
            raise said
        framed = f"headnode:begin\n{said}\nheadnode:end:{int(bool(stderr))}\n"
        return Answer(stdout=framed.encode(), stderr=stderr.encode(), exit_status=0)

    return run


@pytest.mark.parametrize(
    ("said", "state", "ended"),
    [
        ({"queue": RUNNING}, JobState.RUNNING, False),
        ({"past": PAST.format("COMPLETED")}, JobState.COMPLETED, True),
        ({"past": PAST.format("FAILED")}, JobState.FAILED, True),
        ({"past": PAST.format("RUNNING"), "memory": MARKER}, JobState.FAILED, True),
        ({"past": PAST.format("RUNNING")}, JobState.RUNNING, False),
        ({"past_error": NO_ACCOUNTING, "memory": MARKER}, JobState.FAILED, True),
    ],
)
def test_the_first_who_knows_an_end_is_believed(said, state, ended):
    """squeue, then sacct, then what the job itself has left."""
    stands = drive_sync(standing_of(JOB), answers(**said))
    assert isinstance(stands, Standing)
    assert stands.state is state
    assert (stands.end is not None) is ended
    assert stands.failed is (state is JobState.FAILED)


def test_a_job_that_nobody_knows_stands_nowhere():
    """Neither ended nor failed."""
    assert drive_sync(standing_of(JOB), answers()) is None
    assert drive_sync(standing_of(JOB), answers(past_error=NO_ACCOUNTING)) is None


def test_somebody_elses_job_with_the_same_id_is_not_this_one():
    """Ids come round again; the key is in the directory."""
    others = RUNNING.replace(KEY, "somebody-else-1")
    assert drive_sync(standing_of(JOB), answers(queue=others)) is None


def test_silence_is_no_answer():
    """Where sacct fails for another reason, nothing is known."""
    with pytest.raises(ControllerUnavailable, match="sacct failed"):
        drive_sync(standing_of(JOB), answers(past_error="sacct: error: Problem talking to the database"))
