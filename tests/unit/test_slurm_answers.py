"""What squeue and sbatch print, as literal transcripts; and that garbage is never read as an end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headnode.errors import UnreadableAnswer
from headnode.slurm.answers import QueueEntry, parse_queue, parse_submitted
from headnode.slurm.states import JobState

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
101|RUNNING|n1|900|4500|890|None|/w/k1/work
102|PENDING||N/A|N/A|891|Resources|/w/k2/work
103_[3-10%4]|PENDING||N/A|N/A|892|JobArrayTaskLimit|/w/k3/work
103_1|RUNNING|n2|900|4500|892|None|/w/k3/work
103_2|COMPLETING|n[3-4]|900|4400|992|None|/w/k3/work
104+0|RUNNING|n1|900|4500|893|None|/home/me
104+1|RUNNING|n2|900|4500|893|None|/home/me
105|REQUEUE_HOLD||N/A|N/A|894|job requeued in held state|/home/me
106|PENDING||N/A|N/A|895|(null)|/a|b
107|PENDING||N/A|N/A|896|Nodes required|for job are DOWN|/home/me
108|HIBERNATING|n1|N/A|N/A|897|None|/home/me
"""


def test_a_queue():
    """Plain jobs, arrays, heterogeneous jobs, reasons with a bar in them, a word of a later Slurm."""
    queue = parse_queue(QUEUE)
    assert list(queue) == ["101", "102", "103", "104", "105", "106", "107", "108"]
    assert queue["101"] == QueueEntry(
        job_id="101",
        state=JobState.RUNNING,
        state_word="RUNNING",
        reason=None,
        nodes="n1",
        counts={"RUNNING": 1},
        submitted_at=890,
        last_submitted_at=890,
        ends_at=4500,
    )
    assert (queue["102"].state, queue["102"].reason, queue["102"].nodes) == (JobState.PENDING, "Resources", None)
    assert (queue["102"].submitted_at, queue["102"].ends_at) == (891, None)
    assert (queue["103"].submitted_at, queue["103"].last_submitted_at) == (892, 992)
    assert (queue["103"].state, queue["103"].nodes, queue["103"].ends_at) == (JobState.RUNNING, "n2,n[3-4]", 4400)
    assert queue["103"].counts == {"PENDING": 8, "RUNNING": 1, "COMPLETING": 1}
    assert (queue["104"].state, queue["104"].nodes) == (JobState.RUNNING, "n1,n2")
    assert (queue["105"].state, queue["105"].reason) == (JobState.REQUEUE_HOLD, "job requeued in held state")
    assert [job_id for job_id, entry in queue.items() if entry.is_compound] == ["103", "104"]
    assert queue["106"].reason is None
    assert queue["107"].reason == "Nodes required|for job are DOWN"
    assert (queue["108"].state, queue["108"].state_word) == (JobState.UNKNOWN, "HIBERNATING")


def test_a_job_id_that_came_round_again():
    """Another job with the id of ours is not ours; a job is told by the directory that it runs in."""
    assert parse_queue(QUEUE, {"101": "k1", "102": "other", "103": "k3", "104": None}).keys() == set(
        parse_queue(QUEUE)
    ) - {"102"}


def test_an_empty_queue():
    """No line is no job, and an answer."""
    assert parse_queue("") == {}
    assert parse_queue("\n\n") == {}


@pytest.mark.parametrize(
    "stdout",
    [
        "101|RUNN",
        "101|RUNNING|n1|900|4500|890",
        "101|RUNNING|n1|900|4500|890|None",
        "slurm_load_jobs error: Unable to contact slurm controller (connect failure)",
        "|||||||",
        "x|RUNNING|n1|a|b|c|None|/x",
        "²|RUNNING|n1|a|b|c|None|/x",
        QUEUE + "109|10",
    ],
)
def test_a_cut_queue_is_unreadable(stdout: str):
    """A job that the rest of the answer named must not look as if it had left."""
    with pytest.raises(UnreadableAnswer, match="squeue's line"):
        parse_queue(stdout)


lines = st.lists(
    st.lists(
        st.text(max_size=8) | st.sampled_from(["201", "201_1", "201_[1-9]", "COMPLETED", "RUNNING", "900", "/x", "n1"]),
        min_size=7,
        max_size=9,
    ).map("|".join),
    max_size=4,
).map("\n".join)


@given(st.one_of(st.text(), lines))
def test_any_queue_is_read_or_unreadable(stdout: str):
    """Nothing but UnreadableAnswer comes out."""
    try:
        entries = parse_queue(stdout)
    except UnreadableAnswer:
        return
    assert all(job_id.isascii() and job_id.isdigit() for job_id in entries)
