"""What the demonstration says at its end: the map and how right it is, or what failed and where to look."""

from __future__ import annotations

import socket
from typing import Any

from rich.console import Console

from demo.place import AIRFLOW, DATA, cluster_directory
from headnode.testing.airflow import AirflowApiError, PrivateAirflow
from headnode.testing.airflow_settings import ANY_ADDRESSES, PASSWORDS_FILE

LOG_LINES = 30
LAST_TASK = "publish"


def report_success(airflow: PrivateAirflow, dag_id: str, run_id: str, console: Console) -> None:
    """Show what the last step published, and how to look at it in the UI."""
    result = airflow.xcom(dag_id, run_id, LAST_TASK)
    console.print()
    for name, value in _flat(result):
        console.print(f"  {name:<34}{value}", markup=False, highlight=False, soft_wrap=True)
    show_login(airflow, console)


def report_failure(airflow: PrivateAirflow, dag_id: str, run_id: str, state: str, console: Console) -> None:
    """Show the failed steps with the ends of their logs, and where all logs are."""
    console.print(f"\nThe run {run_id} of {dag_id} is {state}.", style="bold red", highlight=False)
    for instance in airflow.task_instances(dag_id, run_id):
        if instance["state"] == "failed":
            name = instance["task_id"]
            console.print(f"\nThe last lines of the log of {name}:", highlight=False)
            for line in _log_tail(airflow, dag_id, run_id, instance):
                console.print(f"    {line}", markup=False, highlight=False, soft_wrap=True)
    show_logs(console)
    show_login(airflow, console)


def show_logs(console: Console) -> None:
    """Name the folders of logs."""
    console.print("\nAll logs:")
    for what, folder in (
        ("steps", AIRFLOW / "logs"),
        ("Airflow", AIRFLOW / "*.log"),
        ("Slurm and sshd", cluster_directory() / "log"),
        ("data of the jobs", DATA),
    ):
        console.print(f"  {what:<18}{folder}", highlight=False, soft_wrap=True)


def show_login(airflow: PrivateAirflow, console: Console) -> None:
    """Print the UI's address, its login and how to stop all."""
    user = next(iter(airflow.settings.users))
    address = airflow.url
    if airflow.settings.host in ANY_ADDRESSES:
        address += f" (from elsewhere: http://{socket.gethostname()}:{airflow.settings.port})"
    console.print(f"\n  Airflow    {address}", highlight=False, soft_wrap=True)
    console.print(f"  login      {user}, password {airflow.password(user)}", markup=False, highlight=False)
    console.print(f"             (kept in {airflow.directory / PASSWORDS_FILE})", highlight=False, soft_wrap=True)
    console.print("  to stop    make stop", highlight=False)


def _log_tail(airflow: PrivateAirflow, dag_id: str, run_id: str, instance: dict[str, Any]) -> list[str]:
    try:
        log = airflow.task_log(dag_id, run_id, instance["task_id"], instance["try_number"], instance["map_index"])
    except AirflowApiError as error:
        return [f"(its log cannot be read: {error})"]
    return log.splitlines()[-LOG_LINES:]


def _flat(value: Any, name: str = "") -> list[tuple[str, str]]:
    """Give the leaves of a result, each with its path of names."""
    if not isinstance(value, dict):
        return [(name or "result", f"{value:.3f}" if isinstance(value, float) else str(value))]
    return [leaf for key, part in value.items() for leaf in _flat(part, f"{name} {key}".strip())]
