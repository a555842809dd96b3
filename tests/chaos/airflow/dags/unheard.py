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
set -- "$HEADNODE_DIRECTORY"/../*-1
if [ $# -gt 1 ]; then sleep 1; else sleep {seconds}; fi 8>&-"""


def job(task_id, seconds=900, **fields):
    """Make a task whose first job takes so many seconds; those of later tries take one."""
    return SlurmJobOperator(task_id=task_id, command=COMMAND.format(seconds=seconds), memory="10M", **fields)


def _on_success(context):
    """Make the task end on a worker."""


with DAG("unheard", schedule=None):
    job("failed")
    job("started_failed", start_from_trigger=True)
    job("cleared")
    job("started_cleared", start_from_trigger=True)
    job("cleared_then_failed")

with DAG("frozen", schedule=None):
    for each in SECONDS:
        job(f"in_trigger_{each}", each)
        job(f"on_worker_{each}", each, on_success_callback=_on_success)
        job(f"started_{each}", each, start_from_trigger=True)
