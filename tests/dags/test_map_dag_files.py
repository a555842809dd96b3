"""The DAG files of land-cover maps in Airflow's own environment: fast, and no map lost to another's mistake."""

import subprocess
import sys
from pathlib import Path

import pytest

LANDCOVER = Path(__file__).parents[2] / "dags" / "landcover"
MAPS = LANDCOVER / "maps"


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


def test_a_wrong_map_is_an_import_error_that_takes_no_other_away(code, folder, write_map):  # noqa: ARG001 - `code` clears the environment
    """Airflow takes all DAGs of a file with an error for gone, so the file with the error has none."""
    write_map("good")
    write_map("bad", title="", validation__folds=1)
    write_map("heavy", resources__tune={"nodes": 3})
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


def test_the_settings_of_this_airflow(build, monkeypatch: pytest.MonkeyPatch):
    """Connection, Python, data folder and further variables."""
    monkeypatch.setenv("HEADNODE_LANDCOVER_CONNECTION", "jsc")
    monkeypatch.setenv("HEADNODE_JOBS_PYTHON", "/env of mine/bin/python")
    monkeypatch.setenv("HEADNODE_LANDCOVER_DATA", "/data")
    monkeypatch.setenv("HEADNODE_LANDCOVER_ENV", '{"HTTPS_PROXY": "http://proxy:3128"}')
    dag = build()
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
