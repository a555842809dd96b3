"""``python -m demo up|stop|status``: run the demonstration, end it, or tell what of it runs."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Console

from demo.place import (
    AIRFLOW,
    JOBS_PYTHON,
    DemoError,
    alone,
    cluster_directory,
    hear_signals,
    interrupt_other,
)
from demo.progress import RunProgress
from demo.report import report_failure, report_success, show_login, show_logs
from demo.services import Say, listening_host, start_airflow, start_cluster, stop_everything
from headnode.errors import HeadnodeError
from headnode.testing import SlurmCluster
from headnode.testing.airflow import PrivateAirflow

DAG_ID = "landcover_map"
RUN_PREFIX = "demo-"
RUN_SECONDS = 1800
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks and give the exit code."""
    options = _parser().parse_args(arguments)
    console = Console()
    try:
        if options.command == "up":
            return _up(options, console)
        if options.command == "stop":
            return _stop(console)
        return _status(console)
    except HeadnodeError as error:
        console.print(f"\n{error}", style="red", markup=False, highlight=False, soft_wrap=True)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start what is needed and make the map; the UI stays up")
    up.add_argument("--year", type=int, default=2018, help="the year to map (default: %(default)s)")
    up.add_argument(
        "--host",
        default=os.environ.get("HOST"),
        help="the address that the UI listens on (default: $HOST, else 127.0.0.1)",
    )
    commands.add_parser("stop", help="end every process of the demonstration; what it made stays")
    commands.add_parser("status", help="tell what runs, and the login")
    return parser


def _up(options: argparse.Namespace, console: Console) -> int:
    started = time.monotonic()

    def say(text: str) -> None:
        seconds = time.monotonic() - started
        console.print(f"{seconds:5.0f} s  {text}", markup=False, highlight=False, soft_wrap=True)

    with alone():
        hear_signals()
        try:
            return _make_map(options, console, say, started)
        except KeyboardInterrupt:
            say("interrupted")
            stop_everything(say)
            return INTERRUPTED
        except HeadnodeError:
            show_logs(console)
            raise


def _make_map(options: argparse.Namespace, console: Console, say: Say, started: float) -> int:
    if not JOBS_PYTHON.exists():
        raise DemoError(f"there is no {JOBS_PYTHON}, which the jobs run with; build it with: make demo")
    host = listening_host(options.host, say)
    cluster = start_cluster(say)
    airflow = start_airflow(cluster, host, say)
    say(f"Airflow is ready at {airflow.url}")
    end_interrupted_runs(airflow, say)
    run_id = f"{RUN_PREFIX}{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}"
    airflow.trigger_dag(DAG_ID, run_id=run_id, conf={"year": options.year})
    say(f"DAG {DAG_ID} runs for {options.year}: {airflow.url}/dags/{DAG_ID}/runs/{run_id}")
    with RunProgress(airflow, DAG_ID, run_id, console, started=started) as progress:
        state = progress.follow(timeout_seconds=RUN_SECONDS)
    if state != "success":
        report_failure(airflow, DAG_ID, run_id, state, console)
        return 1
    say("the map is made")
    report_success(airflow, DAG_ID, run_id, console)
    return 0


def end_interrupted_runs(airflow: PrivateAirflow, say: Say) -> None:
    """Mark runs of an interrupted demonstration as failed: the DAG has one run at a time, the new one would wait."""
    airflow.wait_for_dag(DAG_ID)
    query = {"state": ["running", "queued"], "limit": 100}
    for run in airflow.api("GET", f"/dags/{DAG_ID}/dagRuns", params=query)["dag_runs"]:
        if run["dag_run_id"].startswith(RUN_PREFIX):
            say(f"ending the interrupted run {run['dag_run_id']}")
            airflow.set_run_state(DAG_ID, run["dag_run_id"], "failed")


def _stop(console: Console) -> int:
    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    interrupt_other()
    stop_everything(say)
    say("nothing of the demonstration runs any more; `make demo` goes on from what it stored")
    return 0


def _status(console: Console) -> int:
    cluster = SlurmCluster.attach(cluster_directory())
    console.print(f"Slurm cluster: {cluster.user}@{cluster.host}, port {cluster.port}", highlight=False)
    airflow = PrivateAirflow.attach(AIRFLOW)
    if not airflow.is_running:
        raise DemoError(f"no Airflow runs in {AIRFLOW}; start it with: make demo")
    show_login(airflow, console)
    return 0


if __name__ == "__main__":
    sys.exit(main())
