"""The DAG landcover_map in Airflow's own environment: it parses fast, without torch, and says what it should."""

import importlib.util
import itertools
import subprocess
import sys
from pathlib import Path

import pendulum
import pytest

DAGS = Path(__file__).parents[2] / "dags"
ORDER = ["download", "prepare", "tune", "train", "classify", "mosaic", "validate", "publish"]
VARIABLES = ("HEADNODE_LANDCOVER_SCHEDULE", "HEADNODE_LANDCOVER_DATA", "HEADNODE_JOBS_PYTHON")


def load_module():
    """Execute the DAG file anew."""
    spec = importlib.util.spec_from_file_location("landcover_map_under_test", DAGS / "landcover" / "landcover_map.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch):
    """Load the DAG file with nothing set."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return load_module()


def test_the_folder_has_no_import_errors_and_jobs_are_not_parsed():
    """Airflow's own bag of DAGs finds the DAG and none of the jobs' modules."""
    from airflow.dag_processing.dagbag import DagBag  # noqa: PLC0415 - slow

    bag = DagBag(DAGS)
    assert bag.import_errors == {}
    assert "landcover_map" in bag.dags
    assert [stat.file for stat in bag.dagbag_stats if "/jobs/" in stat.file] == []


def test_the_file_is_parsed_within_a_second_and_without_the_jobs_libraries():
    """Airflow's environment has no torch; the DAG file must not want it, nor what the jobs bring along.

    Processor time in a fresh process, after Airflow's own start: other work on the machine does not count.
    """
    code = (
        "import sys, time, runpy, airflow.sdk; start = time.process_time();"
        f"runpy.run_path({str(DAGS / 'landcover' / 'landcover_map.py')!r}); seconds = time.process_time() - start;"
        "print([m for m in ('torch', 'xarray', 'rasterio', 'optuna', 'landcover_jobs') if m in sys.modules]);"
        "print(seconds)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    imported, seconds = done.stdout.strip().splitlines()[-2:]
    assert imported == "[]"
    assert float(seconds) < 1


def test_the_steps_follow_one_another(module):
    """One chain from download to publish."""
    assert [task.task_id for task in module.dag.topological_sort()] == ORDER
    for before, after in itertools.pairwise(ORDER):
        assert module.dag.get_task(after).upstream_task_ids == {before}


def test_the_schedule_covers_the_years_there_are(module):
    """Five yearly runs, one at a time, and none for a year without images."""
    dates = list(module.dag.timetable.event_dates)
    assert [date.year for date in dates] == [2017, 2018, 2019, 2020, 2021]
    assert module.dag.catchup
    assert module.dag.max_active_runs == 1
    # With an end date, a run triggered today would stay scheduled for ever.
    assert module.dag.end_date is None


def test_the_schedule_can_be_taken_off(monkeypatch: pytest.MonkeyPatch):
    """A demonstration makes one map and no catch-up."""
    monkeypatch.setenv("HEADNODE_LANDCOVER_SCHEDULE", "none")
    assert type(load_module().dag.timetable).__name__ == "NullTimetable"


@pytest.mark.parametrize(
    ("year", "run_type", "interval_end", "expected"),
    [
        (None, "scheduled", "2019-01-01", 2018),
        (None, "scheduled", "2017-01-01", 2016),
        (None, "backfill", "2021-01-01", 2020),
        (2020, "scheduled", "2019-01-01", 2020),
        (None, "manual", "2026-11-21", 2018),
        (None, "manual", None, 2018),
        (2016, "manual", None, 2016),
    ],
)
def test_the_year(module, year, run_type, interval_end, expected):
    """The param, else the year that the scheduled interval ends, else the year of the reference."""
    end = pendulum.parse(interval_end) if interval_end else None
    assert module.map_year({"year": year}, run_type, end) == expected


@pytest.mark.parametrize("year", [2015, 2021, "2018; rm -rf /", 2018.5])
def test_a_year_without_images_is_refused_before_any_job(module, year):
    """Params are checked against their schema when a run is triggered."""
    from airflow.sdk.exceptions import ParamValidationError  # noqa: PLC0415

    with pytest.raises(ParamValidationError):
        module.dag.params.get_param("year").resolve(year)


@pytest.mark.parametrize("folder", ["relative/folder", "/a\nb", ""])
def test_a_data_folder_is_absolute_or_at_home(module, folder):
    """What an element of the command says must mean the same in every job's directory."""
    from airflow.sdk.exceptions import ParamValidationError  # noqa: PLC0415

    with pytest.raises(ParamValidationError):
        module.dag.params.get_param("data").resolve(folder)


def test_what_a_trigger_chooses_stays_one_word(module):
    """Params stand in list commands alone, whose elements headnode quotes after rendering."""
    for task in module.dag.tasks:
        assert isinstance(task.command, list)
        for name in ("setup", "script", "partition", "code"):
            assert "params" not in str(getattr(task, name))
        task.render_template_fields(
            {
                "params": {"data": "/x; rm -rf /", "year": 2017},
                "data_interval_end": None,
                "dag_run": FakeRun(),
                "task": task,
            }
        )
        assert "/x; rm -rf /" in task.command


class FakeRun:
    """What the templates read of a run."""

    run_type = "manual"


def test_tiles_and_folds_are_arrays_and_training_takes_two_nodes(module):
    """The numbers agree with the code of the jobs."""
    sizes = {task.task_id: (task.sbatch_options or {}).get("array") for task in module.dag.tasks}
    assert {name: size for name, size in sizes.items() if size} == {
        "prepare": "0-3",
        "tune": "0-4",
        "classify": "0-3",
    }
    train = module.dag.get_task("train")
    assert (train.nodes, train.ntasks_per_node) == (2, 1)
    folds = (DAGS / "landcover" / "jobs" / "landcover_jobs" / "folds.py").read_text()
    assert f"FOLDS = {module.FOLDS}\n" in folds


def test_the_asset_event_says_which_map_it_is(module):
    """Whoever listens to the asset needs no further look."""

    class Event:
        extra = None

    result = {"year": 2018, "version": "v-1", "better": "transformer", "accuracy": {}, "map": "/m.tif", "reused": True}
    events = {module.LAND_COVER_MAP: Event()}
    module.describe_map({"outlet_events": events}, result)
    assert events[module.LAND_COVER_MAP].extra == {name: result[name] for name in list(result)[:-1]}
    assert module.dag.get_task("publish").outlets == [module.LAND_COVER_MAP]


def test_the_code_that_travels_is_small():
    """Far below the 256 KiB that headnode uploads."""
    from headnode.hooks.code_archive import pack_code  # noqa: PLC0415

    assert len(pack_code(DAGS / "landcover" / "jobs")) < 64 * 1024


def test_the_lock_pins_everything_that_is_asked_for():
    """Each direct requirement stands in the lock with the same version, and nothing names an index."""
    asked, locked = (
        [line for line in (DAGS / "landcover" / name).read_text().splitlines() if line and not line.startswith("#")]
        for name in ("requirements.txt", "requirements.lock")
    )
    assert set(asked) <= set(locked)
    assert all("==" in line and "://" not in line and not line.startswith("-") for line in locked)
