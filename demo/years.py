"""The demonstration's runs: one of the DAG for each year, one after the other, as a schedule would have them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from demo.place import DemoError
from demo.progress import RunProgress
from headnode.testing.airflow import AirflowApiError, PrivateAirflow

MAP = "romania_valley"
DAG_ID = f"landcover_{MAP}"
RUN_PREFIX = "demo-"
RUN_SECONDS = 1800
YEARS = (2018, 2019, 2020)
LAST_JOB = "publish"
Say = Callable[[str], None]


def parse_years(text: str) -> tuple[int, ...]:
    """Read years with commas or blanks between them.

    Raises:
        ValueError: something else is there, or nothing.
    """
    years = tuple(int(word) for word in text.replace(",", " ").split())
    if not years:
        raise ValueError("no year is named")
    return years


def years_to_map(wanted: Sequence[int] | None, published: Path) -> tuple[int, ...]:
    """Return the years that were asked for; else the last one, behind those that have no published map yet."""
    if wanted:
        return tuple(wanted)
    return tuple(year for year in YEARS if year == YEARS[-1] or not (published / str(year) / "current").exists())


def map_years(
    airflow: PrivateAirflow, years: Sequence[int], console: Console, say: Say, *, started: float
) -> tuple[str, str]:
    """Run the DAG for each year, show the progress, and return the last run and its state; a failure ends it."""
    end_interrupted_runs(airflow, say)
    if not years:
        raise DemoError("there is no year to map")
    run_id, state = "", ""
    for year in years:
        run_id = f"{RUN_PREFIX}{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}"
        airflow.trigger_dag(DAG_ID, run_id=run_id, conf={"year": year})
        say(f"DAG {DAG_ID} runs for {year}: {airflow.url}/dags/{DAG_ID}/runs/{run_id}")
        with RunProgress(airflow, DAG_ID, run_id, console, started=started) as progress:
            state = progress.follow(timeout_seconds=RUN_SECONDS)
        if state != "success":
            break
        say(f"the map of {year} is published")
    return run_id, state


def end_interrupted_runs(airflow: PrivateAirflow, say: Say) -> None:
    """Mark runs of an interrupted demonstration as failed: the DAG has one run at a time, the new one would wait."""
    airflow.wait_for_dag(DAG_ID)
    query = {"state": ["running", "queued"], "limit": 100}
    for run in airflow.api("GET", f"/dags/{DAG_ID}/dagRuns", params=query)["dag_runs"]:
        if run["dag_run_id"].startswith(RUN_PREFIX):
            say(f"ending the interrupted run {run['dag_run_id']}")
            airflow.set_run_state(DAG_ID, run["dag_run_id"], "failed")


def published_maps(airflow: PrivateAirflow) -> list[dict[str, Any]]:
    """Return what the last successful run of each year has published, in the order of the years."""
    query = {"state": ["success"], "order_by": "-run_after", "limit": 100}
    found: dict[int, dict[str, Any]] = {}
    for run in airflow.api("GET", f"/dags/{DAG_ID}/dagRuns", params=query)["dag_runs"]:
        try:
            result = airflow.xcom(DAG_ID, run["dag_run_id"], LAST_JOB)
        except AirflowApiError:
            continue  # a run that was marked as successful by hand has published nothing
        found.setdefault(int(result["year"]), result)
    return [found[year] for year in sorted(found)]
