"""A real Airflow over a private cluster, both to be broken, and the count of the jobs that each attempt had."""

import contextlib
import json
import os
import sqlite3
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from headnode.cluster.place import JobPlace
from headnode.slurm.record import Labels
from headnode.testing import SlurmCluster
from headnode.testing.airflow import AirflowApiError, PrivateAirflow
from headnode.testing.watchdog import watched

FULL = os.environ.get("HEADNODE_FULL") == "1"
DAGS = Path(__file__).parent / "dags"
WAIT_SECONDS = 900 if FULL else 240
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
ATTEMPT_FIELDS = ("JobID", "State", "Start", "End", "WorkDir")


@dataclass(frozen=True)
class Job:
    """One job as accounting knows it; times are epoch seconds, None where there is none."""

    job_id: str
    state: str
    start: int | None
    end: int | None
    task: str
    key: str

    @property
    def owner(self):
        """The task instance, that is the attempt."""
        return self.key.rpartition("-")[0]


@dataclass(frozen=True)
class Run:
    """One run of a DAG, and what Airflow and Slurm say of its tasks."""

    airflow: PrivateAirflow
    cluster: SlurmCluster
    work: Path
    dag_id: str
    run_id: str
    tasks: dict = field(default_factory=dict)

    def directory(self, task_id, map_index=-1):
        """Return the name of the task's directory on the cluster."""
        labels = Labels(dag_id=self.dag_id, run_id=self.run_id, task_id=task_id, map_index=map_index)
        place = JobPlace(work_directory=str(self.work), deployment_id="chaos", labels=labels, owner="nobody")
        return place.task_name

    def states(self):
        """Return the states of all tasks."""
        return {each["task_id"]: each["state"] for each in self.airflow.task_instances(self.dag_id, self.run_id)}

    def state(self, task_id):
        """Return the state of a task."""
        return self.states()[task_id]

    def tries(self):
        """Return the number of each task's last try."""
        return {each["task_id"]: each["try_number"] for each in self.airflow.task_instances(self.dag_id, self.run_id)}

    def jobs(self, task_id):
        """Return the jobs of a task in the order of their submission."""
        return self.jobs_by_task().get(self.directory(task_id), [])

    def jobs_by_task(self, *task_ids):
        """Return the jobs of these tasks (of all on the cluster) by the tasks' directories, in order of submission."""
        answer = self.cluster.run(
            "env", "SLURM_TIME_FORMAT=%s", "sacct", "-nPXD", "-S", "now-1days", "-E", "now+1days",
            "-o", ",".join(ATTEMPT_FIELDS),
        )  # fmt: skip
        found = defaultdict(list)
        for line in answer.stdout.splitlines():
            job_id, state, start, end, directory = line.split("|", 4)
            task, key = Path(directory).parts[-3:-1]
            found[task].append(Job(job_id, state, _time(start), _time(end), task, key))
        return {name: found[name] for name in map(self.directory, task_ids)} if task_ids else found

    def queued(self, *task_ids):
        """Return the lines of squeue about the jobs of these tasks, all tasks of the run by default."""
        tasks = {self.directory(task_id) for task_id in task_ids or self.known_tasks()}
        lines = self.cluster.run("squeue", "-h", "-o", "%i|%T|%Z").stdout.splitlines()
        return [line for line in lines if Path(line.rpartition("|")[2]).parts[-3] in tasks]

    def known_tasks(self):
        """Return the ids of the run's tasks, also when the run is deleted or Airflow does not answer."""
        if not self.tasks:
            self.tasks.update(dict.fromkeys(self.states()))
        return list(self.tasks)

    def followed(self):
        """Return the ids of the tasks that have a job."""
        return [task_id for task_id in self.known_tasks() if self.jobs(task_id)]

    def xcom(self, task_id, key="return_value"):
        """Return an XCom of a task."""
        return self.airflow.xcom(self.dag_id, self.run_id, task_id, key)

    def mark(self, task_id, state):
        """Mark a task failed or successful."""
        self.airflow.set_task_state(self.dag_id, self.run_id, task_id, state)

    def clear(self, task_id):
        """Clear a task alone."""
        self.airflow.clear(self.dag_id, self.run_id, [task_id])

    def wait_until_deferred(self, *task_ids, after=None):
        """Wait until the tasks are deferred, in later tries than those in ``after``."""

        def deferred():
            states, tries = self.states(), self.tries()
            return all(states[each] == "deferred" and tries[each] > (after or {}).get(each, 0) for each in task_ids)

        self.wait(deferred, f"deferred: {task_ids}")

    def told(self, task_id):
        """Whether the task's trigger has been told to end the task's jobs, and has done so."""
        return "no job was left to cancel" in self.log(task_id, self.tries()[task_id])

    def log(self, task_id, try_number=1):
        """Return the log of a task's try."""
        return self.airflow.task_log(self.dag_id, self.run_id, task_id, try_number)

    def wait(self, condition, what, *, timeout_seconds=WAIT_SECONDS):
        """Return the first true value of ``condition()``; fail when none comes in time."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            try:
                if value := condition():
                    return value
            except AirflowApiError as error:
                # A machine that is busy with all these processes may let the API server wait.
                if error.status != 0:
                    raise
            assert time.monotonic() < deadline, f"not within {timeout_seconds} s: {what}; {self.states()}"
            time.sleep(0.3)

    def wait_until_running(self, *task_ids):
        """Wait until the last job of each of the tasks runs."""

        def running():
            jobs = self.jobs_by_task()
            last = [jobs[self.directory(task_id)][-1:] for task_id in task_ids]
            return all(each and each[0].state == "RUNNING" for each in last)

        self.known_tasks()
        self.wait(running, f"the jobs of {task_ids} run")

    def wait_until_over(self):
        """Wait until the run has ended, and return its state."""
        return self.airflow.wait_for_run(self.dag_id, self.run_id, timeout_seconds=WAIT_SECONDS)

    def wait_until_gone(self, *task_ids):
        """Wait until none of these tasks' jobs is in the queue, those of all tasks of the run by default."""
        self.wait(lambda: not self.queued(*task_ids), f"no job of {task_ids or 'the run'} is left in the queue")

    def settle(self, *task_ids):
        """Assert that no attempt had two jobs, that no two jobs ran at the same time, and that none is left."""
        task_ids = task_ids or self.known_tasks()
        self.wait_until_gone(*task_ids)
        self.wait(
            lambda: all(job.end for task_id in task_ids for job in self.jobs(task_id)), "accounting knows all ends"
        )
        by_task = self.jobs_by_task()
        for task_id in task_ids:
            name = self.directory(task_id)
            jobs = by_task[name]
            keys = [job.key for job in jobs]
            assert len(keys) == len(set(keys)), f"{task_id} had two jobs in one attempt: {jobs}"
            times = sorted((job.start, job.end) for job in jobs if job.start is not None)
            assert all(end <= start for (_, end), (start, _) in pairwise(times)), jobs
            assert not (self.work / "chaos/tasks" / name / "overlaps").exists(), jobs


def _time(text):
    return int(text) if text.isdecimal() else None


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
        env={"AIRFLOW__HEADNODE__DEPLOYMENT_ID": "chaos", **SETTINGS},
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
    """Start a scheduler again that died of SQLite, which can't lock rows: of a run that was deleted, for one."""
    if not airflow.process_ids("scheduler"):
        airflow.start_component("scheduler")
