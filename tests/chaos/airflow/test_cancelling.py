"""Whoever takes a task from its job ends the job: at once, verified, and before a new attempt's job begins."""

import pytest

from headnode.testing import faults

pytestmark = [pytest.mark.airflow, pytest.mark.cluster]


@pytest.fixture(scope="module")
def timing_out(start):
    """Return runs in which execution_timeout and dagrun_timeout run out while the other tests go on."""
    return start("timeouts"), start("timed_run")


@pytest.fixture(scope="module")
def running(start, timing_out):  # noqa: ARG001 - begun early, they are over when their tests come
    """Return a run whose jobs all run, except for the one that is pending."""
    run = start("cancelling")
    run.wait(lambda: all(map(run.jobs, run.known_tasks())), "all jobs are there")
    run.wait_until_running("stubborn", "cleared", "cleared_twice")
    return run


def assert_cancelled(run, task_id):
    """Assert that the task's only job was cancelled."""
    run.wait(lambda: run.jobs(task_id), f"accounting knows the job of {task_id}")
    run.settle(task_id)
    assert [job.state.split()[0] for job in run.jobs(task_id)] == ["CANCELLED"]


def assert_run_again(run, task_id):
    """Assert that the task ended well in a later try, and that each try before it had its job cancelled."""
    run.wait(lambda: run.state(task_id) == "success", f"{task_id} succeeds in another try")
    run.settle(task_id)
    *before, last = run.jobs(task_id)
    assert last.state == "COMPLETED"
    assert before
    assert {job.state.split()[0] for job in before} == {"CANCELLED"}


@pytest.mark.parametrize("task_id", ["marked_failed", "started_marked_failed", "pending"])
def test_marked_failed(running, task_id):
    """Mark failed."""
    running.mark(task_id, "failed")
    assert_cancelled(running, task_id)
    assert running.state(task_id) == "failed"


def test_marked_success(running):
    """Mark success."""
    running.mark("marked_success", "success")
    assert_cancelled(running, "marked_success")
    assert running.state("marked_success") == "success"


@pytest.mark.parametrize("task_id", ["cleared", "started_cleared"])
def test_cleared(running, task_id):
    """Clear."""
    running.clear(task_id)
    assert_run_again(running, task_id)


def test_cleared_twice(running):
    """Clear, and clear again at once."""
    before = running.tries()["cleared_twice"]
    running.clear("cleared_twice")
    running.wait(lambda: running.tries()["cleared_twice"] > before, "the second try is there")
    running.clear("cleared_twice")
    running.wait(lambda: running.state("cleared_twice") == "success", "the third try succeeds")
    running.settle("cleared_twice")
    first, *_, last = running.jobs("cleared_twice")
    assert (first.state.split()[0], last.state) == ("CANCELLED", "COMPLETED")


def test_cleared_and_marked_failed(running):
    """Clear, and mark failed as soon as the new try is deferred."""
    before = running.tries()
    running.clear("cleared_then_failed")
    running.wait_until_deferred("cleared_then_failed", after=before)
    running.mark("cleared_then_failed", "failed")
    running.settle("cleared_then_failed")


def test_cleared_while_the_job_is_completing(running):
    """Clear a task whose cancelled job takes long to end."""
    (job,) = running.jobs("stubborn")
    running.cluster.run("scancel", job.job_id)
    running.wait(lambda: any("COMPLETING" in line for line in running.queued("stubborn")), "the job is completing")
    running.clear("stubborn")
    assert_run_again(running, "stubborn")


def test_execution_timeout(timing_out):
    """The execution_timeout runs out while the task is deferred."""
    run, _ = timing_out
    assert run.wait_until_over() == "failed"
    for task_id in run.known_tasks():
        assert_cancelled(run, task_id)


def test_dagrun_timeout(timing_out):
    """The dagrun_timeout runs out."""
    _, run = timing_out
    assert run.wait_until_over() == "failed"
    run.settle()
    # A task whose turn had not come by then has no job.
    jobs = [job for of_task in run.jobs_by_task(*run.known_tasks()).values() for job in of_task]
    assert {job.state.split()[0] for job in jobs} == {"CANCELLED"}


def whole_run(start):
    """Start a run of three jobs, and wait until all are in the queue."""
    run = start("whole_run")
    run.wait(lambda: len(run.queued()) == 3, "all three jobs are queued")
    return run


def test_dag_run_marked_failed(start):
    """The DAG run is marked failed."""
    run = whole_run(start)
    run.airflow.set_run_state(run.dag_id, run.run_id, "failed")
    for task_id in run.known_tasks():
        assert_cancelled(run, task_id)


def test_dag_run_deleted(start):
    """The DAG run is marked failed and deleted at once."""
    run = whole_run(start)
    run.airflow.set_run_state(run.dag_id, run.run_id, "failed")
    run.airflow.delete_run(run.dag_id, run.run_id)
    for task_id in run.known_tasks():
        assert_cancelled(run, task_id)


def test_task_removed_from_its_dag(start, dags_folder):
    """A task is deleted from the DAG while its job runs."""
    run = start("removed_task")
    run.wait_until_running("removed")
    path = dags_folder / "removed_task.py"
    path.write_text("\n".join(line for line in path.read_text().splitlines() if '"removed"' not in line))
    assert_cancelled(run, "removed")
    assert run.wait_until_over() == "success"
    assert [job.state for job in run.jobs("stays")] == ["COMPLETED"]


def test_backfill_cancelled(start, airflow):
    """A backfill is cancelled: the run that was under way ends with its one job, the others never begin."""
    runs = start.backfill("daily", "2026-03-01", "2026-03-03")
    runs[0].wait_until_running("day")
    airflow.api("PUT", f"/backfills/{start.last_backfill}/cancel")
    assert [run.wait_until_over() for run in runs] == ["success", "failed", "failed"]
    assert [[job.state for job in run.jobs("day")] for run in runs] == [["COMPLETED"], [], []]


@pytest.mark.parametrize("after", [False, True], ids=["before sbatch submits", "before sbatch answers"])
def test_while_it_is_submitted(start, cluster, after):
    """Mark failed, and clear, while sbatch is under way."""
    with faults.hanging(cluster, "sbatch", seconds=5, after=after, times=2) as slow:
        run = start("submitting")
        run.known_tasks()
        run.wait(lambda: slow.hits() == 2, "both tasks are being submitted")
        run.mark("marked_failed", "failed")
        run.clear("cleared")
        run.wait(lambda: run.state("cleared") == "success", "the cleared task succeeds")
    run.settle()
    assert {job.state.split()[0] for job in run.jobs("marked_failed")} == {"CANCELLED"}
    assert [job.state.split()[0] for job in run.jobs("cleared")] == ["CANCELLED", "COMPLETED"]
