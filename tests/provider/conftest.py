"""One real Airflow for all tests of the provider, with connections, good and bad, to one private Slurm cluster."""

import json
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from seldom_read import SELDOM_READ

from headnode.testing.airflow import AirflowApiError, PrivateAirflow

DAGS = Path(__file__).parent / "dags"
OTHER_HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPKsfzvEWCRwTkFFDBaYwSmE6ypFq2k6gPZpZ2qM0pz"
POLLING = {"poll_seconds": 1, "poll_max_seconds": 2}


@pytest.fixture(scope="session")
def connections(slurm_cluster, tmp_path_factory):
    """Return the Airflow connections to the cluster, as JSON by their ids."""
    work = tmp_path_factory.mktemp("work")
    stranger = tmp_path_factory.mktemp("keys") / "stranger"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", stranger], check=True, timeout=30)

    def connection(conn_type="ssh", port=None, **extra):
        fields = json.loads(slurm_cluster.airflow_connection_json(conn_type))
        fields["extra"] |= {"work_directory": str(work), **POLLING, **extra}
        return json.dumps(fields | ({"port": port} if port else {}))

    return {
        "slurm_default": connection(),
        "typed_slurm": connection("slurm"),
        "my_cluster": connection("slurm"),
        "at_private": connection("slurm", site="private"),
        "many_jobs": connection(poll_seconds=3, poll_max_seconds=6),
        "stranger": connection(key_file=str(stranger), look_for_keys=False),
        "unknown_host": connection(host_key=OTHER_HOST_KEY),
        "refusing": connection(port=1),
        "unchecked": connection(no_host_key_check=True),
    }


@pytest.fixture(scope="session")
def watched_folder(tmp_path_factory):
    """Return the folder on the cluster in which an asset's file is watched."""
    return tmp_path_factory.mktemp("watched")


@pytest.fixture(scope="session")
def airflow(connections, tmp_path_factory, watched_folder):
    """Return a running Airflow; what a killed triggerer followed is taken over after a few seconds."""
    running = PrivateAirflow.start(
        tmp_path_factory.mktemp("airflow"),
        dags_folder=DAGS,
        connections=connections,
        env={
            **SELDOM_READ,
            "HEADNODE_TEST_WATCHED": str(watched_folder),
            "AIRFLOW__HEADNODE__SITES_FOLDER": str(DAGS.parent / "sites"),
            "AIRFLOW__HEADNODE__SWEEP_SECONDS": "90",
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
            "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
            "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "8",
        },
    )
    yield running
    running.stop()


def _wait_until(condition, what, *, timeout_seconds=60):
    """Return the first true value of ``condition()``; fail when none comes in time."""
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.5)
    raise AssertionError(f"not within {timeout_seconds} s: {what}")


@dataclass(frozen=True)
class Run:
    """One run of a DAG, and what Airflow says of its tasks."""

    airflow: PrivateAirflow
    dag_id: str
    run_id: str

    def wait(self, timeout_seconds=240):
        """Wait until the run has ended, and return its state."""
        return self.airflow.wait_for_run(self.dag_id, self.run_id, timeout_seconds=timeout_seconds)

    def states(self):
        """Return the states of the tasks that are not mapped."""
        return {task["task_id"]: task["state"] for task in self.airflow.task_instances(self.dag_id, self.run_id)}

    def tries(self, task_id):
        """Return the number of the task's last try."""
        tasks = self.airflow.task_instances(self.dag_id, self.run_id)
        return next(task["try_number"] for task in tasks if task["task_id"] == task_id)

    def log(self, task_id, try_number=1, map_index=-1):
        """Return the log of a task's try."""
        return self.airflow.task_log(self.dag_id, self.run_id, task_id, try_number, map_index)

    def xcom(self, task_id, key="return_value", map_index=-1):
        """Return an XCom of a task, None where there is none."""
        try:
            return self.airflow.xcom(self.dag_id, self.run_id, task_id, key, map_index)
        except AirflowApiError as error:
            if error.status != 404:
                raise
            return None

    def record(self, task_id, map_index=-1):
        """Return the record of a task's job, None before there is one."""
        return self.xcom(task_id, "slurm_job", map_index)

    def wait_for_record(self, task_id, map_index=-1, *, state=None, not_job=None, timeout_seconds=120):
        """Wait until the task's job is in ``state`` (and is another one than ``not_job``); return its record."""

        def found():
            record = self.record(task_id, map_index)
            fits = record and record["job_id"] != not_job and state in (None, record["state"])
            return record if fits else None

        return _wait_until(found, f"the job of {task_id} is {state}", timeout_seconds=timeout_seconds)


@pytest.fixture(scope="session")
def wait_until():
    """Return the function that waits for a condition, within bounds."""
    return _wait_until


@pytest.fixture(scope="session")
def start(airflow):
    """Return a function that starts a run of a DAG."""

    def start_run(dag_id, **conf):
        return Run(airflow, dag_id, airflow.trigger_dag(dag_id, conf=conf))

    return start_run


@pytest.fixture(scope="session")
def sacct(slurm_cluster):
    """Return a function that gives the cluster's own account of jobs: a dict of the asked fields for each job."""

    def ask(*fields, **options):
        flags = [f"--{name}={value}" for name, value in options.items()]
        answer = slurm_cluster.run(
            "sacct", "-nPX", "-S", "now-1days", "-E", "now+1hours", "--format", ",".join(fields), *flags
        )
        return [dict(zip(fields, line.split("|"), strict=True)) for line in answer.stdout.splitlines()]

    return ask
