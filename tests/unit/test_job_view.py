"""What the job page makes of a record: lengths of time, bars, words."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headnode.slurm.record import JobRecord, Labels, StateChange, Submission, Usage
from headnode_ui.records import RecordUnreadable, TaskReference, parse_record
from headnode_ui.view import job_view, plain, task_page_path

BEGIN = datetime(2026, 11, 21, 6, 0, tzinfo=UTC)


def record(**changes):
    """Return a small record with ``changes``."""
    whole = JobRecord(
        key="k/1",
        conn_id="c",
        host="h",
        labels=Labels(dag_id="d", run_id="r", task_id="t"),
        job_id="1",
        job_name="n",
        directory="/d",
        log_path="/d/log",
        script_sha256="0" * 64,
        requested={},
        submissions=[Submission(number=1, job_id="1", at=BEGIN)],
    )
    return whole.model_copy(update=changes)


def history(*changes):
    """Return a history of (seconds after the beginning, state)."""
    return [StateChange(at=BEGIN + timedelta(seconds=after), state=state) for after, state in changes]


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), ([], "-"), (0, "0"), ({"a": 1, "b": ["x", "y"]}, "a=1, b=x, y"), (["i", "j"], "i, j")],
)
def test_requested_values_are_text(value, text):
    """Zero was asked for; nothing was not."""
    assert plain(value) == text


def test_last_stage_of_a_running_job_lasts_until_now():
    """The bar is full and the page comes again."""
    changes = history((0, "PENDING"), (30, "RUNNING"))
    view = job_view(record(state="RUNNING", history=changes), now=BEGIN + timedelta(seconds=120))
    assert [(stage.start, stage.length) for stage in view.stages] == [(0, 25), (25, 75)]
    assert view.elapsed == "2 min 00 s"
    assert view.refresh_seconds


def test_end_of_a_job_has_no_length():
    """What happens after the end is not the job's time."""
    changes = history((0, "PENDING"), (30, "RUNNING"), (120, "FAILED"))
    view = job_view(record(state="FAILED", history=changes), now=BEGIN + timedelta(days=9))
    assert [stage.length for stage in view.stages] == [25, 75, 0]
    assert view.elapsed == "2 min 00 s"
    assert view.refresh_seconds is None


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20), st.booleans(), st.floats(-1e6, 1e6))
def test_bars_stay_in_the_picture(times, ended, now):
    """Whatever the clocks did, no bar has a negative length."""
    state = "COMPLETED" if ended else "RUNNING"
    changes = history(*((after, state) for after in times))
    view = job_view(record(state=state, history=changes), now=BEGIN + timedelta(seconds=now))
    assert len(view.stages) == len(times)
    for stage in view.stages:
        assert 0 <= stage.start <= 100
        assert 0 <= stage.length <= 100


def test_word_of_a_newer_slurm_is_shown_and_asked_again():
    """An unknown state is no end."""
    view = job_view(record(state="TELEPORTED"), now=BEGIN)
    assert (view.tone, view.ended) == ("unknown", False)


def test_no_efficiency_where_nothing_was_allocated():
    """A job that was cancelled while it waited used nothing, not 0 %."""
    view = job_view(record(state="CANCELLED", usage=Usage()), now=BEGIN)
    assert view.usage is not None
    assert view.usage.cpu_percent is None


def test_way_back_leads_to_the_task_instance():
    """Run ids hold characters that an address must not mistake for its own."""
    assert task_page_path(TaskReference("d", "r:1+a", "g.t", -1)) == "/dags/d/runs/r%3A1%2Ba/tasks/g.t"
    assert task_page_path(TaskReference("d", "r", "t", 3)) == "/dags/d/runs/r/tasks/t/mapped/3"


@pytest.mark.parametrize("value", ["no json", "[]", 3, '"text"'])
def test_value_that_is_no_object_is_no_record(value):
    """Another task may have written the key."""
    with pytest.raises(RecordUnreadable, match="This is no job record"):
        parse_record(value)


def test_record_is_read_from_text_and_from_data():
    """Databases keep JSON as text or as data."""
    whole = record()
    assert parse_record(whole.model_dump_json()) == parse_record(whole.to_xcom()) == whole


def test_each_component_of_a_heterogeneous_job_has_a_line():
    """Component 0 is the job itself."""
    view = job_view(record(requested={"mem": "4G", "components": [{"partition": "gpu", "mem": "8G"}, {}]}), now=BEGIN)
    assert view.requested == [("mem", "4G"), ("component 1", "partition=gpu, mem=8G"), ("component 2", "-")]


def test_failed_elements_come_first():
    """Whoever opens the page looks for what went wrong."""
    view = job_view(record(element_states={"COMPLETED": "0-2,4-9", "FAILED": "3"}), now=BEGIN)
    assert [(each.state, each.tone, each.indexes) for each in view.elements] == [
        ("FAILED", "failed", "3"),
        ("COMPLETED", "succeeded", "0-2, 4-9"),
    ]


@pytest.mark.parametrize(
    ("state", "reason", "advice"),
    [
        ("PENDING", "Priority", ("Jobs of higher priority are before it.", "pending")),
        (
            "PENDING",
            "JobHeldUser",
            ("Its owner holds it; it will not start by itself: `scontrol release 1` lets it go.", "blocked"),
        ),
        ("PENDING", "AWordOfTomorrow", None),
        ("PENDING", None, None),
        ("FAILED", "JobHeldUser", None),
    ],
)
def test_why_a_job_waits_in_plain_words(state, reason, advice):
    """Only while it waits; a word that is not known says nothing more."""
    assert job_view(record(state=state, reason=reason), now=BEGIN).advice == advice


def test_each_submission_shows_why_it_was_made_and_how_it_ended():
    """What is not known yet is a dash."""
    first = Submission(
        number=1, job_id="1", at=BEGIN, state="OUT_OF_MEMORY", exit_code=0, signal=9, usage=Usage(elapsed_seconds=61)
    )
    second = Submission(number=2, job_id="2", at=BEGIN, reason="more memory: 16G", dependency="afterok:7")
    shown = job_view(record(submissions=[first, second]), now=BEGIN).submissions
    assert (shown[0].tone, shown[0].end, shown[0].elapsed) == ("failed", "exit code 0, signal 9", "1 min 01 s")
    assert (shown[1].reason, shown[1].dependency) == ("more memory: 16G", "afterok:7")
    assert (shown[1].state, shown[1].end, shown[1].elapsed) == ("-", "-", "-")
