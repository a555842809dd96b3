"""Jobs that are under way while the triggerer is killed."""

from airflow.sdk import DAG

from headnode import SlurmJobOperator

COUNT = "for second in $(seq 15); do echo second $second; sleep 1; done; echo $1 > $HEADNODE_RESULT"

with DAG("restart_jobs", schedule=None, max_active_tasks=32):
    SlurmJobOperator.partial(task_id="followed").expand(
        command=[["bash", "-c", COUNT, "_", str(number)] for number in range(20)]
    )
