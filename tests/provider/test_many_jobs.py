"""Many jobs on one connection: all succeed, with one login and one squeue and sacct an interval.

``HEADNODE_FULL=1`` makes it a hundred instead of twenty-four, and lets each job run for 30 s instead of 5.
"""

import os
import time
from dataclasses import dataclass
from itertools import pairwise

import pytest

from headnode.cluster.following import SOON_SECONDS

pytestmark = [pytest.mark.airflow, pytest.mark.cluster]

FULL = os.environ.get("HEADNODE_FULL") == "1"
JOBS = 100 if FULL else 24
JOB_SECONDS = int(os.environ.get("HEADNODE_JOB_SECONDS") or (30 if FULL else 5))
NAME = "many_jobs.one_of_many"
POLL_SECONDS = 3  # of the connection ``many_jobs``


@dataclass(frozen=True)
class Load:
    """What the head node saw during the run: logins, and the times of calls in seconds since the epoch."""

    wall_seconds: float
    logins: int
    calls: dict[str, list[int]]


@pytest.fixture(scope="module")
def many(start, slurm_cluster, record_testsuite_property):
    """Return the ended run, its state, and the load that it was for the head node; ``--junitxml`` keeps the figures."""
    calls_log = slurm_cluster.directory / "calls.log"
    logins, calls = slurm_cluster.logins(), len(calls_log.read_bytes()) if calls_log.exists() else 0
    began = time.monotonic()
    run = start("many_jobs", seconds=JOB_SECONDS)
    state = run.wait(300 + 3 * JOB_SECONDS)
    wall = time.monotonic() - began
    seen = {"sbatch": [], "squeue": [], "sacct": []}
    for line in calls_log.read_bytes()[calls:].decode().splitlines():
        at, name, words = line.split("\t", 2)
        # A triggerer that has just begun looks once for jobs that were left behind.
        if name in seen and not (name == "squeue" and "--jobs=" not in words):
            seen[name].append(int(at))
    load = Load(wall, slurm_cluster.logins() - logins, seen)
    counts = {name: len(times) for name, times in seen.items()}
    figures = {"jobs": JOBS, "job_seconds": JOB_SECONDS, "wall_seconds": round(wall, 1), "logins": load.logins}
    record_testsuite_property("many_jobs", {**figures, **counts})
    return run, state, load


def test_all_succeed_with_one_job_each(many, sacct):
    """Accounting knows exactly as many jobs as there are tasks."""
    run, state, load = many
    assert state == "success"
    assert [job["State"] for job in sacct("State", name=NAME)] == ["COMPLETED"] * JOBS
    assert len(load.calls["sbatch"]) == JOBS
    tasks = run.airflow.task_instances(run.dag_id, run.run_id)
    assert [task["try_number"] for task in tasks] == [1] * JOBS


def test_there_is_one_login(many):
    """All triggers of the triggerer share one connection, whatever sshd's limits on sessions and logins are."""
    assert many[2].logins == 1


@pytest.mark.parametrize("command", ["squeue", "sacct"])
def test_slurm_is_asked_once_an_interval(many, command):
    """For all jobs together: calls are never closer than the interval, but for the time that a call is under way."""
    times = many[2].calls[command]
    assert times
    interval = min(POLL_SECONDS, SOON_SECONDS / 2)  # the shorter one while jobs end one after the other
    assert len(times) <= (times[-1] - times[0]) / interval + 2
    assert [pair for pair in pairwise(times) if pair[1] - pair[0] < interval - 2] == []
