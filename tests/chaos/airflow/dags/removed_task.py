"""A DAG that loses a task while its job runs."""

from airflow.sdk import DAG

from headnode import SlurmJobOperator

with DAG("removed_task", schedule=None):
    SlurmJobOperator(task_id="stays", command=["sleep", "10"], memory="10M")
    SlurmJobOperator(task_id="removed", command=["sleep", "900"], memory="10M")
