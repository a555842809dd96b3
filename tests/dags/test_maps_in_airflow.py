"""The DAGs of maps in a real Airflow with a real Slurm cluster; what a step itself would do is said by a file.

The jobs' Python here is a stand-in that writes the results which a file names, so that each way through the DAG can be
gone within seconds: published by itself, asked for and approved, rejected, nothing new, called by new scenes, undone.
"""

import json
import time
from pathlib import Path

import pytest
import yaml
from seldom_read import SELDOM_READ

from headnode.testing.airflow import PrivateAirflow

pytestmark = [pytest.mark.cluster, pytest.mark.airflow]

LANDCOVER = Path(__file__).parents[2] / "dags" / "landcover"
JOBS_PYTHON = LANDCOVER.parents[1] / ".venv-jobs" / "bin" / "python"
DAG_ID = "landcover_short"
READING_SECONDS = 10
# Steps write what the file `results.json` of the data folder has for them, and note how they were called.
STAND_IN = """#!/bin/bash
case "$*" in
  "-m landcover_jobs.steps."*) exec REAL STEP "$@" ;;
esac
exec REAL "$@"
"""
STEP = """
import json, os, pathlib, sys
step, words = sys.argv[2].rpartition(".")[2], sys.argv[3:]
given = dict(zip(words[::2], words[1::2]))
folder = pathlib.Path(given["--data"])
results = json.loads((folder / "results.json").read_text())
element = os.environ.get("HEADNODE_ELEMENT")
note = {"step": step, "element": element, "settings": os.environ.get("LANDCOVER_SETTINGS"), **given}
note["map"] = json.loads(os.environ["LANDCOVER_MAP"])["name"]
with (folder / "calls.jsonl").open("a") as calls:
    calls.write(json.dumps(note) + "\\n")
result = {**results.get(step, {}), "year": int(given["--year"])}
if step == "train":
    print("METRICS", json.dumps({"macro_f1": 0.9}))
pathlib.Path(os.environ["HEADNODE_RESULT"]).write_text(json.dumps(result))
"""
RESULTS = {
    "search": {"tiles": 3},
    "sample": {"tune": False},
    "validate": {"passed": True, "reasons": []},
    "publish": {
        "published": True,
        "version": "v1-ab",
        "accuracy": {"overall": 0.9},
        "map": "/p/2018/v1-ab/classes.tif",
    },
    "rollback": {"version": "v1-ab"},
}


@pytest.fixture(scope="module")
def jobs_python(tmp_path_factory):
    """Return the stand-in, in a folder of its own whose `python3` starts torchrun."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "step.py").write_text(STEP)
    for name in ("python", "python3"):
        path = folder / name
        path.write_text(STAND_IN.replace("REAL", str(JOBS_PYTHON)).replace("STEP", str(folder / "step.py")))
        path.chmod(0o755)
    return folder / "python"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Return the data folder."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def airflow(slurm_cluster, jobs_python, data, tmp_path_factory):
    """Return an Airflow with a map that is right and one that is not."""
    maps = tmp_path_factory.mktemp("maps")
    content = yaml.safe_load((LANDCOVER / "maps" / "romania_valley.yaml").read_text())
    content |= {"name": "short", "schedule": {"every": "never", "new_scenes": True}}
    (maps / "short.yaml").write_text(yaml.safe_dump(content))
    (maps / "wrong.yaml").write_text(yaml.safe_dump(content | {"name": "wrong", "classes": []}))
    connection = json.loads(slurm_cluster.airflow_connection_json("slurm"))
    connection["extra"] |= {
        "poll_seconds": 1,
        "poll_max_seconds": 2,
        "work_directory": str(tmp_path_factory.mktemp("w")),
    }
    running = PrivateAirflow.start(
        tmp_path_factory.mktemp("airflow"),
        dags_folder=LANDCOVER,
        connections={"slurm_default": json.dumps(connection)},
        env={
            **SELDOM_READ,
            "HEADNODE_LANDCOVER_MAPS": str(maps),
            "HEADNODE_LANDCOVER_DATA": str(data),
            # The nodes are all this machine, and their names are Slurm's own.
            "HEADNODE_LANDCOVER_ENV": json.dumps({"MASTER_ADDR": "127.0.0.1"}),
            "HEADNODE_JOBS_PYTHON": str(jobs_python),
        },
    )
    yield running
    running.stop()


@pytest.fixture
def prepared(data):
    """Return a function that says what the steps of the next run will find."""

    def say(**results):
        (data / "results.json").write_text(
            json.dumps({name: RESULTS[name] | results.get(name, {}) for name in RESULTS}), encoding="utf-8"
        )
        (data / "calls.jsonl").unlink(missing_ok=True)

    return say


def calls(data):
    """Return how the steps were called, in their order."""
    return [json.loads(line) for line in (data / "calls.jsonl").read_text(encoding="utf-8").splitlines()]


def states(airflow, run_id):
    """Return the states of a run's tasks but the studies, which are all skipped here."""
    found = {task["task_id"]: task["state"] for task in airflow.task_instances(DAG_ID, run_id)}
    studies = [found.pop(name) for name in list(found) if name.startswith("tune.")]
    assert studies == ["skipped"] * 5
    return found


def answer(airflow, run_id, choice):
    """Wait for the question, and give a person's answer; return the text that the person sees."""
    place = f"/dags/{DAG_ID}/dagRuns/{run_id}/taskInstances/ask/-1/hitlDetails"
    airflow.wait_for_task(DAG_ID, run_id, "ask", ["awaiting_input"], timeout_seconds=300)
    text = airflow.api("GET", place)["body"]
    # A person reads first: Airflow 3.3 fails a task that is resumed before the scheduler has noted that it waits.
    time.sleep(READING_SECONDS)
    airflow.api("PATCH", place, {"chosen_options": [choice], "params_input": {}})
    return text


def published(airflow):
    """Return what the events of published maps say."""
    found = airflow.api("GET", "/assets/events", params={"limit": 100})["asset_events"]
    return [each["extra"] for each in found if each["name"] == "landcover_map_short"]


def called_by_scenes(airflow, year):
    """Say that scenes of a year have come, and return the run that begins."""
    (asset,) = airflow.api("GET", "/assets", params={"name_pattern": "landcover_scenes_short"})["assets"]
    airflow.api("POST", "/assets/events", {"asset_id": asset["id"], "extra": {"year": year}})
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        runs = airflow.api("GET", f"/dags/{DAG_ID}/dagRuns", params={"run_type": "asset_triggered"})["dag_runs"]
        if runs:
            return runs[0]["dag_run_id"]
        time.sleep(1)
    raise AssertionError("no run has begun")


def test_a_wrong_map_is_shown_and_takes_no_other_away(airflow):
    """The error is that of a file without DAGs; the right map's DAG can be run."""
    airflow.wait_for_dag(DAG_ID, timeout_seconds=120)
    deadline = time.monotonic() + 60
    while not (errors := airflow.import_errors()) and time.monotonic() < deadline:
        time.sleep(1)
    (error,) = errors
    assert error["filename"] == "landcover_maps_problems.py"
    assert "wrong.yaml: classes: " in error["stack_trace"]
    found = airflow.api("GET", f"/dags/{DAG_ID}")
    assert (found["is_stale"], found["has_import_errors"]) == (False, False)


def test_new_scenes_begin_a_run_whose_map_is_published_by_itself(airflow, prepared, data):
    """All steps in their order, an element for each tile, and an event that says which map it is."""
    prepared()
    airflow.wait_for_dag(DAG_ID, timeout_seconds=120)
    airflow.unpause(DAG_ID)
    run_id = called_by_scenes(airflow, 2019)
    assert airflow.wait_for_run(DAG_ID, run_id, timeout_seconds=400) == "success"
    found = states(airflow, run_id)
    assert {name: state for name, state in found.items() if state != "success"} == {"ask": "skipped"}
    made = calls(data)
    before, after = (
        ["search", "fetch", *["prepare"] * 3],
        ["sample", *["train"] * 2, *["classify"] * 3, "mosaic", "validate"],
    )
    assert [each["step"] for each in made] == [*before, *after, "publish"]
    assert {(each["--year"], each["map"]) for each in made} == {("2019", "short")}
    assert sorted(each["element"] for each in made if each["step"] == "prepare") == ["0", "1", "2"]
    assert [each["settings"] for each in made if each["step"] == "train"] == ["{}"] * 2
    trained = airflow.xcom(DAG_ID, run_id, "train")
    assert (trained["best"]["macro_f1"], trained["result"]) == (0.9, {"year": 2019})
    (said,) = published(airflow)
    assert said == {
        name: (RESULTS["publish"] | {"year": 2019})[name] for name in ("year", "version", "accuracy", "map")
    }


def test_what_a_person_rejects_is_not_published_until_a_person_approves(airflow, prepared, data):
    """Below the bar the run waits, with the scores in the question; an asset event is of new maps alone."""
    before = published(airflow)
    prepared(validate={"passed": False, "scores": {"overall_accuracy": 0.8125}}, publish={"published": False})
    run_id = airflow.trigger_dag(DAG_ID, conf={"year": 2018})
    assert "| scores.overall_accuracy | 0.8125 |" in answer(airflow, run_id, "Reject")
    assert airflow.wait_for_run(DAG_ID, run_id, timeout_seconds=200) == "success"
    found = states(airflow, run_id)
    assert (found["ask"], found["publish"], found["announce"]) == ("success", "skipped", "skipped")
    assert "publish" not in [each["step"] for each in calls(data)]
    airflow.clear(DAG_ID, run_id, ["ask"], include_downstream=True)
    answer(airflow, run_id, "Approve")
    assert airflow.wait_for_run(DAG_ID, run_id, timeout_seconds=200) == "success"
    found = states(airflow, run_id)
    assert (found["ask"], found["publish"], found["announce"]) == ("success", "success", "skipped")
    assert [each["step"] for each in calls(data)].count("publish") == 1
    assert published(airflow) == before


def test_a_way_back(airflow, prepared, data):
    """The DAG beside the map's calls one step, with the version as given."""
    prepared()
    run_id = airflow.trigger_dag(f"{DAG_ID}_rollback", conf={"year": 2018, "version": "v1-ab"})
    assert airflow.wait_for_run(f"{DAG_ID}_rollback", run_id, timeout_seconds=200) == "success"
    (call,) = calls(data)
    assert (call["step"], call["--year"], call["--version"]) == ("rollback", "2018", "v1-ab")
