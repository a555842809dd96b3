"""Jobs that would run for long: to be watched, cancelled, cleared and timed out."""

from datetime import timedelta

from airflow.sdk import DAG

from headnode import SlurmJobOperator

COUNT = "for second in $(seq 300); do echo second $second; sleep 1; done"

with DAG("long_jobs", schedule=None):
    SlurmJobOperator(task_id="marked", command=COUNT)
    SlurmJobOperator(task_id="cleared", command=COUNT)
    SlurmJobOperator(task_id="timed_out", command=COUNT, execution_timeout=timedelta(seconds=5))
