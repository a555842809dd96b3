"""Many jobs at once, as mapped tasks on one connection of type ``ssh``."""

import os

from airflow.sdk import DAG

from headnode import SlurmJobOperator

JOBS = 100 if os.environ.get("HEADNODE_FULL") == "1" else 24

with DAG("many_jobs", schedule=None, max_active_tasks=200, params={"seconds": 5}):
    SlurmJobOperator.partial(task_id="one_of_many", slurm_conn_id="many_jobs", memory="10M").expand(
        command=[["sleep", "{{ params.seconds }}"] for _ in range(JOBS)]
    )
