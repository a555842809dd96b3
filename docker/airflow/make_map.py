"""What `make up` runs inside Airflow's container: make one map and show the progress, then tell what came of it.

make_map.py run RUN_ID YEAR ELAPSED_SECONDS
make_map.py report RUN_ID FOLDER ADDRESS PASSWORD_FILE    (the last three as the machine outside names them)
"""

# ruff: noqa: INP001 - a script of an image, no package
from __future__ import annotations

import json
import sys
import time
from pathlib import Path, PurePosixPath

from demo.__main__ import DAG_ID, INTERRUPTED, RUN_SECONDS, end_interrupted_runs
from demo.place import hear_signals
from demo.progress import RunProgress
from demo.report import LAST_TASK, accuracy_lines, show_failed_steps
from rich.console import Console

from headnode.errors import HeadnodeError
from headnode.testing.airflow import AirflowStartError, PrivateAirflow
from headnode.testing.airflow_settings import PASSWORDS_FILE

DIRECTORY = Path("/airflow")
DATA = PurePosixPath("/data/landcover")
START_SECONDS = 240


def main(arguments: list[str]) -> int:
    """Do what the first argument asks and give the exit code."""
    command, *rest = arguments
    console = Console()
    try:
        return run(console, *rest) if command == "run" else report(console, *rest)
    except HeadnodeError as error:
        console.print(f"\n{error}", style="red", markup=False, highlight=False, soft_wrap=True)
        return 1


def run(console: Console, run_id: str, year: str, elapsed_seconds: str) -> int:
    """Trigger the DAG and follow it to its end."""
    hear_signals()
    started = time.monotonic() - float(elapsed_seconds)
    airflow = _running_airflow()
    end_interrupted_runs(airflow, lambda text: console.print(text, highlight=False))
    airflow.trigger_dag(DAG_ID, run_id=run_id, conf={"year": int(year)})
    try:
        with RunProgress(airflow, DAG_ID, run_id, console, started=started) as progress:
            state = progress.follow(timeout_seconds=RUN_SECONDS)
    except KeyboardInterrupt:
        # Its jobs would go on, and the next run would wait for it.
        airflow.set_run_state(DAG_ID, run_id, "failed")
        return INTERRUPTED
    if state == "success":
        return 0
    show_failed_steps(airflow, DAG_ID, run_id, state, console)
    return 1


def report(console: Console, run_id: str, folder: str, address: str, password_file: str) -> int:
    """Show the map, how right it is, and the login."""
    airflow = PrivateAirflow.attach(DIRECTORY)
    result = airflow.xcom(DAG_ID, run_id, LAST_TASK)

    def show(line: str) -> None:
        console.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)

    show("")
    for name in ("map", "quicklook", "metrics"):
        outside = PurePosixPath(folder) / PurePosixPath(result[name]).relative_to(DATA / "published")
        show(f"{name:<11}{outside}")
    show("\n  forest or not, on blocks of 10 x 10 pixels that no training saw:")
    for line in accuracy_lines(result):
        show(f"  {line}")
    passwords = json.loads((DIRECTORY / PASSWORDS_FILE).read_text())
    show(f"\n  Airflow    {address}")
    for user, password in passwords.items():
        show(f"login      {user}, password {password}")
    show(f"           (kept in {password_file})")
    show("to stop    make down")
    return 0


def _running_airflow() -> PrivateAirflow:
    """Wait until Airflow is ready; its container starts it."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            airflow = PrivateAirflow.attach(DIRECTORY)
            health = airflow.api("GET", "/monitor/health")
            if all(health[part]["status"] == "healthy" for part in ("scheduler", "dag_processor", "triggerer")):
                return airflow
        except HeadnodeError:
            if time.monotonic() > deadline:
                raise
        if time.monotonic() > deadline:
            raise AirflowStartError(f"Airflow is not ready after {START_SECONDS} s; see the logs of its container")
        time.sleep(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
