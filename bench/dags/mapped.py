"""N mapped tasks: headnode, the SSH provider's remote job around ``sbatch --wait``, and a bash loop in a worker.

Every job ends by writing the time into a file, so that what comes after its end can be measured.
"""

import json
import os
from typing import Any

from airflow.providers.ssh.operators.ssh import SSHOperator
from airflow.providers.ssh.operators.ssh_remote_job import SSHRemoteJobOperator
from airflow.sdk import DAG

from headnode import SlurmJobOperator

PLAN = json.loads(os.environ["HEADNODE_BENCH_PLAN"])

LOOP = """
id=$(sbatch --parsable --output=/dev/null --time={limit} --wrap '{command}') || exit 1
while [ -n "$(squeue --noheader --jobs=$id,$id)" ]; do sleep 2; done
[ "$(sacct --noheader --allocations --parsable2 --jobs=$id --format=State)" = COMPLETED ]
"""
WAIT = "sbatch --wait --output=/dev/null --time={limit} --wrap '{command}'"


def job(case: dict[str, Any], at: int | str) -> str:
    """Return the shell text of a job."""
    return f"sleep {case['seconds']}; date +%s.%N > {PLAN['ends']}/{case['name']}.{at}"


def headnode(case: dict[str, Any]) -> None:
    """Make the mapped tasks of headnode."""
    SlurmJobOperator.partial(
        task_id="job",
        slurm_conn_id=case["name"],
        time_limit=str(case["minutes_limit"]),
        command=["sh", "-c", job(case, "$ELEMENT")],
    ).expand(env=[{"ELEMENT": str(at)} for at in range(case["jobs"])])


def remote_job(case: dict[str, Any]) -> None:
    """Make the mapped tasks that detach a process on the head node."""
    limit = case["minutes_limit"]
    commands = [WAIT.format(limit=limit, command=job(case, at)) for at in range(case["jobs"])]
    SSHRemoteJobOperator.partial(
        task_id="job", ssh_conn_id=case["name"], poll_interval=2, remote_base_dir=PLAN["remote_directory"]
    ).expand(command=commands)


def bash_loop(case: dict[str, Any]) -> None:
    """Make the mapped tasks that hold a worker and a login each."""
    limit = case["minutes_limit"]
    commands = [LOOP.format(limit=limit, command=job(case, at)) for at in range(case["jobs"])]
    SSHOperator.partial(task_id="job", ssh_conn_id=case["name"], cmd_timeout=7200, conn_timeout=60).expand(
        command=commands
    )


for case in PLAN["cases"]:
    if case["way"] in ("headnode", "remote_job", "bash_loop"):
        with DAG(case["name"], schedule=None) as dag:
            {"headnode": headnode, "remote_job": remote_job, "bash_loop": bash_loop}[case["way"]](case)
        globals()[case["name"]] = dag
