"""A real Airflow over a private cluster, both to be broken, and the count of the jobs that each attempt had."""

import contextlib
import json
import os
import sqlite3
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from counted_runs import WAIT_SECONDS, Run, revive_scheduler
from seldom_read import SELDOM_READ

from headnode.testing import SlurmCluster
from headnode.testing.airflow import AirflowApiError, PrivateAirflow
from headnode.testing.watchdog import watched

FULL = os.environ.get("HEADNODE_FULL") == "1"
DAGS = Path(__file__).parent / "dags"
# How long a triggerer may be silent before another one takes its triggers over.
SILENCE_SECONDS = 30 if FULL else 10
SETTINGS = {
    "AIRFLOW__CORE__PARALLELISM": "6",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": str(SILENCE_SECONDS),
    "AIRFLOW__SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "1",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
    # Much less, and a scheduler on a busy machine takes itself for dead and begins its tasks anew.
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "20",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "3",
    # A worker that was killed is missed after so long (300 s by default).
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "2",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    # A worker outlives an API server that is away for this long: 10 tries, at most 3 s apart.
    "AIRFLOW__WORKERS__EXECUTION_API_RETRIES": "10",
    "AIRFLOW__WORKERS__EXECUTION_API_RETRY_WAIT_MAX": "3",
    "AIRFLOW__WORKERS__MAX_FAILED_HEARTBEATS": "10",
    "AIRFLOW__CORE__MAX_TEMPLATED_FIELD_LENGTH": "8192",
}


@pytest.fixture(scope="session")
def cluster():
    """Give the private cluster of all tests in this folder."""
    directory = Path(tempfile.mkdtemp(prefix="hn-chaos-", dir="/tmp"))
    with watched(directory):
        running = SlurmCluster.start(directory, nodes=2, cpus_per_node=32, gpus_per_gpu_node=0)
        try:
            yield running
        finally:
            running.stop()


@pytest.fixture(scope="session")
def work(tmp_path_factory):
    """Return the work directory on the cluster."""
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="session")
def dags_folder(tmp_path_factory):
    """Return a copy of the DAGs, which tests may change."""
    folder = tmp_path_factory.mktemp("dags")
    for path in DAGS.glob("*.py"):
        (folder / path.name).write_text(path.read_text())
    return folder


@pytest.fixture(scope="session")
def airflow(cluster, work, dags_folder, tmp_path_factory):
    """Give an Airflow that notices quickly what died."""
    fields = json.loads(cluster.airflow_connection_json())
    polling = {"poll_seconds": 1, "poll_max_seconds": 2}
    fields["extra"] |= {"work_directory": str(work), **polling}
    running = PrivateAirflow.start(
        tmp_path_factory.mktemp("airflow"),
        dags_folder=dags_folder,
        connections={"slurm_default": json.dumps(fields)},
        env={"AIRFLOW__HEADNODE__DEPLOYMENT_ID": "chaos", **SELDOM_READ, **SETTINGS},
    )
    try:
        yield running
    finally:
        running.stop()


@dataclass
class Starter:
    """Starts runs of DAGs."""

    airflow: PrivateAirflow
    cluster: SlurmCluster
    work: Path
    last_backfill: int | None = None

    def __call__(self, dag_id, **conf):
        """Start a run of a DAG."""
        return self._run(dag_id, self.airflow.trigger_dag(dag_id, conf=conf))

    def backfill(self, dag_id, first_day, last_day):
        """Start a backfill, one day after the other; return its runs in the order of their days."""
        self.airflow.wait_for_dag(dag_id)
        self.airflow.unpause(dag_id)
        dates = {"from_date": f"{first_day}T00:00:00Z", "to_date": f"{last_day}T00:00:00Z"}
        body = {"dag_id": dag_id, "max_active_runs": 1, **dates}
        self.last_backfill = self._created_backfill(body)
        runs = self.airflow.api("GET", f"/dags/{dag_id}/dagRuns", params={"run_type": "backfill"})["dag_runs"]
        return [self._run(dag_id, run["dag_run_id"]) for run in sorted(runs, key=lambda run: run["logical_date"])]

    def _created_backfill(self, body):
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                return self.airflow.api("POST", "/backfills", body)["id"]
            except AirflowApiError as error:
                # Airflow says so where another process was writing to SQLite.
                if error.status != 503 or time.monotonic() > deadline:
                    raise
            time.sleep(0.5)

    def _run(self, dag_id, run_id):
        return Run(self.airflow, self.cluster, self.work, dag_id, run_id)


@pytest.fixture(scope="session")
def start(airflow, cluster, work):
    """Return what starts runs of DAGs."""
    return Starter(airflow, cluster, work)


@pytest.fixture
def kill_worker(airflow):
    """Return a function that kills a worker that is at work, and gives the id of its task instance (None: no one).

    A LocalExecutor never misses a worker that was killed before it said that its task runs.
    """

    def runs(task_instance):
        uri = f"file:{airflow.directory / 'airflow.db'}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=10)) as connection:
            query = "SELECT state FROM task_instance WHERE replace(id, '-', '') = ?"
            return connection.execute(query, (task_instance.replace("-", ""),)).fetchone() == ("running",)

    def kill():
        (scheduler,) = airflow.process_ids("scheduler")
        for process in psutil.Process(scheduler).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                title = " ".join(process.cmdline()).split()
                children = process.children()
                if "LocalExecutor:" in title and "<idle>" not in title and children and runs(title[-1]):
                    for each in (process, *children):
                        each.kill()
                    return title[-1]
        return None

    return kill


@pytest.fixture(scope="session")
def silence_seconds():
    """Return how long a triggerer may be silent before another one takes its tasks over."""
    return SILENCE_SECONDS


@pytest.fixture
def freeze_triggerer(airflow):
    """Return a context manager that freezes a triggerer by its index, with all its processes."""

    @contextlib.contextmanager
    def freeze(index):
        leader = psutil.Process(airflow.process_ids("triggerer")[index])
        processes = [leader, *leader.children(recursive=True)]
        try:
            while True:
                for process in processes:
                    process.suspend()
                # SQLite has one writer for all: frozen while it writes, the triggerer would stop everything.
                if _is_writable(airflow.directory / "airflow.db"):
                    break
                for process in processes:
                    process.resume()
            yield
        finally:
            for process in processes:
                process.resume()

    return freeze


def _is_writable(database):
    with contextlib.closing(sqlite3.connect(database, timeout=2, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        except sqlite3.OperationalError:
            return False
        return True


@pytest.fixture(autouse=True)
def _scheduler_lives(airflow):
    revive_scheduler(airflow)
