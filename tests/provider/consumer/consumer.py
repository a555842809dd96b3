"""A DAG of another repository, which has installed headnode and checks its own types strictly."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, task

from headnode import SlurmJobOperator, SlurmJobSensor


@task
def read(result: Any, job_id: str) -> str:  # when the DAG is built, the result is a reference to it
    """Use a job's result and record in Python."""
    return f"{result['answer']} by job {job_id}"


with DAG("consumer", schedule=None) as dag:
    compute = SlurmJobOperator(
        task_id="compute",
        slurm_conn_id="my_cluster",
        command=["bash", "-c", 'echo "{\\"answer\\": $1}" > "$HEADNODE_RESULT"', "_", "{{ 6 * 7 }}"],
        time_limit=timedelta(minutes=5),
        memory="50M",
    )
    wait = SlurmJobSensor(
        task_id="wait", slurm_conn_id="my_cluster", job_id="{{ ti.xcom_pull('compute', key='slurm_job')['job_id'] }}"
    )
    told = read(compute.output, "{{ ti.xcom_pull('compute', key='slurm_job')['job_id'] }}")
    compute >> wait >> told
