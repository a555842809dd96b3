"""How N jobs of S seconds fare: ``python -m bench.many_jobs --jobs 12 --seconds 10``.

One private cluster with sshd's default limits, one private Airflow (SQLite, LocalExecutor), three ways one after the
other. Reported for each: wall time of the DAG run, states of its tasks, SSH logins, calls of Slurm's commands.
"""

from __future__ import annotations

import json
import platform
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from headnode.testing import SlurmCluster
from headnode.testing.airflow import PrivateAirflow

WAYS = {
    "headnode": "bench_headnode",
    "SSHRemoteJobOperator + sbatch --wait": "bench_remote_job",
    "SSHOperator + bash loop": "bench_bash_loop",
}
COMMANDS = ("sbatch", "squeue", "sacct")


def run_way(airflow: PrivateAirflow, cluster: SlurmCluster, dag_id: str, timeout_seconds: float) -> dict[str, object]:
    """Run one DAG and return what it cost."""
    airflow.wait_for_dag(dag_id)
    airflow.unpause(dag_id)
    logins, calls, began = cluster.logins(), cluster.count_calls(), time.monotonic()
    run_id = airflow.trigger_dag(dag_id)
    state = airflow.wait_for_run(dag_id, run_id, timeout_seconds=timeout_seconds)
    wall = time.monotonic() - began
    states = Counter(str(ti["state"]) for ti in airflow.task_instances(dag_id, run_id))
    after = cluster.count_calls()
    return {
        "state": state,
        "wall": wall,
        "tasks": ", ".join(f"{count} {name}" for name, count in sorted(states.items())),
        "logins": cluster.logins() - logins,
        **{name: after.get(name, 0) - calls.get(name, 0) for name in COMMANDS},
    }


def main(
    jobs: Annotated[int, typer.Option(help="how many jobs")] = 12,
    seconds: Annotated[int, typer.Option(help="how long each job sleeps")] = 10,
    poll_seconds: Annotated[float, typer.Option(help="headnode's shortest polling interval")] = 2.0,
    workers: Annotated[int, typer.Option(help="LocalExecutor's processes")] = 8,
) -> None:
    """Measure and print a table; put it into bench/RESULTS.md with the line above it."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    with tempfile.TemporaryDirectory(prefix="hnb") as folder:
        cluster = SlurmCluster.start(Path(folder, "c"), cpus_per_node=64)
        try:
            results = measure(
                Path(folder), cluster, jobs=jobs, seconds=seconds, poll_seconds=poll_seconds, workers=workers
            )
        finally:
            cluster.stop()
    machine = f"{platform.processor() or platform.machine()}, Python {platform.python_version()}"
    console.print(f"{jobs} jobs of {seconds} s, {workers} workers, {machine}, {datetime.now(UTC):%Y-%m-%d}")
    table = Table("way", "tasks", "wall s", "ratio", "SSH logins", *COMMANDS)
    first = float(str(next(iter(results.values()))["wall"]))
    for name, cost in results.items():
        wall = float(str(cost["wall"]))
        counts = [str(cost[key]) for key in ("logins", *COMMANDS)]
        table.add_row(name, str(cost["tasks"]), f"{wall:.1f}", f"{wall / first:.2f}", *counts)
    console.print(table)


def measure(
    folder: Path, cluster: SlurmCluster, *, jobs: int, seconds: int, poll_seconds: float, workers: int
) -> dict[str, dict[str, object]]:
    """Run all ways in one Airflow."""
    connection = json.loads(cluster.airflow_connection_json("ssh"))
    extra = connection.get("extra") or {}
    extra = json.loads(extra) if isinstance(extra, str) else extra
    # cmd_timeout is for the provider's own operators, which would give up after ten seconds.
    connection["extra"] = {**extra, "poll_seconds": poll_seconds, "work_directory": f"{folder}/w", "cmd_timeout": 600}
    airflow = PrivateAirflow.start(
        folder / "a",
        dags_folder=Path(__file__).parent / "dags",
        connections={"cluster": json.dumps(connection)},
        env={
            "HEADNODE_BENCH_JOBS": str(jobs),
            "HEADNODE_BENCH_SECONDS": str(seconds),
            "AIRFLOW__CORE__PARALLELISM": str(workers),
            "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": "1000",
        },
    )
    try:
        limit = 300 + 5.0 * jobs + jobs * seconds / workers * 3
        return {name: run_way(airflow, cluster, dag_id, limit) for name, dag_id in WAYS.items()}
    finally:
        airflow.stop()


if __name__ == "__main__":
    typer.run(main)
