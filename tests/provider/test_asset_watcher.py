"""A file on the cluster starts a DAG: once for each of its versions, whatever becomes of the triggerer."""

import json
import os
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.airflow, pytest.mark.cluster, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def runs(airflow, wait_until):
    """Return a function that waits for so many runs of the DAG, and returns what each was told."""
    airflow.wait_for_dag("watched_path")
    airflow.unpause("watched_path")
    asked_at = time.monotonic()

    def read_again():
        nonlocal asked_at
        if time.monotonic() > asked_at + 10:
            airflow.read_again("watched_path")
            asked_at = time.monotonic()

    def ended(count):
        def all_ended():
            known = airflow.api("GET", "/dags/watched_path/dagRuns", params={"order_by": "run_after"})["dag_runs"]
            if not known:
                read_again()
            return known if len(known) >= count and all(run["state"] == "success" for run in known) else None

        found = wait_until(all_ended, f"{count} runs have ended", timeout_seconds=300)
        return [airflow.xcom("watched_path", run["dag_run_id"], "take") for run in found]

    return ended


@pytest.fixture(scope="module")
def noted_versions(connections):
    """Return a function that reads the versions that are noted on the cluster."""
    work = Path(json.loads(connections["slurm_default"])["extra"]["work_directory"])
    return lambda: [file.read_text().strip() for file in work.glob("*/watched/*")]


def test_each_version_starts_one_run(runs, airflow, watched_folder, noted_versions, wait_until):
    """Also where the triggerer is killed, be it after a version was noted or before it is seen."""
    scene = watched_folder / "scene.txt"
    scene.write_text("first")
    ((first,),) = runs(1)
    assert (first["path"], first["size"]) == (str(scene), 5)
    wait_until(lambda: noted_versions() == [first["version"]], "the version is noted on the cluster")

    airflow.kill("triggerer")
    scene.write_text("second!")
    airflow.start_component("triggerer")
    (_, (second,)) = runs(2)
    assert (second["path"], second["size"]) == (str(scene), 7)
    wait_until(lambda: noted_versions() == [second["version"]], "the version is noted on the cluster")

    airflow.kill("triggerer")
    airflow.start_component("triggerer")

    def looks():
        lines = airflow.logs["triggerer"].read_text().splitlines()
        return sum(": found {" in line and f"'size': {second['size']}" in line for line in lines)

    wait_until(lambda: looks() == 2, "the new triggerer has seen it, too", timeout_seconds=120)
    scene.write_text("the third")
    os.utime(scene, (time.time() - 60, time.time() - 60))
    versions = [payload["size"] for payloads in runs(3) for payload in payloads]
    assert versions == [5, 7, 9], "each version once, also one whose time of change lies back"
