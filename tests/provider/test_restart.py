"""The triggerer is killed in mid-run and started again: every job is followed to its end, none runs twice."""

import pytest

pytestmark = [pytest.mark.airflow, pytest.mark.cluster]

JOBS = 20


@pytest.fixture(scope="module")
def killed(start, airflow, slurm_cluster, wait_until):
    """Return a run during which the triggerer was killed while some jobs ran and others were not yet submitted."""
    run = start("restart_jobs")

    def submitted():
        return len(slurm_cluster.run("squeue", "-h", "-o", "%j", "--name=restart_jobs.followed").stdout.split())

    wait_until(lambda: submitted() >= JOBS // 4, "a quarter of the jobs is submitted", timeout_seconds=90)

    def recorded():
        return [index for index in range(JOBS) if run.record("followed", index)]

    running, *_ = wait_until(recorded, "a submitted job has its record")
    wait_until(lambda: "| second 3" in run.log("followed", map_index=running), "the job's output is followed")
    airflow.kill("triggerer")
    airflow.start_component("triggerer")
    return run, run.wait()


def test_every_task_ends_well(killed):
    """And has its own job's result."""
    run, state = killed
    assert state == "success"
    assert [run.xcom("followed", map_index=index) for index in range(JOBS)] == list(range(JOBS))


def test_no_job_is_submitted_twice(killed, sacct):
    """Accounting knows exactly one job for each task, and the records name these."""
    run, _ = killed
    jobs = sacct("JobID", "State", name="restart_jobs.followed")
    assert [job["State"] for job in jobs] == ["COMPLETED"] * JOBS
    assert {run.record("followed", map_index=index)["job_id"] for index in range(JOBS)} == {
        job["JobID"] for job in jobs
    }


def test_the_log_goes_on(killed):
    """A log that was begun before the kill says from where it goes on, and reaches the end."""
    run, _ = killed
    logs = [run.log("followed", map_index=index) for index in range(JOBS)]
    assert all("| second 15" in log for log in logs)
    assert any("found again" in log and "the job's stdout goes on at byte" in log for log in logs)
