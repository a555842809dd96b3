"""Tries that end because the cluster can't be reached leave their jobs to the tries after them."""

import json

import pytest

TASKS = ("retried", "cleared", "stopped")
pytestmark = [pytest.mark.airflow, pytest.mark.cluster]


@pytest.fixture(scope="module")
def proxy(slurm_cluster, airflow, tmp_path_factory):
    """Return a proxy before the cluster, and make a connection of Airflow's through it."""
    with slurm_cluster.proxy() as proxy:
        fields = json.loads(slurm_cluster.airflow_connection_json(port=proxy.port))
        work = tmp_path_factory.mktemp("work")
        extra = {**fields["extra"], "work_directory": str(work), "poll_seconds": 1, "poll_max_seconds": 2}
        airflow.api(
            "POST", "/connections", json={"connection_id": "behind_proxy", **fields, "extra": json.dumps(extra)}
        )
        yield proxy
        airflow.api("DELETE", "/connections/behind_proxy")


@pytest.fixture(scope="module")
def left(start, proxy, slurm_cluster, wait_until, tmp_path_factory):
    """Return a run whose first tries ended by an outage while their jobs ran, and the ids of those jobs."""
    gate = tmp_path_factory.mktemp("gate") / "open"
    run = start("left_jobs", gate=str(gate))
    try:
        ids = {task_id: run.wait_for_record(task_id, state="RUNNING")["job_id"] for task_id in TASKS}
        proxy.refuse()
        proxy.cut()
        for task_id in ("cleared", "stopped"):
            wait_until(lambda name=task_id: run.states()[name] == "failed", f"{task_id} failed", timeout_seconds=180)
        wait_until(lambda: run.tries("retried") >= 2, "the other is tried again", timeout_seconds=180)
        slurm_cluster.run("scancel", ids["stopped"])
    finally:
        proxy.accept()
    run.airflow.clear("left_jobs", run.run_id, task_ids=["cleared", "stopped"])
    for task_id in ("cleared", "stopped"):
        wait_until(
            lambda name=task_id: "taken over" in run.log(name, run.tries(name)),
            f"the job of {task_id} is taken over",
            timeout_seconds=180,
        )
    gate.touch()
    assert run.wait() == "success"
    return run, ids


def test_the_next_try_goes_on_with_the_same_job(left, sacct):
    """After a retry as after a clear there is one job, and its result is the task's."""
    run, ids = left
    for task_id, job_id in ids.items():
        if task_id == "stopped":
            continue
        assert [job["JobID"] for job in sacct("JobID", name=f"left_jobs.{task_id}")] == [job_id]
        record = run.record(task_id)
        assert record["job_id"] == job_id
        assert record["submissions"][0]["reason"].startswith("taken over from an earlier try")
        assert run.xcom(task_id) == 17
        assert run.tries(task_id) >= 2


def test_the_log_says_what_becomes_of_the_job(left):
    """With a retry left, and without one."""
    run, ids = left
    assert f"job {ids['retried']} is left on the cluster; the next try goes on with it" in run.log("retried", 1)
    assert f"job {ids['cleared']} is left on the cluster, and no retry is left: clear the task" in run.log("cleared", 1)
    assert f"job {ids['cleared']} of an earlier try taken over" in run.log("cleared", run.tries("cleared"))


def test_a_job_that_was_cancelled_meanwhile_is_not_the_new_tries_end(left, sacct):
    """The new try runs it anew."""
    run, ids = left
    assert run.xcom("stopped") == 17
    first, second = run.record("stopped")["submissions"]
    assert first["job_id"] == ids["stopped"]
    assert second["reason"].startswith(f"job {ids['stopped']}, of an earlier try, had ended as CANCELLED")
    assert [job["JobID"] for job in sacct("JobID", name="left_jobs.stopped")] == [ids["stopped"], second["job_id"]]
