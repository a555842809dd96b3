"""Training as real processes: together, killed in the middle, warned."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

PROGRAM = Path(__file__).parent / "programs/fit_toy.py"
JOBS = Path(__file__).parents[3] / "dags/landcover/jobs"
EPOCHS = 30


class Training:
    """A program that trains, alone or by torchrun."""

    def __init__(self, folder, processes):
        self.folder, self.processes = folder, processes
        folder.mkdir(exist_ok=True)
        self.words = [sys.executable]
        if processes > 1:
            self.words += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        self.words += [str(PROGRAM), str(folder), "--epochs", str(EPOCHS)]
        # Processes that train use one core each; a launcher that counts cores would change the sums.
        self.env = os.environ | {"PYTHONPATH": str(JOBS), "OMP_NUM_THREADS": "1"}
        self.env.pop("SLURM_CPUS_PER_TASK", None)

    def finish(self):
        """Run to the end, and return the output."""
        done = subprocess.run(self.words, env=self.env, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self, until, hold_after):
        """Start, and return the launcher and the processes that train once `until` is said; they go no further."""
        words = [*self.words, "--hold-after", str(hold_after)]
        launcher = subprocess.Popen(words, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        workers = []
        for line in launcher.stdout:
            workers += [int(pid) for pid in re.findall(r"pid (\d+)", line)]
            if re.search(rf"\b{until}\b", line):
                return launcher, workers
        raise AssertionError(f"it ended before it said {until!r}")

    @property
    def result(self):
        """Return what it has left."""
        return torch.load(self.folder / "model.pt", weights_only=True)


def ended(pid):
    """Tell whether a process is gone."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return status.rpartition(")")[2].split()[0] == "Z"


def wait_for_end(pids):
    """Wait until no process is left."""
    deadline = time.monotonic() + 30
    while not all(ended(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def same(first, second):
    """Tell whether two results have the same weights, bit by bit."""
    return first["weights"].keys() == second["weights"].keys() and all(
        torch.equal(each, second["weights"][name]) for name, each in first["weights"].items()
    )


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """Return a function: a training, by so many processes, that nothing stopped."""
    done = {}

    def run(processes):
        if processes not in done:
            done[processes] = Training(tmp_path_factory.mktemp("unbroken"), processes)
            done[processes].finish()
        return done[processes]

    return run


@pytest.mark.parametrize("processes", [1, 2])
def test_warned_and_later_killed_it_ends_with_the_same_weights(tmp_path, unbroken, processes):
    """By USR1 to each process that trains it saves and asks to be run again (75); then all are killed at once."""
    broken = Training(tmp_path / "broken", processes)
    launcher, workers = broken.start(until="epoch 4", hold_after=8)
    assert len(workers) == processes
    for pid in workers:
        os.kill(pid, signal.SIGUSR1)
    said, _ = launcher.communicate(timeout=60)
    assert re.search(r"exitcode *: 75", said) if processes > 1 else launcher.returncode == 75
    assert launcher.returncode != 0
    launcher, workers = broken.start(until="epoch 12", hold_after=12)
    for pid in {launcher.pid, *workers}:
        os.kill(pid, signal.SIGKILL)
    launcher.communicate()
    wait_for_end(workers)
    assert not (broken.folder / "model.pt").exists()
    said = broken.finish()
    # The second process may say so before the first has saved.
    assert re.search("going on after epoch 1[12] of 30", said)
    assert "epoch 4\n" not in said
    assert same(broken.result, unbroken(processes).result)


def test_one_process_and_two_learn_alike(unbroken):
    """Not to the bit: each process drops other parts of its share."""
    alone, together = (unbroken(processes).result for processes in (1, 2))
    assert alone["right"] > 0.9
    assert together["right"] > 0.9
    assert not same(alone, together)
