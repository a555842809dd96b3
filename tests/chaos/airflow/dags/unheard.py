"""Tasks that people mark and clear while no triggerer runs, and tasks whose jobs outlast a frozen triggerer."""

import os

from airflow.sdk import DAG

from headnode import SlurmJobOperator

FULL = os.environ.get("HEADNODE_FULL") == "1"
SECONDS = (30, 50, 90) if FULL else (8, 14, 30)
# A job that finds the lock taken runs beside another job of its task.
COMMAND = """\
exec 8>>"$HEADNODE_DIRECTORY/../.beside"
flock -n 8 || echo $SLURM_JOB_ID >> "$HEADNODE_DIRECTORY/../overlaps"
sleep $1"""


def job(task_id, seconds, **fields):
    """Make a task whose job takes so many seconds."""
    return SlurmJobOperator(task_id=task_id, command=["bash", "-c", COMMAND, "_", str(seconds)], memory="10M", **fields)


def _on_success(context):
    """Make the task end on a worker."""


# Long in the first try, short in all later ones.
FIRST = "{{ 900 if ti.try_number == 1 else 1 }}"

with DAG("unheard", schedule=None):
    job("failed", 900)
    job("started_failed", 900, start_from_trigger=True)
    job("cleared", FIRST)
    job("started_cleared", FIRST, start_from_trigger=True)
    job("cleared_then_failed", 900)

with DAG("frozen", schedule=None):
    for each in SECONDS:
        job(f"in_trigger_{each}", each)
        job(f"on_worker_{each}", each, on_success_callback=_on_success)
        job(f"started_{each}", each, start_from_trigger=True)
