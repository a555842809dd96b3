"""What a followed job leaves behind: lines of its log, and a record that stays small."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headnode.cluster.following import Followed
from headnode.cluster.lines import TAIL_LINES, LogLines, describe_state, describe_usage
from headnode.cluster.logs import LogPiece
from headnode.slurm.accounting import AccountingEntry, ElementEnd
from headnode.slurm.record import MAX_HISTORY, JobRecord, Labels, StateChange, Submission, Usage, summarize_elements
from headnode.slurm.states import JobState
from headnode.slurm.visible import visible
from headnode.triggers.reporting import with_end, with_state

AT = datetime(2026, 11, 21, 6, 0, tzinfo=UTC)


def piece(data, stream="stdout", start=0):
    """Return a piece of a log."""
    return LogPiece(stream=stream, start=start, size=start + len(data), data=data)


def record(**changes):
    """Return the record of one job that was just submitted."""
    whole = JobRecord(
        key="k-1",
        conn_id="c",
        host="h",
        labels=Labels(dag_id="d", run_id="r", task_id="t"),
        job_id="1",
        job_name="n",
        directory="/d",
        log_path="/d/output.log",
        error_log_path="/d/error.log",
        script_sha256="0" * 64,
        requested={},
        submissions=[Submission(number=1, job_id="1", at=AT, key="k-1", directory="/d")],
    )
    return whole.model_copy(update=changes)


def entry(**changes):
    """Return accounting's word on a job that failed."""
    fields = {
        "job_id": "1",
        "state": JobState.FAILED,
        "state_word": "FAILED",
        "exit_code": 3,
        "signal": None,
        "nodes": "n1",
        "usage": Usage(elapsed_seconds=61, allocated_cpus=2, cpu_seconds=61.0, node_count=1),
        "elements": 1,
        "failed_elements": 1,
    }
    return AccountingEntry(**fields | changes)


def test_streams_are_told_apart_and_cut_into_lines():
    """Each stream has its mark and its own unfinished line."""
    lines = LogLines()
    assert lines.feed(piece(b"one\ntw")) == ["| one"]
    assert lines.feed(piece(b"bad\nwor", "stderr")) == ["! bad"]
    assert lines.feed(piece(b"o\n")) == ["| two"]
    assert lines.finish() == ["! wor"]


def test_the_tail_ends_with_stderr():
    """Where the reason usually is."""
    lines = LogLines()
    lines.feed(piece(b"Traceback\nValueError: no\n", "stderr"))
    lines.feed(piece("\n".join(f"step {n}" for n in range(100)).encode() + b"\n"))
    assert len(lines.tail) == TAIL_LINES + 2
    assert lines.tail[TAIL_LINES - 1 :] == ["step 99", "! Traceback", "! ValueError: no"]


def test_progress_bars_show_as_a_terminal_shows_them():
    """Only the last thing that was written over a line; and DOS line ends are line ends."""
    lines = LogLines()
    assert lines.feed(piece(b"10%\r20%\r", "stderr")) == []
    assert lines.feed(piece(b"99%\r100%\ndone\r\n", "stderr")) == ["! 100%", "! done"]


def test_a_line_without_end_is_shown_in_parts():
    """It would fill the triggerer's memory."""
    lines = LogLines()
    shown = [line for _ in range(8) for line in lines.feed(piece(b"x" * 10_000))] + lines.finish()
    assert sum(len(line) - 2 for line in shown) == 80_000
    assert max(map(len, shown)) <= 30_000


@given(st.text(st.characters(exclude_characters="\r", codec="utf-8")), st.integers(1, 7))
def test_however_the_log_is_cut_its_lines_are_the_same(text, size):
    """Pieces end in the middle of lines and of characters."""
    data, lines = text.encode(), LogLines()
    shown = [line for at in range(0, len(data), size) for line in lines.feed(piece(data[at : at + size]))]
    whole = text.removesuffix("\n").split("\n") if text else []
    assert [line[2:] for line in shown + lines.finish()] == [visible(line) for line in whole]


def test_a_jobs_lines_are_never_taken_for_ours():
    """Colours are dropped; what would move a cursor, end a line elsewhere or turn its direction round is shown."""
    lines = LogLines()
    text = "\x1b[31mred\x1b[0m\x1b[K\ttab \x1b[1A\x1b[2Kjob 7 ended\x85a\u2028b\x0bc\u202ed\x00\n"
    assert lines.feed(piece(text.encode())) == [
        "| red\ttab \\x1b[1A\\x1b[2Kjob 7 ended\\x85a\\u2028b\\x0bc\\u202ed\\x00".replace("\\x1b[2K", "")
    ]


@pytest.mark.parametrize(
    ("job", "text"),
    [
        (Followed(job_id="1", state_word="RUNNING", nodes="n[1-2]"), "job 1 is RUNNING on n[1-2]"),
        (
            Followed(job_id="1", reason="Priority"),
            "job 1 is PENDING (Priority: jobs of higher priority are before it)",
        ),
        (
            Followed(job_id="1", reason="launch failed requeued held"),
            (
                "job 1 is PENDING (launch failed requeued held: it could not be launched, was requeued and is held; it"
                " will not start by itself; look at its script and directory, then `scontrol release 1` lets it go)"
            ),
        ),
        (
            Followed(job_id="1", reason="JobHeldAdmin"),
            (
                "job 1 is PENDING (JobHeldAdmin: an administrator holds it; it will not start by itself; only an"
                " administrator can release it: ask the site's support)"
            ),
        ),
    ],
)
def test_the_line_about_a_state(job, text):
    """Who reads the log knows why a job waits, and whether that helps."""
    assert describe_state(job) == text


def test_the_table_at_the_end():
    """State, figures and nodes."""
    assert describe_usage(entry()).split("\n") == [
        "job 1 ended as FAILED and used",
        "  elapsed   1 min 01 s",
        "  CPU time  1 min 01 s on 2 CPUs, 50% of what was allocated",
        "  nodes     1 (n1)",
    ]


def test_a_submission_keeps_its_own_end():
    """The second one's state does not change the first's."""
    first = with_end(with_state(record(), Followed(job_id="1", state_word="RUNNING")), entry(exit_code=137))
    again = first.resubmitted(Submission(number=2, job_id="2", at=AT, key="k-2", directory="/e", reason="more memory"))
    last = with_end(again, entry(job_id="2", state=JobState.COMPLETED, state_word="COMPLETED", exit_code=0))
    assert [(each.state, each.exit_code) for each in last.submissions] == [("FAILED", 137), ("COMPLETED", 0)]
    assert (last.key, last.job_id, last.directory, last.state) == ("k-2", "2", "/e", "COMPLETED")
    assert [change.state for change in last.history] == ["RUNNING", "FAILED", "COMPLETED"]
    assert first.submissions[0].usage == entry().usage


def test_states_of_elements_are_ranges():
    """Compact, and by Slurm's word."""
    states = dict.fromkeys(range(1000), "COMPLETED") | {3: "FAILED"}
    assert summarize_elements(states) == {"COMPLETED": "0-2,4-999", "FAILED": "3"}
    ends = {0: ElementEnd(JobState.COMPLETED, 0, None), 1: ElementEnd(JobState.TIMEOUT, 0, None)}
    assert with_end(record(), entry(element_ends=ends)).element_states == {"COMPLETED": "0", "TIMEOUT": "1"}


def test_a_long_list_of_elements_is_cut_and_says_so():
    """No more than the page can show."""
    summary = summarize_elements({index: "FAILED" if index % 2 else "COMPLETED" for index in range(10_000)})
    assert summary["FAILED"].startswith("1,3,5,")
    assert summary["FAILED"].endswith(",... (5000 in all)")
    assert all(len(text) < 3100 for text in summary.values())


def test_the_record_of_a_large_array_stays_small():
    """10,000 elements that end in every way, on 5,000 nodes, in 40 submissions, after a thousand changes of state."""
    words = [state.value for state in JobState]
    ends = {index: ElementEnd(JobState(words[index % len(words)]), 1, 9) for index in range(10_000)}
    nodes = ",".join(f"node{number:05d}" for number in range(5000))
    submissions = [
        Submission(
            number=n, job_id=str(n), at=AT, key="k" * 40, directory="/d" * 100, usage=entry().usage, reason="x" * 80
        )
        for n in range(1, 41)
    ]
    whole = record(submissions=submissions)
    for number in range(1000):
        whole = with_state(whole, Followed(job_id="40", state_word=words[number % 2], reason="Resources", nodes=nodes))
    whole = with_end(whole, entry(job_id="40", elements=10_000, element_ends=ends, nodes=nodes))
    assert len(whole.history) <= MAX_HISTORY
    assert len(json.dumps(whole.to_xcom())) < 64 * 1024


def test_a_field_of_a_newer_headnode_is_passed_over():
    """Pages and triggerers are updated one after the other."""
    stored = record().to_xcom()
    assert JobRecord.model_validate({**stored, "colour": "blue"}) == JobRecord.model_validate(stored)


def test_the_first_and_last_changes_of_state_are_kept():
    """What is left out lies between."""
    whole = record()
    for number in range(300):
        whole = whole.changed(StateChange(at=AT, state=f"S{number}"))
    assert [whole.history[0].state, whole.history[-1].state, whole.state] == ["S0", "S299", "S299"]
