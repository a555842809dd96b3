"""Runs of DAGs over a private cluster, with the count of the jobs that each attempt had."""

import os
import time
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from headnode.cluster.place import JobPlace
from headnode.slurm.record import Labels
from headnode.testing import SlurmCluster
from headnode.testing.airflow import AirflowApiError, PrivateAirflow
from headnode.testing.airflow_api import ENDED_RUN_STATES

WAIT_SECONDS = 900 if os.environ.get("HEADNODE_FULL") == "1" else 240
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


def revive_scheduler(airflow):
    """Start a scheduler again that died of SQLite, which can't lock rows: of a run that was deleted, for one.

    As whatever supervises an Airflow would. One that a test killed is the test's to start.
    """
    if any(each.name == "scheduler" and not each.is_running() for each in airflow.components):
        airflow.start_component("scheduler")


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
            revive_scheduler(self.airflow)
            try:
                if value := condition():
                    return value
            except AirflowApiError as error:
                # A machine that is busy with all these processes may let the API server wait.
                if error.status != 0:
                    raise
            assert time.monotonic() < deadline, f"not within {timeout_seconds} s: {what}; {self.states()}"
            time.sleep(0.5)

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

        def over():
            state = self.airflow.run_state(self.dag_id, self.run_id)
            return state if state in ENDED_RUN_STATES else None

        return self.wait(over, f"the run of {self.dag_id} is over")

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
