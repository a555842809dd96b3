"""Jobs that are followed with certificates of seconds, until a file tells them to end."""

from airflow.sdk import DAG

from headnode import SlurmJobOperator

WAYS = ("hand", "program")

with DAG("expiring_jobs", schedule=None, params={"release": ""}):
    for way in WAYS:
        SlurmJobOperator(
            task_id=f"renewed_by_{way}",
            slurm_conn_id=f"expiring_{way}",
            command=["sh", "-c", 'until test -e "$1"; do sleep 0.2; done', "_", "{{ params.release }}"],
        )
