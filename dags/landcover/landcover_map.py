"""The DAG ``landcover_map``: a yearly tree-cover map from Sentinel-2 time series, by jobs on a Slurm cluster."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import pendulum
from airflow.sdk import DAG, Asset, EventsTimetable, Param

from headnode import SlurmJobOperator

FIRST_YEAR, LAST_YEAR, REFERENCE_YEAR = 2016, 2020, 2018
TILES = 4
FOLDS = 5

CONNECTION = os.environ.get("HEADNODE_LANDCOVER_CONNECTION", "slurm_default")
JOBS_PYTHON = os.environ.get("HEADNODE_JOBS_PYTHON", "python3")
DATA = os.environ.get("HEADNODE_LANDCOVER_DATA", "~/headnode-landcover")
ON_SCHEDULE = os.environ.get("HEADNODE_LANDCOVER_SCHEDULE", "yearly") != "none"

LAND_COVER_MAP = Asset("landcover_map")

DOC = f"""
### A yearly tree-cover map, made on a supercomputer

`download` → `prepare` (cloud mask, monthly composites; a job a tile) → `tune` (Optuna; a study a fold) → `train` (a
transformer with PyTorch DDP on two nodes, and a random forest) → `classify` with the better one (a job a tile) →
`mosaic` (Cloud-Optimised GeoTIFFs) → `validate` → `publish` (a new version, `metrics.json`, a quicklook, an event of
the asset `landcover_map`).

**Which year:** a scheduled run maps the year that its data interval ends; the schedule is each 1 January of the years
that have images, {FIRST_YEAR} to {LAST_YEAR}. A run triggered by hand maps the param `year`, or {REFERENCE_YEAR}, the
year of the reference. Both kinds of models learn from {REFERENCE_YEAR}, and later runs of the same code reuse them.

**How good:** every block of 10 by 10 pixels is mapped, and scored, by models that never saw its labels. A map is
published only if the better model reaches overall accuracy 0.95 and macro F1 0.88 (forest or not) in {REFERENCE_YEAR}.

The jobs run with `$HEADNODE_JOBS_PYTHON` (an absolute path on the cluster; see `requirements.lock` beside this file)
through the connection `$HEADNODE_LANDCOVER_CONNECTION` (`slurm_default`). `$HEADNODE_LANDCOVER_SCHEDULE=none` takes
the DAG off its schedule.
"""


def map_year(params: Mapping[str, Any], run_type: str, interval_end: pendulum.DateTime | None) -> int:
    """Return the year to map: the param, else the year that a scheduled interval ends, else the reference year."""
    if params["year"] is not None:
        return int(params["year"])
    if run_type == "manual" or interval_end is None:
        return REFERENCE_YEAR
    return interval_end.subtract(microseconds=1).year


def describe_map(context: Mapping[str, Any], result: Mapping[str, Any]) -> None:
    """Say in the asset event which map this is and how good."""
    names = ("year", "version", "better", "accuracy", "map")
    context["outlet_events"][LAND_COVER_MAP].extra = {name: result[name] for name in names}


def step(module: str, *, of_year: bool = True, elements: int | None = None, **options: Any) -> SlurmJobOperator:
    """Return the task of one step: the module of the same name in `jobs/`, as an array where it has elements."""
    command = [JOBS_PYTHON, "-m", f"landcover_jobs.{module}", "--data", "{{ params.data }}"]
    if of_year:
        command += ["--year", "{{ map_year(params, dag_run.run_type, data_interval_end) }}"]
    settings: dict[str, Any] = {
        "task_id": module,
        "time_limit": "00:10:00",
        "cpus_per_task": 1,
        "memory": "2G",
    } | options
    if elements is not None:
        settings["sbatch_options"] = {"array": f"0-{elements - 1}"}
    # One core a process, also where libraries count the node's cores instead of the job's.
    return SlurmJobOperator(
        slurm_conn_id=CONNECTION, command=command, code="jobs", env={"OMP_NUM_THREADS": "1"}, **settings
    )


with DAG(
    dag_id="landcover_map",
    description="A yearly tree-cover map from Sentinel-2, trained and classified on a Slurm cluster",
    doc_md=DOC,
    # A list of dates and no end date: with an end date, runs triggered by hand today would never start.
    schedule=EventsTimetable(
        [pendulum.datetime(year + 1, 1, 1) for year in range(FIRST_YEAR, LAST_YEAR + 1)],
        description=f"yearly, for {FIRST_YEAR} to {LAST_YEAR}",
    )
    if ON_SCHEDULE
    else None,
    start_date=pendulum.datetime(FIRST_YEAR, 1, 1),
    catchup=True,
    max_active_runs=1,
    default_args={"retries": 1, "retry_delay": pendulum.duration(seconds=20)},
    params={
        "year": Param(
            None,
            type=["null", "integer"],
            minimum=FIRST_YEAR,
            maximum=LAST_YEAR,
            title="Year",
            description=f"The year to map; empty: the scheduled year, or {REFERENCE_YEAR} where triggered by hand.",
        ),
        "data": Param(
            DATA,
            type="string",
            pattern=r"^(~|/)[^\n\r]*$",
            title="Data folder",
            description="A folder that all nodes of the cluster share; ~ is the home directory there.",
        ),
    },
    user_defined_macros={"map_year": map_year},
    tags=["headnode", "land cover", "sentinel-2", "slurm"],
) as dag:
    (
        step("download", of_year=False)
        >> step("prepare", elements=TILES)
        >> step("tune", of_year=False, elements=FOLDS)
        >> step("distributed", task_id="train", of_year=False, nodes=2, ntasks_per_node=1)
        >> step("classify", elements=TILES)
        >> step("mosaic")
        >> step("validate")
        >> step("publish", outlets=[LAND_COVER_MAP], post_execute=describe_map)
    )
