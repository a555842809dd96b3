"""Jobs while they run: their log and record, and what becomes of them when their task is stopped."""

import pytest

from headnode.slurm.record import JobRecord

pytestmark = [pytest.mark.airflow, pytest.mark.cluster]


@pytest.fixture(scope="module")
def running(start):
    """Return a run of ``long_jobs`` whose jobs run, and their records by task."""
    run = start("long_jobs")
    return run, {task_id: run.wait_for_record(task_id, state="RUNNING") for task_id in ("marked", "cleared")}


def state_of(sacct, job_id):
    """Return the job's state in accounting, without who cancelled it."""
    jobs = sacct("State", jobs=job_id)
    return jobs[0]["State"].split()[0] if jobs else None


def test_output_shows_in_the_task_log_while_the_job_runs(running, wait_until, sacct):
    """Second for second, in the log of a task that is deferred."""
    run, records = running
    wait_until(lambda: "| second 2" in run.log("marked"), "the job's output is in the task's log")
    assert run.states()["marked"] == "deferred"
    # Accounting hears of a start a little later than the queue shows it.
    wait_until(lambda: state_of(sacct, records["marked"]["job_id"]) == "RUNNING", "the job runs")


def test_the_record_is_there_while_the_job_runs(running):
    """It has the published schema from submission on."""
    record = JobRecord.model_validate(running[1]["marked"])
    assert (record.state, record.exit_code) == ("RUNNING", None)
    assert record.nodes
    assert "RUNNING" in [change.state for change in record.history]


def test_the_link_is_there_while_the_job_runs(running):
    """It leads to the job's page."""
    run, _ = running
    path = f"/dags/long_jobs/dagRuns/{run.run_id}/taskInstances/marked/links"
    link = run.airflow.api("GET", path)["extra_links"]["Slurm job"]
    assert link.startswith("/headnode/dags/long_jobs/job?")
    assert "task_id=marked" in link


def test_execution_timeout_cancels_the_job(running, wait_until, sacct):
    """Airflow ends the wait by itself, and the job goes with it."""
    run, _ = running
    wait_until(lambda: run.states()["timed_out"] == "failed", "the task has timed out", timeout_seconds=90)
    job_id = run.wait_for_record("timed_out")["job_id"]
    wait_until(lambda: state_of(sacct, job_id) == "CANCELLED", f"job {job_id} is cancelled")
    assert "TaskDeferralTimeout" in run.log("timed_out")


def test_clearing_a_task_ends_its_job_before_the_new_one_starts(running, wait_until, sacct):
    """The jobs of two tries never overlap."""
    run, records = running
    first = records["cleared"]["job_id"]
    run.airflow.clear("long_jobs", run.run_id, task_ids=["cleared"])
    second = run.wait_for_record("cleared", state="RUNNING", not_job=first)["job_id"]
    wait_until(lambda: state_of(sacct, second) == "RUNNING", f"job {second} runs in accounting")
    (ended,) = sacct("State", "End", jobs=first)
    (started,) = sacct("Start", jobs=second)
    assert ended["State"].startswith("CANCELLED")
    assert ended["End"] <= started["Start"]
    assert {job["JobID"] for job in sacct("JobID", name="long_jobs.cleared")} == {first, second}


def test_marking_a_task_failed_cancels_its_job(running, wait_until, sacct, slurm_cluster):
    """And nothing of the run is left in the queue."""
    run, records = running
    for task_id in ("marked", "cleared"):
        run.airflow.set_task_state("long_jobs", run.run_id, task_id, "failed")

    def left():
        return [name for name in slurm_cluster.run("squeue", "-h", "-o", "%j").stdout.split() if "long_jobs." in name]

    wait_until(lambda: not left(), "no job of the run is left")
    assert state_of(sacct, records["marked"]["job_id"]) == "CANCELLED"
    assert run.wait() == "failed"
