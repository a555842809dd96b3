"""SIGKILL of parts of Airflow while jobs are submitted, followed and finished: each attempt has its one job."""

import contextlib
import os
import time

import pytest

DOWN_SECONDS = 120 if os.environ.get("HEADNODE_FULL") == "1" else 0
ALL = ("triggerer", "scheduler", "dag-processor", "api-server")
pytestmark = [pytest.mark.airflow, pytest.mark.cluster]


def known_jobs(run):
    """Return the jobs of the run that the cluster knows."""
    return [job for of_task in run.jobs_by_task(*run.known_tasks()).values() for job in of_task]


def stages(run):
    """Return how many jobs of the run the cluster knows, and how many of them have ended."""
    jobs = known_jobs(run)
    return len(jobs), sum(1 for job in jobs if job.end)


def midway(start):
    """Start a run, and return it when one job has ended and others have not."""
    run = start("waves")
    run.wait(lambda: (now := stages(run))[1] and now[0] > now[1] + 1, "one job has ended, others have not")
    return run


def assert_all_well(run):
    """Assert that every task succeeded with the result of its last try's job, which ended well."""
    assert run.wait_until_over() == "success"
    run.settle()
    for task_id in run.known_tasks():
        last = run.jobs(task_id)[-1]
        assert last.state == "COMPLETED"
        assert run.xcom(task_id, "slurm_job")["job_id"] == last.job_id
        assert run.xcom(task_id) == int(task_id.rpartition("_")[2])


@contextlib.contextmanager
def held_jobs(start):
    """Let no job of `waves` end."""
    hold = start.work / "chaos/hold"
    hold.parent.mkdir(exist_ok=True)
    hold.touch()
    try:
        yield
    finally:
        hold.unlink()


def run_noted(run):
    """Whether it is noted on the cluster for a job of the run what of its output was read."""
    notes = [
        note.read_text().split()
        for task_id in run.known_tasks()
        for note in (run.work / "chaos/tasks" / run.directory(task_id)).glob("*/log_offset")
    ]
    return any(note and note[0] != "0" for note in notes)


def goes_on(run):
    """Whether a job of the run was found again, and its output is read from where it was."""
    logs = [run.log(task_id, number) for task_id, number in run.tries().items()]
    return any("found again" in log and "the job's stdout goes on at byte" in log for log in logs)


def test_triggerer_is_killed(start, airflow):
    """SIGKILL of the triggerer: no task begins anew, and logs go on where they were."""
    with held_jobs(start):
        run = start("waves")
        run.wait(lambda: run_noted(run), "what was read of a job's output is noted on the cluster")
        airflow.kill("triggerer")
        killed_at = time.time()
        airflow.start_component("triggerer")
        run.wait(lambda: goes_on(run), "a job's output is followed on")
    assert_all_well(run)
    assert [len(run.jobs(task_id)) for task_id in run.known_tasks()] == [1] * len(run.known_tasks())
    logs = {task_id: run.log(task_id, number) for task_id, number in run.tries().items()}
    assert all("| last" in log for task_id, log in logs.items() if run.jobs(task_id)[0].end > killed_at)


@pytest.mark.parametrize("component", ["scheduler", "api-server"])
def test_component_is_killed(start, airflow, component):
    """SIGKILL of the scheduler with its workers, or of the API server."""
    run = midway(start)
    airflow.kill(component)
    airflow.start_component(component)
    assert_all_well(run)


def test_workers_are_killed(start, kill_worker):
    """SIGKILL of a worker that is about to defer its task, and of one that is about to finish it."""
    run = start("waves")
    run.wait(kill_worker, "a worker begins a task")
    run.wait(lambda: stages(run)[1] and kill_worker(), "a job has ended, and a worker is at work")
    assert_all_well(run)
    assert sum(run.tries().values()) > len(run.known_tasks())


def test_all_of_airflow_is_down(start, airflow):
    """SIGKILL of every part of Airflow, which is away while jobs end."""
    run = midway(start)
    for component in ALL:
        airflow.kill(component)
    down_since = time.time()
    try:
        run.wait(
            lambda: any((job.end or 0) > down_since for job in known_jobs(run)), "a job ends while Airflow is down"
        )
        time.sleep(DOWN_SECONDS)
    finally:
        airflow.start_component(*ALL)
    assert_all_well(run)
