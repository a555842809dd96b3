"""What squeue, sacct and sbatch print, as literal transcripts; and that garbage is never read as an end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headnode.errors import UnreadableAnswer
from headnode.slurm.answers import (
    AccountingEntry,
    QueueEntry,
    parse_accounting,
    parse_memory,
    parse_queue,
    parse_submitted,
)
from headnode.slurm.record import Usage
from headnode.slurm.states import JobState, Phase, phase_of

BANNER = "********\n* Welcome to node 12345 *\n********\n"


@pytest.mark.parametrize(
    ("stdout", "job_id"),
    [
        ("4711\n", "4711"),
        ("4711;frontera\n", "4711"),
        ("4711", "4711"),
        (BANNER + "4711\n", "4711"),
        ("sbatch: Routed to the partition small\n4711;lumi\n\n", "4711"),
    ],
)
def test_sbatch_prints_an_id(stdout: str, job_id: str):
    """With or without a cluster's name, and whatever is around it."""
    assert parse_submitted(stdout) == job_id


@pytest.mark.parametrize("stdout", ["", "\n", BANNER, "Submitted batch job 4711\n", "job 4711", "-1"])
def test_no_id_is_no_answer(stdout: str):
    """A line must be an id and nothing else."""
    with pytest.raises(UnreadableAnswer, match="no job id"):
        parse_submitted(stdout)


QUEUE = """\
101|101|RUNNING|n1|2026-11-21T06:00:00|2026-11-21T07:00:00|None
102|102|PENDING||N/A|N/A|Resources
103|103_[3-10%4]|PENDING||N/A|N/A|JobArrayTaskLimit
103|103_1|RUNNING|n2|2026-11-21T06:00:00|2026-11-21T07:00:00|None
103|103_2|COMPLETING|n[3-4]|2026-11-21T06:00:00|2026-11-21T07:00:00|None
104|104+0|RUNNING|n1|2026-11-21T06:00:00|2026-11-21T07:00:00|None
104|104+1|RUNNING|n2|2026-11-21T06:00:00|2026-11-21T07:00:00|None
105|105|REQUEUE_HOLD||N/A|N/A|job requeued in held state
106|106|PENDING||N/A|N/A|(null)
107|107|PENDING||N/A|N/A|Nodes required|for job are DOWN
108|108|HIBERNATING|n1|N/A|N/A|None
"""


def test_a_queue():
    """Plain jobs, arrays, heterogeneous jobs, reasons with a bar in them, a word of a later Slurm."""
    queue = parse_queue(QUEUE)
    assert list(queue) == ["101", "102", "103", "104", "105", "106", "107", "108"]
    assert queue["101"] == QueueEntry(
        job_id="101", state=JobState.RUNNING, state_word="RUNNING", reason=None, nodes="n1"
    )
    assert (queue["102"].state, queue["102"].reason, queue["102"].nodes) == (JobState.PENDING, "Resources", None)
    assert (queue["103"].state, queue["103"].nodes) == (JobState.RUNNING, "n2,n[3-4]")
    assert (queue["104"].state, queue["104"].nodes) == (JobState.RUNNING, "n1,n2")
    assert (queue["105"].state, queue["105"].reason) == (JobState.REQUEUE_HOLD, "job requeued in held state")
    assert [job_id for job_id, entry in queue.items() if entry.is_compound] == ["103", "104"]
    assert queue["106"].reason is None
    assert queue["107"].reason == "Nodes required|for job are DOWN"
    assert (queue["108"].state, queue["108"].state_word) == (JobState.UNKNOWN, "HIBERNATING")


def test_an_empty_queue():
    """No line is no job, and an answer."""
    assert parse_queue("") == {}
    assert parse_queue("\n\n") == {}


@pytest.mark.parametrize(
    "stdout",
    [
        "101|101|RUNN",
        "101|101|RUNNING|n1|2026-11-21T06:00:00|2026-11-21T07:00:00",
        "slurm_load_jobs error: Unable to contact slurm controller (connect failure)",
        "|||||||",
        "x|x|RUNNING|n1|a|b|None",
        "²|2|RUNNING|n1|a|b|None",
        QUEUE + "109|10",
    ],
)
def test_a_cut_queue_is_unreadable(stdout: str):
    """A job that the rest of the answer named must not look as if it had left."""
    with pytest.raises(UnreadableAnswer, match="squeue's line"):
        parse_queue(stdout)


PLAIN = """\
201|COMPLETED|0:0|3600|16|10:00:00||n1
201.batch|COMPLETED|0:0|3600|16|08:00:00|2048K|n1
201.extern|COMPLETED|0:0|3600|16|00:00:00||n1
201.0|COMPLETED|0:0|3500|16|02:00:00|1.5G|n1
"""


def test_a_completed_job_with_its_steps():
    """Usage is the allocation's, memory the largest of a step's."""
    assert parse_accounting(PLAIN) == {
        "201": AccountingEntry(
            job_id="201",
            state=JobState.COMPLETED,
            state_word="COMPLETED",
            exit_code=0,
            signal=None,
            nodes="n1",
            usage=Usage(
                elapsed_seconds=3600, allocated_cpus=16, cpu_seconds=36_000.0, max_rss_bytes=round(1.5 * 1024**3)
            ),
            elements=1,
            failed_elements=0,
        )
    }


@pytest.mark.parametrize(
    ("line", "state", "word", "exit_code", "signal"),
    [
        ("202|FAILED|3:0|1|1|00:00:01||n1", JobState.FAILED, "FAILED", 3, None),
        ("202|FAILED|0:11|1|1|00:00:01||n1", JobState.FAILED, "FAILED", 0, 11),
        ("202|CANCELLED by 1000|0:15|1|1|00:00.010||n1", JobState.CANCELLED, "CANCELLED by 1000", 0, 15),
        ("202|CANCELLED by 0|0:0|0|0|00:00:00||None assigned", JobState.CANCELLED, "CANCELLED by 0", 0, None),
        ("202|TIMEOUT|0:0|60|4|00:00:01||n1", JobState.TIMEOUT, "TIMEOUT", 0, None),
        ("202|OUT_OF_MEMORY|0:125|60|4|00:00:01||n1", JobState.OUT_OF_MEMORY, "OUT_OF_MEMORY", 0, 125),
        ("202|NODE_FAIL|1:0|60|4|00:00:00||n1", JobState.NODE_FAIL, "NODE_FAIL", 1, None),
        ("202|PENDING|0:0|0|4|00:00:00||None assigned", JobState.PENDING, "PENDING", 0, None),
        ("202|REQUEUED|0:0|0|4|||n1", JobState.REQUEUED, "REQUEUED", 0, None),
    ],
)
def test_other_ends(line: str, state: JobState, word: str, exit_code: int, signal: int | None):
    """Exit code and signal are told apart; a node that was never assigned is none."""
    entry = parse_accounting(line)["202"]
    assert (entry.state, entry.state_word, entry.exit_code, entry.signal) == (state, word, exit_code, signal)
    assert entry.nodes == ("n1" if line.endswith("|n1") else None)


ARRAY = """\
301_1|COMPLETED|0:0|10|2|00:10.000||n1
301_1.batch|COMPLETED|0:0|10|2|00:10.000|100M|n1
301_2|FAILED|7:0|20|2|00:05.500||n2
301_2.batch|FAILED|7:0|20|2|00:05.500|300M|n2
301_3|CANCELLED by 0|0:0|0|0|00:00:00||None assigned
"""


def test_an_array_is_one_job():
    """The worst element speaks, usage is the sum, and failures are counted."""
    entry = parse_accounting(ARRAY)["301"]
    assert (entry.state, entry.exit_code, entry.elements, entry.failed_elements) == (JobState.FAILED, 7, 3, 2)
    assert entry.nodes == "n1,n2"
    assert entry.usage == Usage(elapsed_seconds=20, allocated_cpus=4, cpu_seconds=15.5, max_rss_bytes=300 * 1024**2)


@pytest.mark.parametrize("notation", ["301_[4-10%4]", "301_[4,6,8-9]", "301_[1,3,5,7,9,11,13,15,17,19,21,23,25,27,..."])
def test_pending_elements_keep_an_array_unfinished(notation: str):
    """In all notations of what has not begun, cut ones too."""
    entry = parse_accounting(f"{ARRAY}{notation}|PENDING|0:0|0|2|00:00:00||None assigned\n")["301"]
    assert not phase_of(entry.state).ended


def test_a_heterogeneous_job_is_one_job():
    """Its components are taken together like elements."""
    entry = parse_accounting(
        "401+0|COMPLETED|0:0|10|2|00:01:00||n1\n401+0.batch|COMPLETED|0:0|10|2|00:01:00|1M|n1\n"
        "401+1|TIMEOUT|0:0|10|4|00:01:00||n2\n401+1.0|TIMEOUT|0:0|10|4|00:01:00|2M|n2\n"
    )["401"]
    assert (entry.state, entry.elements, entry.usage.allocated_cpus) == (JobState.TIMEOUT, 2, 6)


def test_several_jobs_and_none():
    """Each job has its entry; an empty answer has none."""
    assert sorted(parse_accounting(PLAIN + ARRAY)) == ["201", "301"]
    assert parse_accounting("") == {}


@pytest.mark.parametrize(
    "stdout",
    [
        "201|COMPLETED|0:0|3600|16|10:00:00|",
        "201|COMPL",
        "201.batch|COMPLETED|0:0|3600|16|08:00:00|2048K|n1",
        "sacct: error: slurm_persist_conn_open_without_init: failed to open persistent connection",
        "201|COMPLETED|0:0|an hour|16|10:00:00||n1",
        "201|COMPLETED|0:0|3600|16|ages||n1",
        "201|COMPLETED|0:0|3600|16|10:00:00|much|n1",
        "201|COMPLETED|²:0|3600|16|10:00:00||n1",
        "²|COMPLETED|0:0|3600|16|10:00:00||n1",
        "201|COMPLETED|0:0|3600|16|10:00:00||n1|more",
        "|||||||",
    ],
)
def test_a_cut_accounting_is_unreadable(stdout: str):
    """No entry comes out of half a line."""
    with pytest.raises(UnreadableAnswer, match="sacct"):
        parse_accounting(stdout)


lines = st.lists(
    st.lists(
        st.text(max_size=8)
        | st.sampled_from(["201", "201_1", "201.batch", "COMPLETED", "0:0", "1", "00:00:01", "1M", "n1"]),
        max_size=9,
    ).map("|".join),
    max_size=4,
).map("\n".join)


@given(st.one_of(st.text(), lines))
def test_any_accounting_is_read_or_unreadable(stdout: str):
    """Nothing but UnreadableAnswer comes out, and a success has a whole line that says so."""
    try:
        entries = parse_accounting(stdout)
    except UnreadableAnswer:
        return
    for entry in entries.values():
        if phase_of(entry.state) is Phase.SUCCEEDED:
            assert "|COMPLETED" in stdout


@given(st.integers(min_value=0, max_value=len(PLAIN + ARRAY)))
def test_a_cut_never_turns_a_failure_into_a_success(length: int):
    """An array of which a part is missing is unreadable, or says of the part what is true of it."""
    try:
        entries = parse_accounting((ARRAY + PLAIN)[:length])
    except UnreadableAnswer:
        return
    if length >= ARRAY.index("301_3"):
        assert entries["301"].state is JobState.FAILED


@given(st.one_of(st.text(), lines))
def test_any_queue_is_read_or_unreadable(stdout: str):
    """Nothing but UnreadableAnswer comes out."""
    try:
        entries = parse_queue(stdout)
    except UnreadableAnswer:
        return
    assert all(job_id.isascii() and job_id.isdigit() for job_id in entries)


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("512", 512), ("1K", 1024), ("1.5G", 3 * 2**29), ("2T", 2**41), ("3.25M", 3407872)]
)
def test_memory(text: str, size: int):
    """Factors are of 1024."""
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["", "K", "1k", "1GB", "-1K", "1.K", "1,5G", "nan", "\u0661K"])
def test_other_memory_is_refused(text: str):
    """What sacct does not write is no size."""
    with pytest.raises(ValueError, match="is no size as sacct writes it"):
        parse_memory(text)
