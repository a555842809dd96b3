"""Many jobs at once, as mapped tasks on one connection of type ``ssh``."""

from airflow.sdk import DAG

from headnode import SlurmJobOperator

with DAG("many_jobs", schedule=None, max_active_tasks=200, params={"seconds": 5}):
    SlurmJobOperator.partial(task_id="one_of_many", slurm_conn_id="many_jobs", memory="10M").expand(
        command=[["sleep", "{{ params.seconds }}"] for _ in range(100)]
    )
