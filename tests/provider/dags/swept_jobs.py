"""A job that is left behind, and another one whose trigger looks after it."""

from airflow.sdk import DAG

from headnode import SlurmJobOperator

with DAG("swept_jobs", schedule=None):
    SlurmJobOperator(task_id="left", command=["sleep", "600"])

with DAG("sweeping_jobs", schedule=None):
    SlurmJobOperator(task_id="another", command=["sleep", "1"])
