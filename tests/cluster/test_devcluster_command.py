"""``headnode devcluster``: from the terminal, as a newcomer or a script would."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from headnode.testing.watchdog import end_cluster

pytestmark = pytest.mark.cluster


@pytest.fixture
def directory():
    """Give a directory for a cluster, which is ended with the test."""
    directory = Path(tempfile.mkdtemp(prefix="hn-cli-", dir="/tmp"))
    yield directory
    end_cluster(directory)


def headnode(*words):
    """Run the installed command."""
    program = str(Path(sys.executable).parent / "headnode")
    return subprocess.run([program, *words], capture_output=True, text=True, check=False, timeout=120)


def test_up_status_down(directory):
    """A cluster outlives the command that started it, says how to reach it, and goes when told."""
    up = headnode("devcluster", "up", "--dir", str(directory), "--nodes", "1", "--gpus", "0")
    assert up.returncode == 0
    assert "is up after" in up.stdout
    assert "airflow connections add" in up.stdout
    assert "ran already" in headnode("devcluster", "up", "--dir", str(directory)).stdout
    status = json.loads(headnode("devcluster", "status", "--dir", str(directory), "--json").stdout)
    assert status["airflow_connection"]["extra"]["host_key"] == status["host_key"]
    login = subprocess.run([*status["ssh_command"], "sinfo -h -o %T"], capture_output=True, text=True, check=True)
    assert login.stdout == "idle\n"
    assert "is down" in headnode("devcluster", "down", "--dir", str(directory)).stdout
    gone = headnode("devcluster", "status", "--dir", str(directory))
    assert gone.returncode == 3
    assert "headnode devcluster up" in gone.stdout


def test_foreground(directory):
    """In the foreground it stays until one of its daemons ends, names that one, and stops the rest."""
    program = str(Path(sys.executable).parent / "headnode")
    command = [program, "devcluster", "up", "--dir", str(directory), "--nodes", "1", "--foreground", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert json.loads(process.stdout.readline())["running"] is True
        slurmctld = json.loads((directory / "run" / "slurmctld.pid").read_text())["pid"]
        subprocess.run(["kill", "-KILL", str(slurmctld)], check=True)
        assert process.wait(timeout=60) == 1
        assert "slurmctld ended" in process.stderr.read()
    assert headnode("devcluster", "status", "--dir", str(directory)).returncode == 3


def test_errors_are_sentences(directory):
    """What cannot be is said in one line, without a traceback."""
    done = headnode("devcluster", "up", "--dir", str(directory), "--nodes", "0")
    assert (done.returncode, done.stderr) == (1, "error: nodes is 0; at least 1 is needed\n")
