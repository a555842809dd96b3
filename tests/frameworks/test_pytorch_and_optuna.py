"""PyTorch and Optuna over two nodes: data-parallel training learns what one process does; a study bears a death."""

import contextlib
import re
import signal
import time

import psutil
import pytest

from headnode.sites.launchers import OptunaWorkers, Python, Torchrun

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(500)]
JOBS = ".venv-jobs"


def test_two_nodes_learn_what_one_process_learns(submit):
    """The losses of DDP are those of one process at the same global batch, within 1e-4 at each step."""
    over_two = submit("ddp.py", Torchrun(nodes=2, cpus_per_task=1), python=JOBS)
    alone = submit("ddp.py", Python(), python=JOBS)
    two, one = over_two.result(), alone.result()
    assert sorted(two["nodes"]) == ["n1", "n2"]
    assert one["losses"][-1] < one["losses"][0] / 2
    assert two["losses"] == pytest.approx(one["losses"], abs=1e-4)


def test_a_study_bears_the_death_of_a_worker(submit):
    """One of four workers is killed while it works: the others end the study, and the job's state tells of it."""
    run = submit("optuna_worker.py", OptunaWorkers(nodes=2, workers=4), python=JOBS)
    journal = run.folder / "optuna.journal"
    deadline = time.monotonic() + 120
    while not (journal.exists() and '"user_attr":{"worker":3}' in journal.read_text()):
        assert time.monotonic() < deadline, run.output
        time.sleep(0.1)
    (victim,) = [each for each in psutil.process_iter() if _is_worker(each, run.folder, "3")]
    victim.send_signal(signal.SIGKILL)
    assert run.wait() == "FAILED"
    assert set(re.findall(r"^worker (\d) is done", run.output, re.MULTILINE)) == {"0", "1", "2"}
    finished = re.findall(r"Trial (\d+) finished", run.output)
    assert len(finished) == len(set(finished)) >= 24


def _is_worker(process, folder, rank):
    """Whether it is the worker of that rank among those that run in the folder."""
    with contextlib.suppress(psutil.Error, OSError):
        is_python = process.name().startswith("python") and process.cwd() == str(folder)
        return is_python and process.environ().get("SLURM_PROCID") == rank
    return False
