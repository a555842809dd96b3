"""A map of which everything was killed once, and which went on by itself, equals one that nobody disturbed."""

import hashlib
import json
import os
import time

import pytest

FULL = os.environ.get("HEADNODE_FULL") == "1"
pytestmark = [
    pytest.mark.airflow,
    pytest.mark.cluster,
    pytest.mark.skipif(not FULL, reason="two whole maps, minutes: `make chaos`; tests/jobs kills each step by itself"),
]

DAG = "landcover_interrupted"
YEAR = 2018
LAYERS = ("classes.tif", "confidence.tif", "observations.tif")
WAIT_SECONDS = 480


def start(airflow, name, data):
    """Start a run of the map's DAG."""
    airflow.wait_for_dag(DAG)
    airflow.trigger_dag(DAG, run_id=name, conf={"year": YEAR, "data": str(data)})


def wait_for_success(airflow, name):
    """Wait until a run has ended, well."""
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        state = airflow.api("GET", f"/dags/{DAG}/dagRuns/{name}")["state"]
        if state == "success":
            return
        if state == "failed":
            failed = [each for each in airflow.task_instances(DAG, name) if each["state"] == "failed"]
            logs = [airflow.task_log(DAG, name, each["task_id"], each["try_number"]) for each in failed]
            pytest.fail(f"{[each['task_id'] for each in failed]} failed:\n" + "\n".join(log[-4000:] for log in logs))
        time.sleep(0.5)
    pytest.fail(f"{name} has not ended after {WAIT_SECONDS} s")


def layers(data):
    """Return the hashes of a published map's layers, and the key of its models."""
    current = data / "interrupted" / "published" / str(YEAR) / "current"
    hashes = {name: hashlib.sha256((current / name).read_bytes()).hexdigest() for name in LAYERS}
    models = json.loads((data / "interrupted" / "models" / "current.json").read_text())
    return hashes | {"models": models["key"]}


@pytest.mark.timeout(1200)
def test_a_map_whose_jobs_triggerer_and_archive_were_killed(airflow, catalogue, kill_step, tmp_path):
    """Fetching, a tile's preparation, training, the triggerer, a tile's classification and publishing, each once."""
    calm, disturbed = tmp_path / "calm", tmp_path / "disturbed"
    start(airflow, "calm", calm)
    wait_for_success(airflow, "calm")
    start(airflow, "disturbed", disturbed)
    scenes = disturbed / "interrupted" / "scenes"
    deadline = time.monotonic() + 120
    while len(list(scenes.glob("*/*.tif"))) < 10:
        assert time.monotonic() < deadline, "nothing is fetched"
        time.sleep(0.05)
    catalogue.kill()
    time.sleep(4)
    catalogue.start()
    kill_step("prepare", disturbed, after_seconds=1)
    kill_step("train", disturbed, after_seconds=8)
    airflow.kill("triggerer")
    airflow.start_component("triggerer")
    kill_step("classify", disturbed, after_seconds=0.7)
    kill_step("publish", disturbed, after_seconds=1)
    wait_for_success(airflow, "disturbed")
    assert layers(disturbed) == layers(calm)
    tries = {each["task_id"]: each["try_number"] for each in airflow.task_instances(DAG, "disturbed")}
    assert tries["train"] > 1
    assert tries["publish"] > 1
