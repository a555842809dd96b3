"""``python -m demo up|stop|status``: run the demonstration, end it, or tell what of it runs."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence

from rich.console import Console

from demo.place import (
    AIRFLOW,
    DATA,
    JOBS_PYTHON,
    DemoError,
    alone,
    cluster_directory,
    hear_signals,
    interrupt_other,
)
from demo.report import report_failure, report_success, show_login, show_logs
from demo.services import Say, listening_host, start_airflow, start_cluster, stop_everything
from demo.years import DAG_ID, MAP, map_years, parse_years, years_to_map
from headnode.errors import HeadnodeError
from headnode.testing import SlurmCluster
from headnode.testing.airflow import PrivateAirflow

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
    up = commands.add_parser("up", help="start what is needed and make the maps; the UI stays up")
    up.add_argument(
        "--years",
        type=parse_years,
        help="the years to map, with commas (default: those of 2018, 2019, 2020 without a map, and 2020)",
    )
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
    years = years_to_map(options.years, DATA / MAP / "published")
    run_id, state = map_years(airflow, years, console, say, started=started)
    if state != "success":
        report_failure(airflow, DAG_ID, run_id, state, console)
        return 1
    say("the maps are made")
    report_success(airflow, console)
    return 0


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
