"""What `make up` runs inside Airflow's container: make the maps and show the progress, then tell what came of it.

make_map.py run YEARS ADDRESS ELAPSED_SECONDS
make_map.py report FOLDER ADDRESS PASSWORD_FILE    (all three as the machine outside names them)
"""

# ruff: noqa: INP001 - a script of an image, no package
from __future__ import annotations

import json
import sys
import time
from pathlib import Path, PurePosixPath

from demo.__main__ import INTERRUPTED
from demo.place import hear_signals
from demo.report import map_lines, show_failed_steps
from demo.years import DAG_ID, MAP, end_interrupted_runs, map_years, parse_years, published_maps
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


def run(console: Console, years: str, address: str, elapsed_seconds: str) -> int:
    """Trigger the DAG for each year and follow it to its end."""
    hear_signals()
    started = time.monotonic() - float(elapsed_seconds)
    airflow = _running_airflow()

    def say(text: str) -> None:
        seconds = time.monotonic() - started
        outside = text.replace(airflow.url, address)
        console.print(f"{seconds:5.0f} s  {outside}", markup=False, highlight=False, soft_wrap=True)

    try:
        run_id, state = map_years(airflow, parse_years(years), console, say, started=started)
    except KeyboardInterrupt:
        # Its jobs would go on, and the next run would wait for it.
        end_interrupted_runs(airflow, say)
        return INTERRUPTED
    if state == "success":
        return 0
    show_failed_steps(airflow, DAG_ID, run_id, state, console)
    return 1


def report(console: Console, folder: str, address: str, password_file: str) -> int:
    """Show the maps, how right they are, and the login."""
    airflow = PrivateAirflow.attach(DIRECTORY)

    def show(line: str) -> None:
        console.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)

    def outside(path: str) -> str:
        return str(PurePosixPath(folder) / PurePosixPath(path).relative_to(DATA / MAP / "published"))

    show("")
    for line in map_lines(published_maps(airflow), outside):
        show(line)
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
