"""What a real job's end looks like to sacct, and what the job's script says of it itself."""

import time

import pytest

from headnode.cluster.submission import SubmitRequest, submit
from headnode.slurm.jobspec import parse_jobspec
from headnode.slurm.policy import FailurePolicy, Resubmit
from headnode.slurm.resubmission import End, GiveUp, decide
from headnode.slurm.script import render_script
from headnode.slurm.states import JobState

pytestmark = pytest.mark.cluster

SAVE = "import signal, sys, time; signal.signal(10, lambda *_: sys.exit(3)); open('ready', 'w').close(); time.sleep(60)"
SIGNAL = ("--batch", "--signal=USR1")
# Each: the command, how it is stopped, what Slurm says of it, and the exit code in the mark.
ENDS = {
    "warned list": (["python3", "-c", SAVE], SIGNAL, ("FAILED", 75, None), 75),
    "warned text without a trap": ("true; touch ready; sleep 60", SIGNAL, ("FAILED", 0, 10), None),
    "warned text with a trap": ("trap 'exit 75' USR1; touch ready; sleep 60 & wait", SIGNAL, ("FAILED", 75, None), 75),
    "cancelled": ("true; touch ready; sleep 60", (), ("CANCELLED", 0, None), None),
    "good": ("touch ready; true", None, ("COMPLETED", 0, None), 0),
}
AGAIN = {"warned list", "warned text without a trap", "warned text with a trap"}


def wait_until(condition, what):
    """Wait for a condition, within bounds; return what it gave."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.2)
    raise AssertionError(what)


@pytest.fixture
def ended(ask, new_place, slurm_cluster):
    """Return a function that runs a job, stops it, and returns sacct's row and the job's directory."""

    def run(command, stop):
        place = new_place()
        script = render_script(parse_jobspec({"job_name": "end", "command": command, "memory": "10M"}), checkpoint=True)
        job = ask(submit(SubmitRequest(place=place, script=script)))
        directory = slurm_cluster.directory / job.directory
        wait_until((directory / "work" / "ready").exists, "the job runs")
        if stop is not None:
            slurm_cluster.run("scancel", *stop, job.job_id)
        fields = ("sacct", "-nPX", f"--jobs={job.job_id}", "--format=State,ExitCode,End")

        def row():
            line = slurm_cluster.run(*fields).stdout.strip()
            return None if not line or line.endswith("|Unknown") else line.split("|")

        return wait_until(row, "accounting knows the end"), directory

    return run


@pytest.mark.parametrize("name", ENDS)
def test_the_end_and_the_mark_agree(ended, name):
    """And a job that a warning ended is one to be submitted again; one that a person ended is not."""
    command, stop, (state, code, signal), marked = ENDS[name]
    row, directory = ended(command, stop)
    found_code, found_signal = map(int, row[1].split(":"))
    assert (row[0].split()[0], found_code, found_signal or None) == (state, code, signal)
    mark = directory / "end"
    assert (int(mark.read_text().split()[0]) if mark.exists() else None) == marked
    end = End(job_id="1", state=JobState(state), exit_code=found_code, signal=found_signal)
    after = decide(FailurePolicy(on_timeout=Resubmit()), [end], {})
    assert isinstance(after, GiveUp) == (name not in AGAIN)
