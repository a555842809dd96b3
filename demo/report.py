"""What the demonstration says at its end: the map and how right it is, or what failed and where to look."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console

from demo.place import AIRFLOW, DATA, cluster_directory
from demo.years import published_maps
from headnode.testing.airflow import AirflowApiError, PrivateAirflow
from headnode.testing.airflow_settings import ANY_ADDRESSES, PASSWORDS_FILE

LOG_LINES = 30


def report_success(airflow: PrivateAirflow, console: Console) -> None:
    """Show the published maps, how right they are, and how to look at them in the UI."""
    console.print()
    for line in map_lines(published_maps(airflow)):
        console.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)
    show_login(airflow, console)


def map_lines(maps: Sequence[Mapping[str, Any]], rename: Callable[[str], str] = str) -> list[str]:
    """Give the lines about each published map: its version, accuracy and files, by the names that `rename` gives."""
    lines = []
    for each in maps:
        score = each["accuracy"]
        by_groups = score.get("groups") or score
        lines.append(
            f"{each['year']}  version {each['version']} by {each['better'].replace('_', ' ')}: forest or not "
            f"{by_groups['overall_accuracy']:.3f}, macro F1 {by_groups['macro_f1']:.3f}; "
            f"three classes {score['overall_accuracy']:.3f}, macro F1 {score['macro_f1']:.3f}"
        )
        lines += [f"      {name:<10}{rename(each[name])}" for name in ("map", "quicklook", "report")]
    lines.append("Accuracy is of blocks of 200 x 200 m that no training saw, in the year of the reference, 2018.")
    return lines


def report_failure(airflow: PrivateAirflow, dag_id: str, run_id: str, state: str, console: Console) -> None:
    """Show the failed steps with the ends of their logs, and where all logs are."""
    show_failed_steps(airflow, dag_id, run_id, state, console)
    show_logs(console)
    show_login(airflow, console)


def show_failed_steps(airflow: PrivateAirflow, dag_id: str, run_id: str, state: str, console: Console) -> None:
    """Show the run's state, and the failed steps with the ends of their logs."""
    console.print(f"\nThe run {run_id} of {dag_id} is {state}.", style="bold red", highlight=False)
    for instance in airflow.task_instances(dag_id, run_id):
        if instance["state"] == "failed":
            name = instance["task_id"]
            console.print(f"\nThe last lines of the log of {name}:", highlight=False)
            for line in _log_tail(airflow, dag_id, run_id, instance):
                console.print(f"    {line}", markup=False, highlight=False, soft_wrap=True)


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
    return [line for line in log.splitlines() if not line.startswith("::")][-LOG_LINES:]
