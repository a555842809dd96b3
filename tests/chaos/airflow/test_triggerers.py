"""Triggerers that are away, and two of which one is frozen: restarts and redistribution cancel nothing."""

import time

import pytest

pytestmark = [pytest.mark.airflow, pytest.mark.cluster]


CLEARED = ("cleared", "started_cleared", "cleared_then_failed")


@pytest.fixture
def second_triggerer(airflow):
    """Let a second triggerer run."""
    airflow.start_component("triggerer")
    yield
    airflow.kill("triggerer", index=1)


def test_marked_and_cleared_while_no_triggerer_runs(start, airflow, silence_seconds):
    """Mark failed, and clear, while no triggerer runs: what was submitted before, and what never was."""
    heard = start("unheard")
    heard.wait_until_running(*heard.known_tasks())
    airflow.kill("triggerer")
    try:
        unheard = start("unheard")
        before = heard.tries()
        for task_id in CLEARED:
            heard.clear(task_id)
        heard.wait_until_deferred(*CLEARED, after=before)
        unheard.wait_until_deferred(*unheard.known_tasks())
        for run in (heard, unheard):
            for task_id in ("failed", "started_failed", "cleared_then_failed"):
                run.mark(task_id, "failed")
        for task_id in ("cleared", "started_cleared"):
            unheard.mark(task_id, "failed")
        # Airflow forgets the triggers of tasks that are over where it still takes their dead triggerer for alive.
        # Their jobs are left to headnode's sweeper; here it is Airflow that is to tell the triggers.
        time.sleep(silence_seconds)
    finally:
        airflow.start_component("triggerer")
    for task_id in ("cleared", "started_cleared"):
        heard.wait(lambda task_id=task_id: heard.state(task_id) == "success", f"{task_id} succeeds")
        assert [job.state.split()[0] for job in heard.jobs(task_id)] == ["CANCELLED", "COMPLETED"]
    heard.settle()
    for task_id in ("failed", "started_failed", "cleared_then_failed"):
        assert [job.state.split()[0] for job in heard.jobs(task_id)] == ["CANCELLED"]
    # Each of them is told that its task is over; whatever they had submitted would be there by then.
    unheard.wait(lambda: all(map(unheard.told, unheard.known_tasks())), "the triggers of the other run are told")
    assert [unheard.jobs(task_id) for task_id in unheard.known_tasks()] == [[]] * len(unheard.known_tasks())


@pytest.mark.usefixtures("second_triggerer")
def test_a_triggerer_is_frozen(start, freeze_triggerer, silence_seconds):
    """Two triggerers, of which one is frozen (SIGSTOP) until the other has taken its tasks over, and resumed."""
    run = start("frozen")
    known = run.known_tasks()

    def begun():
        jobs = [each[-1:] for each in run.jobs_by_task(*known).values()]
        return len(jobs) == len(known) and all(last and last[0].start for last in jobs)

    # On a busy machine the shortest jobs are over when the last ones begin.
    run.wait(begun, "all jobs have begun")
    with freeze_triggerer(0):
        time.sleep(silence_seconds + 10)
    assert run.wait_until_over() == "success"
    run.settle()
    for task_id in run.known_tasks():
        assert [job.state for job in run.jobs(task_id)] == ["COMPLETED"]
