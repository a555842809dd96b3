"""Tasks whose jobs begin and end one after another, so that whatever dies meets some of them in each stage."""

import os
from datetime import timedelta

from airflow.sdk import DAG

from headnode import SlurmJobOperator

FULL = os.environ.get("HEADNODE_FULL") == "1"
TASKS = 12 if FULL else 4
STEP_SECONDS = 10 if FULL else 3
RETRIES = 12  # while an API server starts on a busy machine, Airflow's workers use up several
# A job that finds the lock taken runs beside another job of its task; none ends while a test holds them.
COMMAND = """\
exec 8>>"$HEADNODE_DIRECTORY/../.beside"
flock -n 8 || echo $SLURM_JOB_ID >> "$HEADNODE_DIRECTORY/../overlaps"
echo first
sleep {seconds} 8>&-
while [ -e "$HEADNODE_DIRECTORY/../../../hold" ]; do sleep 0.5 8>&-; done
echo last
echo {number} > $HEADNODE_RESULT"""


def _fields(number):
    return {
        "command": COMMAND.format(seconds=1 + number * STEP_SECONDS, number=number),
        "memory": "10M",
        "retries": RETRIES,
        "retry_delay": timedelta(seconds=1),
    }


def _on_success(context):
    """Make the task end on a worker."""


with DAG("waves", schedule=None, max_active_tasks=64):
    for each in range(TASKS):
        SlurmJobOperator(task_id=f"in_trigger_{each}", **_fields(each))
        SlurmJobOperator(task_id=f"on_worker_{each}", on_success_callback=_on_success, **_fields(each))
    for each in range(TASKS // 2):
        SlurmJobOperator(task_id=f"started_{each}", start_from_trigger=True, **_fields(each))
