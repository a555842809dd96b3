"""The same jobs three ways: headnode, the SSH provider's remote job around ``sbatch --wait``, and a bash loop."""

import os

from airflow.providers.ssh.operators.ssh import SSHOperator
from airflow.providers.ssh.operators.ssh_remote_job import SSHRemoteJobOperator
from airflow.sdk import DAG

from headnode import SlurmJobOperator

JOBS = int(os.environ.get("HEADNODE_BENCH_JOBS", "20"))
SECONDS = int(os.environ.get("HEADNODE_BENCH_SECONDS", "10"))

LOOP = """
id=$(sbatch --parsable --output=/dev/null --wrap 'sleep {seconds}') || exit 1
while [ -n "$(squeue --noheader --jobs=$id,$id)" ]; do sleep 2; done
[ "$(sacct --noheader --allocations --parsable2 --jobs=$id --format=State)" = COMPLETED ]
"""

with DAG("bench_headnode", schedule=None) as headnode_dag:
    SlurmJobOperator.partial(
        task_id="job", slurm_conn_id="cluster", command=["sleep", str(SECONDS)], max_active_tis_per_dag=1000
    ).expand(env=[{"ELEMENT": str(at)} for at in range(JOBS)])

with DAG("bench_remote_job", schedule=None) as remote_job_dag:
    SSHRemoteJobOperator.partial(
        task_id="job", ssh_conn_id="cluster", poll_interval=2, max_active_tis_per_dag=1000
    ).expand(command=[f"sbatch --wait --output=/dev/null --wrap 'sleep {SECONDS}' # {at}" for at in range(JOBS)])

with DAG("bench_bash_loop", schedule=None) as bash_loop_dag:
    SSHOperator.partial(
        task_id="job", ssh_conn_id="cluster", cmd_timeout=3600, conn_timeout=60, max_active_tis_per_dag=1000
    ).expand(command=[f"{LOOP.format(seconds=SECONDS)} # {at}" for at in range(JOBS)])
