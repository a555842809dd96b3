"""SIGKILL of a part of Airflow while jobs are submitted, followed and finished: each attempt has its one job."""

import pytest

pytestmark = [pytest.mark.airflow, pytest.mark.cluster]


def stages(run):
    """Return how many jobs of the run the cluster knows, and how many of them have ended."""
    mine = {run.directory(task_id) for task_id in run.known_tasks()}
    jobs = [job for task, of_task in run.jobs_by_task().items() if task in mine for job in of_task]
    return len(jobs), sum(1 for job in jobs if job.end)


def assert_all_well(run):
    """Assert that every task succeeded, and that the job of its last try ended well."""
    assert run.wait_until_over() == "success"
    run.settle()
    for task_id in run.known_tasks():
        assert run.jobs(task_id)[-1].state == "COMPLETED"


@pytest.mark.parametrize("component", ["triggerer", "scheduler", "api-server"])
def test_a_component_is_killed(start, airflow, component):
    """SIGKILL of the component while some jobs are not yet submitted, some run and some have ended."""
    run = start("waves")
    run.known_tasks()
    run.wait(lambda: (now := stages(run))[0] > 1 and now[1], "some jobs are there, and one has ended")
    airflow.kill(component)
    airflow.start_component(component)
    assert_all_well(run)
