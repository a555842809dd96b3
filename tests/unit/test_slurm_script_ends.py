"""How a batch script ends: its exit code is its own, is left in a file, and never tells of an end that was none."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from headnode.slurm.jobspec import JobSpec
from headnode.slurm.script import RUN_AGAIN, render_script

SECONDS = 30


@pytest.fixture
def place(tmp_path):
    """Return the directory of a try's second submission."""
    directory = tmp_path / "dag.task.0123" / "4f9619ff-8b86-d011-b42d-00c04fc964ff-2"
    (directory / "work").mkdir(parents=True)
    return directory


def start(place: Path, *, checkpoint=False, variables=None, **fields) -> subprocess.Popen:
    """Start the script of a job in its directory, as slurmd does."""
    script = place / "script.sh"
    script.write_text(render_script(JobSpec(job_name="x", **fields), checkpoint=checkpoint))
    assert subprocess.run(["bash", "-n", script], check=True, capture_output=True, timeout=SECONDS).stderr == b""
    script.chmod(0o700)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
    environment |= {"SLURM_JOB_ID": "17", **(variables or {})}
    return subprocess.Popen([script], cwd=place / "work", env=environment, stdout=subprocess.PIPE, text=True)


def run(place: Path, **options) -> tuple[int, str]:
    """Run the script to its end, and return its exit code and what it printed."""
    process = start(place, **options)
    output, _ = process.communicate(timeout=SECONDS)
    return process.returncode, output


def wait_for(path: Path):
    """Wait until the job has made a file."""
    deadline = time.monotonic() + SECONDS
    while not path.exists():
        assert time.monotonic() < deadline, f"no {path}"
        time.sleep(0.01)


def signalled(place: Path, number=signal.SIGUSR1, **options) -> int:
    """Run the script, send its shell a signal when its command has made the file ``ready``, return its exit code."""
    process = start(place, **options)
    wait_for(place / "work" / "ready")
    process.send_signal(number)
    with process.stdout:  # the command may outlive the shell, and would hold it open
        return process.wait(timeout=SECONDS)


BASH_SCRIPTS = [
    ("true", 0),
    ("false", 1),
    ("exit 7", 7),
    ("f() { exit 0; }; f; false", 0),
    ("set -e\nfalse\ntrue", 1),
    ("set -eu\ntrue", 0),
    ("(exit 3)", 3),
    ("trap 'true' USR1; true", 0),
    ("exec 3>/dev/null; exit 4", 4),
]


@pytest.mark.parametrize(
    "shell", ["#!/bin/bash", "#!/bin/sh", "#!/bin/bash -eu", "#!/bin/dash -e", "#!/bin/bash --posix"]
)
@pytest.mark.parametrize(("body", "code"), BASH_SCRIPTS)
def test_the_exit_code_is_the_jobs_own_and_is_left_in_a_file(place, shell, body, code):
    """In each shell that a script may name: code, start, end, job id, restarts."""
    before = int(time.time())
    assert run(place, script=f"{shell}\n{body}\n")[0] == code
    marker = (place / "end").read_text()
    assert marker.endswith("\n")
    found, began, ended, job_id, restarts = map(int, marker.split(" "))
    assert (found, job_id, restarts) == (code, 17, 0)
    assert before <= began <= ended <= time.time()
    assert not (place / "end.new").exists()


def test_commands_leave_their_exit_code(place):
    """Given as a list or as text."""
    assert run(place, command=["sh", "-c", "exit 9"])[0] == 9
    assert (place / "end").read_text().startswith("9 ")
    assert run(place, command="true && false", variables={"SLURM_RESTART_COUNT": "2"})[0] == 1
    assert (place / "end").read_text().startswith("1 ")
    assert (place / "end").read_text().endswith(" 17 2\n")


def test_a_script_that_ends_in_a_broken_line_keeps_its_exit_code(place):
    """What follows it is not taken for a part of it."""
    assert run(place, script="#!/bin/bash\necho hello \\") == (0, "hello\n")


@pytest.mark.parametrize("shell", ["#!/bin/bash", "#!/bin/sh"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, signal.SIGKILL])
def test_a_script_that_a_signal_kills_says_nothing_of_success(place, shell, number):
    """For bash runs the last trap with the status of the command before, which was good."""
    assert signalled(place, number, script=f"{shell}\ntrue\ntouch ready\nsleep 5 & wait $!\n") == -number
    assert not (place / "end").exists()


def test_a_requeued_job_begins_without_a_mark(place):
    """What its first run left is gone before its own commands run."""
    (place / "end").write_text("0 1 2 17 0\n")
    assert run(place, command='ls "$HEADNODE_DIRECTORY"')[1].split() == ["script.sh", "work"]


def test_a_directory_that_cannot_be_written_changes_nothing(place):
    """Nor does anything of it show in the job's output."""
    assert run(place, command='rm -rf "$HEADNODE_DIRECTORY"; exit 6') == (6, "")


def test_elements_of_an_array_have_their_own_marks_and_results(place):
    """The mark is named by Slurm's index, the result by the element's number in the whole."""
    say = 'echo "$HEADNODE_ELEMENT ${HEADNODE_RESULT##*/}"; exit "$SLURM_ARRAY_TASK_ID"'
    assert run(place, command=say, variables={"SLURM_ARRAY_TASK_ID": "3"}) == (3, "3 result.3.json\n")
    assert (place / "end.3").read_text().startswith("3 ")
    (place / "element_offset").write_text("1001\n")
    assert run(place, command=say, variables={"SLURM_ARRAY_TASK_ID": "4"}) == (4, "1005 result.1005.json\n")
    assert (place / "end.4").read_text().startswith("4 ")
    assert not (place / "end").exists()


def test_a_job_knows_its_submission_and_where_its_checkpoint_is(place):
    """The place is one for all submissions of a try; it is made where a policy asks for checkpoints."""
    say = 'echo "$HEADNODE_SUBMISSION $HEADNODE_CHECKPOINT"'
    checkpoint = place.parent / "4f9619ff-8b86-d011-b42d-00c04fc964ff-checkpoint"
    assert run(place, command=say) == (0, f"2 {checkpoint}\n")
    assert not checkpoint.exists()
    assert run(place, command=say, checkpoint=True) == (0, f"2 {checkpoint}\n")
    assert checkpoint.is_dir()


def test_a_job_that_goes_on_for_an_earlier_tries_job_finds_its_checkpoint(place):
    """And so does one that goes on for that."""
    for earlier, later in [("aaaa", "bbbb"), ("bbbb", "cccc")]:
        directory = place.parent / f"{later}-2"
        (directory / "work").mkdir(parents=True)
        (place.parent / f"{earlier}-checkpoint").mkdir(exist_ok=True)
        (directory / "checkpoint_of").write_text(f"{earlier}\n")
        run(directory, command='echo "$HEADNODE_SUBMISSION" >> "$HEADNODE_CHECKPOINT/state"', checkpoint=True)
        run(directory, command='echo "$HEADNODE_SUBMISSION" >> "$HEADNODE_CHECKPOINT/state"', checkpoint=True)
    assert (place.parent / "aaaa-checkpoint" / "state").read_text() == "2\n" * 4


PYTHON = """
import pathlib, signal, sys, time
def save(*_):
    pathlib.Path("saved").touch()
    if CODE is not None:
        sys.exit(CODE)
signal.signal(signal.SIGUSR1, save)
pathlib.Path("ready").touch()
for _ in range(500 if CODE is not None else 30):
    time.sleep(0.02)
"""


@pytest.mark.parametrize(("code", "expected"), [(75, 75), (1, 75), (0, 0), (None, 0)])
def test_a_listed_command_gets_the_warning_and_the_script_asks_to_go_on(place, code, expected):
    """Where the command ends with 0, at once or later, it was done."""
    program = PYTHON.replace("CODE", repr(code))
    assert signalled(place, command=["python3", "-c", program], checkpoint=True) == expected
    assert (place / "work" / "saved").exists()
    assert (place / "end").read_text().startswith(f"{expected} ")


def test_a_listed_command_that_knows_nothing_of_the_warning_dies_of_it_and_is_run_again(place):
    """Also where the author's set-up makes the shell strict."""
    command = ["python3", "-c", "import pathlib, time; pathlib.Path('ready').touch(); time.sleep(20)"]
    assert signalled(place, command=command, checkpoint=True, setup="set -eu") == RUN_AGAIN
    assert (place / "end").read_text().startswith(f"{RUN_AGAIN} ")


@pytest.mark.parametrize("setup", [None, "set -eu"])
@pytest.mark.parametrize("code", [0, 3, 75])
def test_without_a_warning_a_listed_command_keeps_its_exit_code(place, code, setup):
    """The shell around it waits for it and no more."""
    assert run(place, command=["sh", "-c", f"exit {code}"], checkpoint=True, setup=setup)[0] == code


def test_a_listed_command_reads_its_own_standard_input(place):
    """Which sbatch's option ``input`` may have set."""
    (place / "work" / "words").write_text("some words\n")
    setup = "exec < words"
    assert run(place, command=["cat"], checkpoint=True, setup=setup) == (0, "some words\n")


def test_an_authors_own_trap_gets_the_warning(place):
    """A command as text and a script are the author's shell; its trap saves, and asks to be run again."""
    script = "#!/bin/bash\ntrap 'touch saved; exit 75' USR1\ntouch ready\nsleep 20 & wait $!\n"
    assert signalled(place, script=script, checkpoint=True) == RUN_AGAIN
    assert (place / "work" / "saved").exists()
    assert (place / "end").read_text().startswith("75 ")


DOCUMENT = Path(__file__).parents[2] / "docs" / "checkpoints.md"


def documented(language: str, mark: str) -> str:
    """Return the block of code in docs/checkpoints.md that holds ``mark``."""
    blocks = DOCUMENT.read_text().split("```")[1::2]
    (found,) = [text.removeprefix(f"{language}\n") for text in blocks if text.startswith(language) and mark in text]
    return found


@pytest.mark.parametrize("command", [["python3", "count.py"], documented("bash", "trap")])
def test_the_documented_job_goes_on_where_it_was_warned(place, command):
    """Both as a list, and with the shell text that stands in the document."""
    (place / "work" / "count.py").write_text(documented("python", "GO_ON = 75"))
    process = start(place, command=command, checkpoint=True)
    with process.stdout:
        assert process.stdout.readline() == "submission 2 goes on from 0\n"
        process.send_signal(signal.SIGUSR1)
        assert process.wait(timeout=SECONDS) == RUN_AGAIN
    code, output = run(place, command=command, checkpoint=True)
    assert code == 0
    assert int(output.split()[-1]) > 0
    assert (place / "result.json").read_text() == "10000000"
