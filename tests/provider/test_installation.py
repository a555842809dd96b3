"""headnode as others get it: the wheel in an environment of its own, and the mounted folders without any wheel."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from seldom_read import SELDOM_READ

import headnode
from headnode.testing.airflow import PrivateAirflow

ROOT = Path(__file__).parents[2]
CONSUMER = Path(__file__).parent / "consumer"
BY_ENTRY_POINT = CONSUMER / "by_entry_point.py"
TIMEOUT_SECONDS = 180


@pytest.fixture(scope="module")
def consumer(tmp_path_factory):
    """Return the consumer's DAG folder, outside this repository."""
    folder = tmp_path_factory.mktemp("consumer") / "dags"
    shutil.copytree(CONSUMER, folder, ignore=shutil.ignore_patterns("__pycache__", BY_ENTRY_POINT.name))
    return folder


@pytest.fixture(scope="module")
def consumer_of_wheel(consumer, tmp_path_factory):
    """Return the same with a DAG besides that needs the wheel's entry points."""
    folder = tmp_path_factory.mktemp("consumer_of_wheel") / "dags"
    shutil.copytree(consumer, folder)
    shutil.copy(BY_ENTRY_POINT, folder)
    return folder


def run(*command, cwd):
    """Run a program without this environment's own settings, and return what it says."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTHON", "MYPY"))}
    env |= {"AIRFLOW_HOME": str(cwd), "NO_COLOR": "1", "COLUMNS": "200"}
    done = subprocess.run(
        command, cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=TIMEOUT_SECONDS
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_airflow_lists_the_provider(installed, tmp_path):
    """By its distribution, with its version."""
    listed = run(installed, "-m", "airflow", "providers", "list", "--output", "plain", cwd=tmp_path)
    (line,) = [line for line in listed.splitlines() if "headnode" in line]
    assert line.split()[0] == "airflow-provider-headnode"
    assert line.split()[-1] == headnode.__version__


def test_the_command_is_installed(installed, tmp_path):
    """And tells its version."""
    assert headnode.__version__ in run(installed.parent / "headnode", "--version", cwd=tmp_path)


def test_the_wheel_is_what_is_imported(installed, tmp_path):
    """Not this repository, by some path that leads to it."""
    program = "import headnode, headnode_ui; print(headnode.__file__, headnode_ui.__file__)"
    for file in run(installed, "-c", program, cwd=tmp_path).split():
        assert Path(file).is_relative_to(installed.parents[1])


def test_the_catalogue_is_in_the_wheel(installed, tmp_path):
    """Each file of it, with the user's own beside them; Airflow's own command knows the setting for their folder."""
    (tmp_path / "mine.yaml").write_text("{name: mine, title: Mine, operator: Me}")
    listed = json.loads(run(installed.parent / "headnode", "sites", "--sites-folder", tmp_path, "--json", cwd=tmp_path))
    files = (ROOT / "operators" / "headnode" / "sites").glob("*.yaml")
    assert [system["name"] for system in listed["systems"]] == sorted(["mine", *(file.stem for file in files)])
    settings = run(installed, "-m", "airflow", "config", "list", "--section", "headnode", cwd=tmp_path)
    assert "sites_folder = " in settings


def test_consumers_can_check_their_types_strictly(installed, consumer_of_wheel, tmp_path):
    """The wheel brings its types along."""
    mypy = [sys.executable, "-m", "mypy", "--strict", "--python-executable", installed, "--cache-dir", tmp_path]
    files = [consumer_of_wheel / "consumer.py", consumer_of_wheel / BY_ENTRY_POINT.name]
    assert "no issues found in 2 source files" in run(*mypy, *files, cwd=tmp_path)


def run_consumer(airflow, sacct, *, by_entry_point=False):
    """Run the consumer's DAG; fail unless it ended well, by one job, with the plugin registered once."""
    try:
        decorated = airflow.trigger_dag("by_entry_point") if by_entry_point else None
        run_id = airflow.trigger_dag("consumer")
        assert airflow.wait_for_run("consumer", run_id, timeout_seconds=TIMEOUT_SECONDS) == "success"
        job_id = airflow.xcom("consumer", run_id, "compute", "slurm_job")["job_id"]
        assert airflow.xcom("consumer", run_id, "read") == f"42 by job {job_id}"
        if decorated is not None:
            assert airflow.wait_for_run("by_entry_point", decorated, timeout_seconds=TIMEOUT_SECONDS) == "success"
            assert airflow.xcom("by_entry_point", decorated, "tell") == "the square is 49"
        plugins = airflow.api("GET", "/plugins")["plugins"]
        assert [plugin["name"] for plugin in plugins if "headnode" in plugin["name"]] == ["headnode"]
        assert airflow.import_errors() == []
    finally:
        airflow.stop()
    (job,) = sacct("JobName", "State", jobs=job_id)
    assert job == {"JobName": "consumer.compute", "State": "COMPLETED"}


@pytest.mark.airflow
@pytest.mark.cluster
def test_a_consumers_dags_run_jobs_with_the_wheel(installed, consumer_of_wheel, connections, sacct, tmp_path):
    """In another folder, in an environment that has nothing of this repository but the wheel."""
    airflow = PrivateAirflow.start(
        tmp_path / "af",
        dags_folder=consumer_of_wheel,
        connections={"my_cluster": connections["typed_slurm"]},
        env=SELDOM_READ,
        python=installed,
    )
    run_consumer(airflow, sacct, by_entry_point=True)


@pytest.mark.airflow
@pytest.mark.cluster
def test_a_dag_runs_a_job_with_the_folders_alone(airflow_alone, consumer, connections, sacct, tmp_path):
    """Plugins and operators are this repository's folders; the connection is of type ``ssh``, which Airflow knows."""
    airflow = PrivateAirflow.start(
        tmp_path / "af",
        dags_folder=consumer,
        plugins_folder=ROOT / "plugins",
        connections={"my_cluster": connections["slurm_default"]},
        env={**SELDOM_READ, "PYTHONPATH": str(ROOT / "operators")},
        python=airflow_alone,
    )
    run_consumer(airflow, sacct)
