"""Jobs that fail in ways that another submission cures, or does not; and jobs that outlive an outage of their host."""

from datetime import timedelta

from airflow.sdk import DAG

from headnode import ExcludeNode, MoreMemory, Resubmit, SlurmJobOperator

# The test lets accounting tell exit code 9 as OUT_OF_MEMORY.
NEEDS_250M = '[ "$SLURM_MEM_PER_NODE" -ge 250 ] || exit 9; echo "$SLURM_MEM_PER_NODE" > "$HEADNODE_RESULT"'
GOES_ON = """
import json, os, pathlib, signal, sys, time

checkpoint = pathlib.Path(os.environ["HEADNODE_CHECKPOINT"], "state.json")
seen = json.loads(checkpoint.read_text()) if checkpoint.exists() else []

def save(*_):
    checkpoint.write_text(json.dumps([*seen, os.environ["HEADNODE_SUBMISSION"]]))
    sys.exit(75)

signal.signal(signal.SIGUSR1, save)
if not seen:
    time.sleep(90)
pathlib.Path(os.environ["HEADNODE_RESULT"]).write_text(json.dumps([*seen, os.environ["HEADNODE_SUBMISSION"]]))
"""

with DAG("failure_policies", schedule=None, max_active_tasks=16):
    SlurmJobOperator(
        task_id="more_memory", command=NEEDS_250M, memory="100M", on_out_of_memory=MoreMemory(limit="250M")
    )
    SlurmJobOperator(
        task_id="in_triggerer",
        command=NEEDS_250M,
        memory="200M",
        on_out_of_memory=MoreMemory(factor=1.25),
        start_from_trigger=True,
    )
    SlurmJobOperator(
        task_id="limited", command=NEEDS_250M, memory="100M", on_out_of_memory=MoreMemory(limit="150M"), retries=0
    )
    SlurmJobOperator(
        task_id="from_checkpoint",
        command=["python3", "-c", GOES_ON],
        time_limit="1",
        on_timeout=Resubmit(signal_seconds=55),
    )
    SlurmJobOperator(
        task_id="other_node",
        command='[ "$HEADNODE_SUBMISSION" = 2 ] || sleep 120',
        sbatch_options={"exclusive": True, "no-requeue": True},
        on_node_fail=ExcludeNode(),
    )
    SlurmJobOperator(
        task_id="never_starts",
        command="true",
        sbatch_options={"begin": "now+600"},
        max_pending=timedelta(seconds=3),
        retries=0,
    )
    SlurmJobOperator(
        task_id="restarted",
        command=f"{NEEDS_250M}; sleep 30",
        memory="200M",
        on_out_of_memory=MoreMemory(),
    )

LINES = 'sleep 3; until [ -e "{{ params.gate }}" ]; do sleep 0.5; done; echo 17 > "$HEADNODE_RESULT"'

with DAG("left_jobs", schedule=None, params={"gate": ""}):
    for task_id, retries in (("retried", 20), ("cleared", 0), ("stopped", 0)):
        SlurmJobOperator(
            task_id=task_id,
            slurm_conn_id="behind_proxy",
            command=LINES,
            outage_tolerance=timedelta(seconds=2),
            retries=retries,
            retry_delay=timedelta(seconds=1),
        )
