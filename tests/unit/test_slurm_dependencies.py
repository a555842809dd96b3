"""Dependencies between tasks' jobs: what may be asked for, and what the other task's standing means."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headnode.errors import JobSpecError
from headnode.slurm.dependencies import (
    KINDS,
    DependOn,
    Met,
    Never,
    NotYet,
    OtherTask,
    judge,
    parse_dependencies,
    render_dependency,
    unfinished_job_ids,
)
from headnode.slurm.record import JobRecord, Labels, Submission

AIRFLOW_STATES = (
    *(None, "scheduled", "queued", "running", "restarting", "deferred", "up_for_retry", "up_for_reschedule"),
    *("success", "failed", "upstream_failed", "skipped", "removed"),
)


def record(state="RUNNING", job_id="7", **changes):
    """Return the record of a job in ``state``."""
    whole = JobRecord(
        key="k-1",
        conn_id="c",
        host="h",
        labels=Labels(dag_id="d", run_id="r", task_id="train"),
        job_id=job_id,
        job_name="n",
        directory="/d",
        log_path="/d/log",
        script_sha256="0" * 64,
        requested={},
        submissions=[Submission(number=1, job_id=job_id, at=datetime(2026, 11, 21, tzinfo=UTC), state=state)],
        state=state,
    )
    return whole.model_copy(update=changes)


def other(state, **known):
    """Return what is known of the task ``train``."""
    return OtherTask(task_id="train", state=state, **known)


@pytest.mark.parametrize(
    ("value", "tasks", "singleton"),
    [
        (None, {}, False),
        ([], {}, False),
        ({"singleton": False}, {}, False),
        ("train", {"afterok": ("train",)}, False),
        (["a", "b"], {"afterok": ("a", "b")}, False),
        (SimpleNamespace(task_id="train"), {"afterok": ("train",)}, False),
        (SimpleNamespace(operator=SimpleNamespace(task_id="train")), {"afterok": ("train",)}, False),
        ({"afterany": "a", "aftercorr": ["b"], "singleton": True}, {"afterany": ("a",), "aftercorr": ("b",)}, True),
    ],
)
def test_the_forms_of_depends_on(value, tasks, singleton):
    """A task, a list of tasks, or lists by kind; and what is stored is read again."""
    parsed = parse_dependencies(value, task_id="apply")
    assert (dict(parsed.tasks), parsed.singleton) == (tasks, singleton)
    assert bool(parsed) == bool(tasks or singleton)
    assert parse_dependencies(parsed.to_json()) == parsed


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"after_ok": ["a"]}, "'after_ok' is no kind of dependency"),
        ("apply", "depends on itself"),
        ({"afterany": ["a", "apply"]}, "depends on itself"),
        (["a", "a"], "'a' is named more than once"),
        ({"afterok": ["a"], "afternotok": ["a"]}, "'a' is named more than once"),
        ({"singleton": "yes"}, "must be True or False"),
        (7, "neither a task's id nor a task"),
        ([""], "neither a task's id nor a task"),
    ],
)
def test_what_cannot_be_right_is_refused(value, words):
    """When the DAG is parsed."""
    with pytest.raises(JobSpecError, match=words) as caught:
        parse_dependencies(value, task_id="apply")
    assert caught.value.field == "depends_on"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("state", ["deferred", "running"])
@pytest.mark.parametrize("job_state", ["PENDING", "RUNNING", "COMPLETING", "REQUEUED", "TELEPORTED"])
def test_slurm_waits_for_a_job_that_has_not_ended(kind, state, job_state):
    """The other task is at work, so its record is of the job that counts."""
    assert judge(kind, other(state, record=record(job_state)), host="h") == DependOn(("7",))


@pytest.mark.parametrize(
    ("kind", "state", "verdict"),
    [
        ("afterok", "success", Met),
        ("afterok", "failed", Never),
        ("afterok", "upstream_failed", Never),
        ("afterok", "skipped", Never),
        ("aftercorr", "success", Met),
        ("aftercorr", "failed", Never),
        ("afterany", "success", Met),
        ("afterany", "failed", Met),
        ("afterany", "skipped", Met),
        ("afternotok", "failed", Met),
        ("afternotok", "success", Never),
        ("afternotok", "skipped", Never),
    ],
)
def test_the_other_tasks_end_decides(kind, state, verdict):
    """Whatever its last record says: a task may be marked, and its job be gone."""
    for known in (None, record("RUNNING"), record("FAILED"), record("COMPLETED")):
        assert isinstance(judge(kind, other(state, record=known), host="h"), verdict)


@given(st.sampled_from(KINDS), st.sampled_from(AIRFLOW_STATES), st.none() | st.builds(record, st.just("COMPLETED")))
def test_nothing_is_met_before_the_other_task_has_ended(kind, state, known):
    """A record may be of an earlier run of a task that was cleared; only the task's own end counts."""
    verdict = judge(kind, other(state, record=known), host="h")
    if state not in ("success", "failed", "upstream_failed", "skipped", "removed"):
        assert isinstance(verdict, NotYet)
    else:
        assert isinstance(verdict, Met | Never)


@pytest.mark.parametrize("state", [None, "queued", "up_for_retry"])
def test_a_record_of_an_earlier_try_is_not_depended_on(state):
    """A cleared task has still its old record, of a job that was cancelled."""
    assert isinstance(judge("afterok", other(state, record=record("RUNNING")), host="h"), NotYet)


def test_a_job_that_failed_may_be_submitted_again():
    """By the other task's failure policy, or by its next try."""
    verdict = judge("afterok", other("deferred", record=record("OUT_OF_MEMORY")), host="h")
    assert verdict == NotYet("task 'train' is deferred, its job 7 ended as OUT_OF_MEMORY")


def test_what_can_never_be_says_why():
    """Another cluster's jobs, and tasks that are not there."""
    elsewhere = judge("afterok", other("deferred", record=record()), host="elsewhere")
    assert isinstance(elsewhere, Never)
    assert "task 'train' is deferred and has its job on h, but this one is for elsewhere" in elsewhere.why
    assert judge("afterok", OtherTask(task_id="trian", exists=False), host="h") == Never(
        "task 'trian' is not in this DAG run, or is mapped and has no instance with this task's map index"
    )
    failed = judge("afterok", other("failed", record=record("FAILED", exit_code=3)), host="h")
    assert failed == Never("task 'train' ended as failed, its job 7 as FAILED with exit code 3")


def test_all_parts_of_an_array_that_have_not_ended_are_depended_on():
    """An array over the site's limit is several jobs."""
    at = datetime(2026, 11, 21, tzinfo=UTC)
    parts = [
        Submission(number=1, job_id="7", at=at, state="COMPLETED"),
        Submission(number=2, job_id="8", at=at, state="RUNNING"),
        Submission(number=3, job_id="9", at=at),
    ]
    assert unfinished_job_ids(record(submissions=parts)) == ("8", "9")


def test_an_array_is_depended_on_when_all_of_its_jobs_are_submitted():
    """A site's limits may let only some of them be queued at once."""
    verdict = judge("afterok", other("deferred", record=record(jobs_to_come=2)), host="h")
    assert verdict == NotYet("task 'train' is deferred and has still to submit 2 of its array jobs")


def test_the_option_of_sbatch():
    """Kinds are joined by commas, jobs by colons; what is met is left out."""
    verdicts = [("afterok", DependOn(("1", "2"))), ("afterok", DependOn(("2", "3"))), ("afterany", DependOn(("4",)))]
    assert render_dependency(verdicts, singleton=True) == "afterok:1:2:3,afterany:4,singleton"
    assert render_dependency([("afterok", Met("it ended"))], singleton=False) == ""
