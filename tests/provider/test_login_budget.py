"""Waiting for a turn to log in can be seen where people look: in the task's log."""

import json

import pytest

from headnode.ssh.budget import Budget
from headnode.ssh.login import login_slot
from headnode.ssh.settings import SSHSettings

pytestmark = [pytest.mark.airflow, pytest.mark.cluster]
TASKS = ("by_trigger", "by_worker")


@pytest.fixture
def rationed(slurm_cluster, airflow, tmp_path):
    """Make a connection with one login at a time, and return its host and the budget that Airflow keeps for it."""
    with slurm_cluster.proxy() as proxy:
        fields = json.loads(slurm_cluster.airflow_connection_json("slurm", port=proxy.port, concurrent_logins=1))
        extra = json.dumps({**fields["extra"], "work_directory": str(tmp_path), "poll_seconds": 1})
        airflow.api("POST", "/connections", json={"connection_id": "rationed", **fields, "extra": extra})
        budget = Budget(logins_per_minute=6000, concurrent_logins=1, directory=str(airflow.directory / "budget"))
        yield SSHSettings(conn_id="rationed", host=proxy.host, port=proxy.port, username="somebody", budget=budget)
        airflow.api("DELETE", "/connections/rationed")


def test_waiting_is_in_the_log_of_each_task(start, rationed, wait_until):
    """Of the one whose trigger waits and of the one whose worker does, while somebody else logs in."""
    waiting = f"waiting for a turn to log in at {rationed.host}:{rationed.port}: 6000 within 60 s and 1 at a time"
    with login_slot(rationed):
        run = start("rationed_jobs")

        def tells(task_id):
            return run.states().get(task_id) in {"running", "deferred"} and waiting in run.log(task_id)

        for task_id in TASKS:
            wait_until(lambda name=task_id: tells(name), f"{task_id} tells that it waits", timeout_seconds=120)
    assert run.wait() == "success"
