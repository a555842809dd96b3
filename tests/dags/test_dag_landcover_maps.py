"""The DAGs of the maps in Airflow's own environment: fast, one for each file, and none lost to another's mistake."""

import importlib
import itertools
import json
import shlex
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pendulum
import pytest
import yaml

LANDCOVER = Path(__file__).parents[2] / "dags" / "landcover"
MAPS = LANDCOVER / "maps"
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


@pytest.fixture
def code(monkeypatch: pytest.MonkeyPatch):
    """Let the DAGs' own modules be found, as landcover_maps.py does; nothing is set in the environment."""
    for name in ("SCHEDULE", "DATA", "CONNECTION", "MAPS", "ENV"):
        monkeypatch.delenv(f"HEADNODE_LANDCOVER_{name}", raising=False)
    monkeypatch.delenv("HEADNODE_JOBS_PYTHON", raising=False)
    for folder in (LANDCOVER, LANDCOVER / "jobs"):
        monkeypatch.syspath_prepend(str(folder))
    names = ("factory", "map_dag", "years", "reporting", "settings", "steps")
    return SimpleNamespace(**{name: importlib.import_module(f"landcover_dags.{name}") for name in names})


def build(code, folder: Path, **fields):
    """Return the DAGs of a map like the valley's with other fields, by their ids."""
    write(folder, "mine", **fields)
    built = code.factory.build()
    assert built.problems == ()
    return {dag.dag_id: dag for dag in built.dags}


def write(folder: Path, name: str, **fields):
    """Write a map's file; `a__b` is the field b of a."""
    content = yaml.safe_load((MAPS / "romania_valley.yaml").read_text(encoding="utf-8")) | {"name": name}
    for path, value in fields.items():
        *before, last = path.split("__")
        place = content
        for part in before:
            place = place.setdefault(part, {})
        place[last] = value
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a folder of maps that is the only one."""
    monkeypatch.setenv("HEADNODE_LANDCOVER_MAPS", str(tmp_path))
    return tmp_path


@pytest.fixture
def valley(code):
    """Return the valley's DAG."""
    return next(dag for dag in code.factory.build().dags if dag.dag_id == "landcover_romania_valley")


def bag_of(path: Path = LANDCOVER):
    """Return what Airflow finds in a folder, or in a file."""
    from airflow.dag_processing.dagbag import DagBag  # noqa: PLC0415 - slow

    return DagBag(path)


def test_every_shipped_map_has_its_two_dags(code):  # noqa: ARG001 - clears the environment
    """Airflow's own bag finds them, and no import error, nor DAG files among what they import."""
    bag = bag_of()
    assert bag.import_errors == {}
    for path in MAPS.glob("*.yaml"):
        assert {f"landcover_{path.stem}", f"landcover_{path.stem}_rollback"} <= set(bag.dags)
    assert {stat.file for stat in bag.dagbag_stats} == {
        "landcover_maps.py",
        "landcover_maps_problems.py",
    }


def test_the_file_is_parsed_within_a_second_and_without_the_jobs_libraries():
    """Processor time in a fresh process, after Airflow's own start: other work on the machine does not count."""
    program = (
        "import sys, time, runpy, airflow.sdk; start = time.process_time();"
        f"runpy.run_path({str(LANDCOVER / 'landcover_maps.py')!r}); seconds = time.process_time() - start;"
        "wanted = ('torch', 'xarray', 'rasterio', 'optuna', 'shapely', 'pyproj', 'zarr', 'asyncssh');"
        "print([m for m in wanted if m in sys.modules]); print(seconds)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    imported, seconds = done.stdout.strip().splitlines()[-2:]
    assert imported == "[]"
    assert float(seconds) < 1


def test_a_wrong_map_is_an_import_error_that_takes_no_other_away(code, folder):  # noqa: ARG001 - see `code`
    """Airflow takes all DAGs of a file with an error for gone, so the file with the error has none."""
    write(folder, "good")
    write(folder, "bad", title="", validation__folds=1)
    write(folder, "heavy", resources__tune={"nodes": 3})
    bag = bag_of()
    assert {"landcover_good", "landcover_good_rollback"} <= set(bag.dags)
    assert not any("bad" in dag_id or "heavy" in dag_id for dag_id in bag.dags)
    (place,) = bag.import_errors
    assert Path(place).name == "landcover_maps_problems.py"
    error = bag.import_errors[place]
    assert f"{folder / 'bad.yaml'}: title: " in error
    assert f"{folder / 'bad.yaml'}: validation.folds: " in error
    assert f"{folder / 'heavy.yaml'}: workers: 1 can't be shared out evenly over 3 nodes" in error


@pytest.mark.parametrize("dag_id", ["landcover_romania_valley", "landcover_romania_valley_rollback"])
def test_a_task_s_process_builds_its_own_dag_alone(code, monkeypatch: pytest.MonkeyPatch, dag_id):  # noqa: ARG001
    """With many maps, each start of a task would else build them all."""
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", dag_id)
    assert list(bag_of(LANDCOVER / "landcover_maps.py").dags) == [dag_id]


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
def test_where_nothing_is_searched_for_there_are_no_studies(code, folder, fields):
    """Neither never, nor for forests."""
    dag = build(code, folder, **fields)["landcover_mine"]
    assert {task.task_id for task in dag.tasks} == {*ORDER, "ask"}
    assert dag.get_task("train").upstream_task_ids == {"sample"}


def test_known_years_are_listed(valley):
    """Five yearly runs, one at a time, in their order, and none for a year without images."""
    assert [date.year for date in valley.timetable.event_dates] == [2017, 2018, 2019, 2020, 2021]
    assert valley.catchup
    assert valley.max_active_runs == 1
    # With an end date, a run triggered today would stay scheduled for ever.
    assert valley.end_date is None


def test_years_without_end_begin_with_the_first_and_go_on(code, folder):
    """The scheduler's own timetable: the first run is due in March after the first year, the next a year later."""
    from airflow.serialization.encoders import coerce_to_core_timetable  # noqa: PLC0415 - slow
    from airflow.timetables.base import TimeRestriction  # noqa: PLC0415

    dag = build(code, folder, years__last=None, schedule__month=3)["landcover_mine"]
    timetable = coerce_to_core_timetable(dag.timetable)
    within = TimeRestriction(earliest=dag.start_date, latest=None, catchup=True)
    first = timetable.next_dagrun_info(last_automated_data_interval=None, restriction=within)
    second = timetable.next_dagrun_info(last_automated_data_interval=first.data_interval, restriction=within)
    assert [info.run_after.isoformat()[:10] for info in (first, second)] == ["2017-03-01", "2018-03-01"]
    mapped = [year(dag, run_type="scheduled", data_interval_end=info.data_interval.end) for info in (first, second)]
    assert mapped == [2016, 2017]


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({}, "EventsTimetable"),
        ({"schedule__new_scenes": True}, "AssetOrTimeSchedule"),
        ({"schedule": {"every": "never", "new_scenes": True}}, "AssetTriggeredTimetable"),
        ({"schedule": {"every": "never"}}, "NullTimetable"),
    ],
)
def test_what_begins_runs(code, folder, fields, kind):
    """The calendar, new scenes, both, or a person alone."""
    dag = build(code, folder, **fields)["landcover_mine"]
    assert type(dag.timetable).__name__ == kind
    if "Asset" in kind:
        assert [asset.name for asset in dag.timetable.asset_condition.objects] == ["landcover_scenes_mine"]


def test_the_schedule_can_be_taken_off(code, folder, monkeypatch: pytest.MonkeyPatch):
    """A demonstration makes one map and no catch-up."""
    monkeypatch.setenv("HEADNODE_LANDCOVER_SCHEDULE", "none")
    dag = build(code, folder, schedule__new_scenes=True)["landcover_mine"]
    assert type(dag.timetable).__name__ == "NullTimetable"


def test_a_folder_of_images_is_watched_where_its_scenes_begin_runs(code, folder):
    """The watch is on the cluster's folder, below the map's data folder here."""
    source = {"kind": "folder", "path": "{data}/incoming"}
    dag = build(code, folder, source=source, schedule__new_scenes=True)["landcover_mine"]
    (asset,) = dag.timetable.asset_condition.objects
    (watcher,) = asset.watchers
    assert watcher.trigger.serialize()[1]["path"] == "~/headnode-landcover/mine/incoming"


class Event(SimpleNamespace):
    """An event of the asset of new scenes."""


def year(dag, *, param=None, **run):
    """Return the year that a run of a DAG maps, by the macro that its commands have."""
    fields = {"run_type": "manual", "data_interval_end": None, "run_after": None, "consumed_asset_events": []}
    return dag.user_defined_macros["map_year"]({"year": param}, SimpleNamespace(**fields | run))


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        ({"run_type": "scheduled", "data_interval_end": pendulum.datetime(2019, 1, 1)}, 2018),
        ({"run_type": "backfill", "data_interval_end": pendulum.datetime(2021, 1, 1)}, 2020),
        ({"run_type": "scheduled", "data_interval_end": pendulum.datetime(2019, 1, 1), "param": 2020}, 2020),
        ({"data_interval_end": pendulum.datetime(2026, 11, 21)}, 2018),
        ({"param": 2016}, 2016),
        ({"run_type": "asset_triggered", "consumed_asset_events": [Event(extra={"year": 2017})]}, 2017),
        (
            {
                "run_type": "asset_triggered",
                "consumed_asset_events": [Event(extra={"payload": {"year": 2019}}), Event(extra={"year": 2019})],
            },
            2019,
        ),
        (
            {
                "run_type": "asset_triggered",
                "run_after": pendulum.datetime(2018, 5, 1),
                "consumed_asset_events": [Event(extra={"payload": {"path": "/in"}})],
            },
            2017,
        ),
        ({"run_type": "asset_triggered", "run_after": pendulum.datetime(2026, 5, 1)}, 2020),
        ({"run_type": "asset_triggered", "run_after": pendulum.datetime(2012, 5, 1)}, 2016),
    ],
)
def test_the_year(valley, run, expected):
    """The param; the year before the one that a scheduled run is due in; that of the event; that of the labels."""
    assert year(valley, **run) == expected


def test_events_of_several_years_are_not_taken_for_one(valley):
    """A run maps one year; the others would be lost in silence."""
    events = [Event(extra={"year": 2017}), Event(extra={"year": 2018})]
    with pytest.raises(ValueError, match="2017, 2018"):
        year(valley, run_type="asset_triggered", consumed_asset_events=events)


@pytest.mark.parametrize("wrong", [2015, 2021, "2018; rm -rf /", 2018.5])
def test_a_year_without_images_is_refused_before_any_job(valley, wrong):
    """Params are checked against their schema when a run is triggered."""
    from airflow.sdk.exceptions import ParamValidationError  # noqa: PLC0415

    with pytest.raises(ParamValidationError):
        valley.params.get_param("year").resolve(wrong)


@pytest.mark.parametrize("wrong", ["relative/folder", "/a\nb", ""])
def test_a_data_folder_is_absolute_or_at_home(valley, wrong):
    """What an element of the command says must mean the same in every job's directory."""
    from airflow.sdk.exceptions import ParamValidationError  # noqa: PLC0415

    with pytest.raises(ParamValidationError):
        valley.params.get_param("data").resolve(wrong)


@pytest.mark.parametrize("wrong", ["current", "v0-ab", "v1-ab; rm -rf /", "../2019/v1-ab", ""])
def test_a_version_is_a_version(code, wrong):
    """Going back takes no other word."""
    from airflow.sdk.exceptions import ParamValidationError  # noqa: PLC0415

    dag = next(dag for dag in code.factory.build().dags if dag.dag_id == "landcover_romania_valley_rollback")
    with pytest.raises(ParamValidationError):
        dag.params.get_param("version").resolve(wrong)
    assert dag.params["version"] == "previous"
    assert dag.params.get_param("version").resolve("v12-0af3") == "v12-0af3"
    assert [task.task_id for task in dag.tasks] == ["rollback"]


HOSTILE = "/x; rm -rf / $(id) `id` ' \" {{ 1 }}"
RESULTS = {
    "search": {"tiles": 4},
    "sample": {"tune": True},
    **{fold: {"best": {"params": {"width": 32, "dropout": 0.1}}} for fold in FOLDS},
}


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

    expected = read_map(MAPS / "romania_valley.yaml")
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


def test_resources_of_a_step_are_asked_of_slurm(code, folder):
    """Those that the map names, else small ones."""
    resources = {
        "train": {"nodes": 2, "gpus_per_node": 4, "tasks_per_node": 4, "cpus_per_task": 8, "partition": "gpu"},
        "classify": {"memory": "16G", "time_limit": "02:00:00", "max_running": 7},
    }
    dag = build(code, folder, resources=resources)["landcover_mine"]
    train, classify, mosaic = (dag.get_task(name) for name in ("train", "classify", "mosaic"))
    assert (train.nodes, train.gpus_per_node, train.cpus_per_task, train.partition) == (2, 4, 8, "gpu")
    assert train.launch == {"kind": "torchrun", "processes_per_node": 4}
    assert "MASTER_ADDR" not in train.env
    assert (classify.memory, classify.time_limit, classify.max_running) == ("16G", "02:00:00", 7)
    assert (mosaic.memory, mosaic.time_limit, mosaic.cpus_per_task) == ("2G", "01:00:00", 1)


def test_the_settings_of_this_airflow(code, monkeypatch: pytest.MonkeyPatch, folder):
    """Connection, Python, data folder and further variables."""
    monkeypatch.setenv("HEADNODE_LANDCOVER_CONNECTION", "jsc")
    monkeypatch.setenv("HEADNODE_JOBS_PYTHON", "/env of mine/bin/python")
    monkeypatch.setenv("HEADNODE_LANDCOVER_DATA", "/data")
    monkeypatch.setenv("HEADNODE_LANDCOVER_ENV", '{"HTTPS_PROXY": "http://proxy:3128"}')
    dag = build(code, folder)["landcover_mine"]
    search, train = dag.get_task("search"), dag.get_task("train")
    assert search.slurm_conn_id == "jsc"
    assert search.command[:3] == ["/env of mine/bin/python", "-m", "landcover_jobs.steps.search"]
    assert search.env["HTTPS_PROXY"] == "http://proxy:3128"
    assert train.setup.startswith("export PATH='/env of mine/bin':\"$PATH\"\n")
    assert dag.params["data"] == "/data"


@pytest.mark.parametrize("wrong", ["{", "[]", '{"A": 1}'])
def test_variables_that_are_none(code, monkeypatch: pytest.MonkeyPatch, wrong):
    """The name of what is wrong is said."""
    monkeypatch.setenv("HEADNODE_LANDCOVER_ENV", wrong)
    with pytest.raises(code.settings.SettingsError, match="HEADNODE_LANDCOVER_ENV"):
        code.factory.build()


def test_the_code_that_travels_does_so_with_the_trigger():
    """Below the 256 KiB from which on it would be staged first."""
    from headnode.hooks.code_archive import pack_code  # noqa: PLC0415

    assert pack_code(LANDCOVER / "jobs") is not None


def test_the_objective_is_there():
    """TuneOperator does not look into modules that are named with dots."""
    from landcover_dags.steps import OBJECTIVE  # noqa: PLC0415

    module, _, name = OBJECTIVE.partition(":")
    text = (LANDCOVER / "jobs" / Path(*module.split("."))).with_suffix(".py").read_text(encoding="utf-8")
    assert f"def {name}(" in text


def test_the_scheduler_can_store_what_was_built(code):
    """Airflow's dag-processor does the same after parsing, and what it can't store is an import error."""
    from airflow.serialization.serialized_objects import DagSerialization  # noqa: PLC0415 - slow

    for dag in code.factory.build().dags:
        stored = DagSerialization.from_dict(DagSerialization.to_dict(dag))
        assert set(stored.task_dict) == set(dag.task_dict)
        assert stored.fileloc == str(LANDCOVER / "landcover_maps.py")
