"""A triggerer that is killed while it cancels leaves a job behind; the next one finds and ends it."""

import pytest

pytestmark = [pytest.mark.airflow, pytest.mark.cluster]


def test_a_job_that_was_left_behind_is_ended(start, airflow, slurm_cluster, wait_until):
    """Its task was marked failed while the cluster could not be reached, and the triggerer died before it could be."""
    run = start("swept_jobs")
    job_id = run.wait_for_record("left", state="RUNNING")["job_id"]

    def queued():
        return slurm_cluster.run("squeue", "-h", "-o", "%T", f"--jobs={job_id},{job_id}").stdout.strip()

    slurm_cluster.stop_sshd()
    try:
        airflow.set_task_state("swept_jobs", run.run_id, "left", "failed")
        wait_until(lambda: "Trying again" in run.log("left"), "the job can't be cancelled")
        airflow.kill("triggerer")
    finally:
        slurm_cluster.start_sshd()
    airflow.start_component("triggerer")
    assert start("sweeping_jobs").wait() == "success"
    assert queued(), "somebody else has ended the job"
    wait_until(lambda: not queued(), "the job that was left is ended", timeout_seconds=180)
