"""The steps of a land-cover map's DAG: their order, their commands once rendered, and the ways past its branches."""

import itertools
import json
import shlex
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

VALLEY = Path(__file__).parents[2] / "dags" / "landcover" / "maps" / "romania_valley.yaml"
ORDER = [
    "search",
    "fetch",
    "prepare",
    "sample",
    "train",
    "classify",
    "mosaic",
    "validate",
    "gate",
    "publish",
    "announce",
]
FOLDS = [f"tune.fold_{fold}" for fold in range(5)]
HOSTILE = "/x; rm -rf / $(id) `id` ' \" {{ 1 }}"
RESULTS = {
    "search": {"tiles": 4},
    "sample": {"tune": True},
    **{fold: {"best": {"params": {"width": 32, "dropout": 0.1}}} for fold in FOLDS},
}


def test_the_steps_follow_one_another(valley):
    """From the search to the event; studies, and the question to a person, lie beside the way."""
    tasks = {task.task_id: task.upstream_task_ids for task in valley.tasks}
    assert set(tasks) == {*ORDER, *FOLDS, "whether_to_tune", "ask"}
    direct = {
        "search": set(),
        "whether_to_tune": {"sample"},
        "train": {"whether_to_tune", *FOLDS},
        "ask": {"gate"},
        "publish": {"gate", "ask"},
        **{fold: {"whether_to_tune"} for fold in FOLDS},
    }
    chain = {after: {before} for before, after in itertools.pairwise(ORDER)}
    assert tasks == chain | direct
    for joining in ("train", "publish"):
        assert valley.get_task(joining).trigger_rule == "none_failed_min_one_success"


@pytest.mark.parametrize("fields", [{"tuning__when": "never"}, {"model__kinds": ["random_forest"]}])
def test_where_nothing_is_searched_for_there_are_no_studies(build, fields):
    """Neither never, nor for forests."""
    dag = build(**fields)
    assert {task.task_id for task in dag.tasks} == {*ORDER, "ask"}
    assert dag.get_task("train").upstream_task_ids == {"sample"}


class Ti:
    """The results of the tasks before."""

    def __init__(self, results):
        self.results = results

    def xcom_pull(self, task_ids):
        """Return what a task returned."""
        return self.results.get(task_ids)


def rendered(task, results=RESULTS, **params):
    """Return the task with its templates filled in, as a worker does it."""
    run = SimpleNamespace(run_type="manual", data_interval_end=None, run_after=None, consumed_asset_events=[])
    context = {"params": {"data": HOSTILE, "year": 2017, **params}, "dag_run": run, "ti": Ti(results), "task": task}
    context |= task.dag.user_defined_macros or {}
    task.render_template_fields(context)
    return task


def jobs_of(dag):
    """Return the tasks that are jobs."""
    return [task for task in dag.tasks if hasattr(task, "slurm_conn_id")]


def test_what_a_trigger_chooses_is_read_by_no_shell(valley):
    """Params stand in lists and variables alone, which headnode quotes after rendering; the batch script proves it."""
    from headnode.slurm.jobspec import parse_jobspec  # noqa: PLC0415
    from headnode.slurm.standalone import render_standalone_script  # noqa: PLC0415

    for task in jobs_of(valley):
        for name in ("setup", "script", "partition", "code", "memory", "time_limit"):
            assert "params" not in str(getattr(task, name))
        rendered(task)
        where = task.env.get("LANDCOVER_DATA") if task.task_id.startswith("tune") else task.command[4]
        assert where == HOSTILE
        fields = {"job_name": "x", "command": ["true", where], "env": {"LANDCOVER_DATA": where}}
        script = render_standalone_script(parse_jobspec(fields))
        assert all(shlex.quote(HOSTILE) in line for line in script.splitlines() if "rm -rf" in line)


def test_the_map_reaches_its_jobs_whole(valley):
    """Through rendering, too, the variable is the configuration."""
    from landcover_jobs.configuration.reading import parse_map, read_map  # noqa: PLC0415 - found by `code`

    expected = read_map(VALLEY)
    for task in jobs_of(valley):
        variable = rendered(task).env["LANDCOVER_MAP"]
        assert parse_map(json.loads(variable), "$LANDCOVER_MAP") == expected


def test_tiles_are_elements_of_arrays(valley):
    """As many as `search` has found."""
    for name in ("prepare", "classify"):
        task = rendered(valley.get_task(name))
        assert task.array == "0-3"
        assert task.element_retries == 1


def test_each_study_knows_its_fold_and_training_gets_their_best(valley):
    """What is chosen goes to the training by one variable."""
    for fold, name in enumerate(FOLDS):
        study = rendered(valley.get_task(name))
        assert (study.env["LANDCOVER_FOLD"], study.trials, study.workers) == (str(fold), 5, 1)
    best = {"width": 32, "dropout": 0.1}
    train = rendered(valley.get_task("train"))
    assert json.loads(train.env["LANDCOVER_SETTINGS"]) == {str(fold): best for fold in range(5)}


def test_training_without_studies_gets_no_settings(valley):
    """It then goes on with those of the last search."""
    train = rendered(valley.get_task("train"), {"search": {"tiles": 4}})
    assert json.loads(train.env["LANDCOVER_SETTINGS"]) == {}


@pytest.mark.parametrize(("tune", "follow"), [(True, FOLDS), (False, ["train"])])
def test_the_samples_say_whether_to_tune(valley, tune, follow):
    """The branch reads the result of `sample`."""
    assert valley.get_task("whether_to_tune").python_callable(ti=Ti({"sample": {"tune": tune}})) == follow


@pytest.mark.parametrize(("passed", "follow"), [(True, "publish"), (False, "ask")])
def test_the_gate(valley, passed, follow):
    """What is good enough is published, else a person is asked."""
    assert valley.get_task("gate").python_callable(ti=Ti({"validate": {"passed": passed}})) == follow


@pytest.mark.parametrize("name", ["gate", "whether_to_tune"])
def test_no_answer_is_no_yes(valley, name):
    """A result without the word that counts fails the task."""
    with pytest.raises(KeyError):
        valley.get_task(name).python_callable(ti=Ti({"validate": {}, "sample": {}}))


def test_a_person_sees_the_scores_and_has_so_long(valley):
    """The question has the result of `validate` as a table; nobody's silence is consent."""
    ask = valley.get_task("ask")
    assert ask.response_timeout == timedelta(hours=72)
    assert ask.defaults is None
    assert ask.retries == 0
    result = {"passed": False, "scores": {"overall_accuracy": 0.91234, "classes": ["a|b", "c"]}}
    rendered(ask, {"validate": result})
    assert "| scores.overall_accuracy | 0.9123 |" in ask.body
    assert "a\\|b" in ask.body


def test_a_published_map_is_an_event(code, valley):
    """Whoever listens to the asset needs no further look."""
    from airflow.sdk.exceptions import AirflowSkipException  # noqa: PLC0415

    (asset,) = valley.get_task("announce").outlets
    assert asset.name == "landcover_map_romania_valley"
    events = {asset: SimpleNamespace(extra=None)}
    result = {"published": True, "year": 2018, "version": "v1-ab", "accuracy": {}, "map": "/m.tif", "other": 1}
    code.reporting.announced(result, asset, events)
    assert events[asset].extra == {"year": 2018, "version": "v1-ab", "accuracy": {}, "map": "/m.tif"}
    with pytest.raises(AirflowSkipException):
        code.reporting.announced(result | {"published": False}, asset, events)


def test_resources_of_a_step_are_asked_of_slurm(build):
    """Those that the map names, else small ones."""
    resources = {
        "train": {"nodes": 2, "gpus_per_node": 4, "tasks_per_node": 4, "cpus_per_task": 8, "partition": "gpu"},
        "classify": {"memory": "16G", "time_limit": "02:00:00", "max_running": 7},
    }
    dag = build(resources=resources)
    train, classify, mosaic = (dag.get_task(name) for name in ("train", "classify", "mosaic"))
    assert (train.nodes, train.gpus_per_node, train.cpus_per_task, train.partition) == (2, 4, 8, "gpu")
    assert train.launch == {"kind": "torchrun", "processes_per_node": 4}
    assert "MASTER_ADDR" not in train.env
    assert (classify.memory, classify.time_limit, classify.max_running) == ("16G", "02:00:00", 7)
    assert (mosaic.memory, mosaic.time_limit, mosaic.cpus_per_task) == ("2G", "01:00:00", 1)
