"""Tasks that are taken from their jobs: each job would run on for long, except in the try that is to end well."""

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG

from headnode import SlurmJobOperator

# A job that finds the lock taken runs beside another job of its task. The programs that it starts don't hold the lock:
# Slurm, which knows a job's processes by their parents here, misses one that is being started as it kills the job.
COMMAND = """\
exec 8>>"$HEADNODE_DIRECTORY/../.beside"
flock -n 8 || echo $SLURM_JOB_ID >> "$HEADNODE_DIRECTORY/../overlaps"
set -- "$HEADNODE_DIRECTORY"/../*-1
[ $# -gt 1 ] && [ {again} = ends ] || {wait} 8>&-
echo done"""
LONG = "sleep 900"
# Slurm kills it only KillWait seconds (5) after scancel: until then the job is COMPLETING.
STUBBORN = "{ trap '' TERM; for second in $(seq 900); do sleep 1; done; }"


def job(task_id, *, again="waits", wait=LONG, **fields):
    """Make a task whose first job waits for long; those of later tries do that, too, or end at once."""
    return SlurmJobOperator(task_id=task_id, command=COMMAND.format(again=again, wait=wait), memory="10M", **fields)


HELD = {"begin": "now+1hour"}

# A try that is cleared while its worker runs comes back as one to be retried.
SOON = {"retry_delay": timedelta(seconds=1)}

with DAG("cancelling", schedule=None, max_active_tasks=64, default_args=SOON):
    job("marked_failed")
    job("marked_success")
    job("started_marked_failed", start_from_trigger=True)
    job("pending", sbatch_options=HELD)
    job("cleared", again="ends")
    job("started_cleared", again="ends", start_from_trigger=True)
    job("cleared_twice", again="ends")
    job("cleared_then_failed")
    job("stubborn", again="ends", wait=STUBBORN)

with DAG("timeouts", schedule=None):
    job("timed_out", execution_timeout=timedelta(seconds=40))
    job("started_timed_out", execution_timeout=timedelta(seconds=40), start_from_trigger=True)

for name, more in {"whole_run": {}, "timed_run": {"dagrun_timeout": timedelta(seconds=40)}}.items():
    with DAG(name, schedule=None, **more):
        job("running")
        job("started", start_from_trigger=True)
        job("pending", sbatch_options=HELD)

with DAG("submitting", schedule=None, default_args=SOON):
    job("marked_failed")
    job("cleared", again="ends")

with DAG("daily", schedule="@daily", start_date=datetime(2026, 1, 1, tzinfo=UTC), catchup=False):
    SlurmJobOperator(task_id="day", command=["sleep", "10"], memory="10M")
