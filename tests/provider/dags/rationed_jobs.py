"""A trigger and a worker that have to wait for their turns to log in."""

from airflow.sdk import DAG, task

from headnode import SlurmHook, SlurmJobOperator

with DAG("rationed_jobs", schedule=None):
    SlurmJobOperator(task_id="by_trigger", slurm_conn_id="rationed", command=["true"])

    @task
    def by_worker():
        """Look for a job that nobody knows."""
        assert SlurmHook("rationed").job_state("4000000") is None

    by_worker()
