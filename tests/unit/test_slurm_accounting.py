"""What sacct prints, as literal transcripts; and that garbage is never read as an end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headnode.errors import UnreadableAnswer
from headnode.slurm.accounting import AccountingEntry, ElementEnd, parse_accounting, parse_memory, parse_tres
from headnode.slurm.record import Usage
from headnode.slurm.states import JobState, Phase, phase_of


def sacct(lines):
    """Return lines of eight fields (id to nodes) with the fields that the test is not about."""
    wide = []
    for line in lines.splitlines():
        *most, nodes = line.split("|")
        wide.append("|".join([*most, "1", "cpu=1,mem=1M,node=1", "0", "900", "901", "999", nodes, "/x"]))
    return "".join(f"{line}\n" for line in wide)


PLAIN = """\
201|COMPLETED|0:0|3600|16|10:00:00||n1
201.batch|COMPLETED|0:0|3600|16|08:00:00|2048K|n1
201.extern|COMPLETED|0:0|3600|16|00:00:00||n1
201.0|COMPLETED|0:0|3500|16|02:00:00|1.5G|n1
"""


def test_a_completed_job_with_its_steps():
    """Usage is the allocation's, memory the largest of a step's."""
    assert parse_accounting(sacct(PLAIN)) == {
        "201": AccountingEntry(
            job_id="201",
            state=JobState.COMPLETED,
            state_word="COMPLETED",
            exit_code=0,
            signal=None,
            nodes="n1",
            usage=Usage(
                elapsed_seconds=3600,
                allocated_cpus=16,
                cpu_seconds=36_000.0,
                allocated_cpu_seconds=57_600.0,
                max_rss_bytes=round(1.5 * 1024**3),
                memory_used_bytes=round(1.5 * 1024**3),
                allocated_memory_bytes=1024**2,
                node_count=1,
            ),
            elements=1,
            failed_elements=0,
            submitted_at=900,
            last_submitted_at=900,
            started_at=901,
            ended_at=999,
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
    entry = parse_accounting(sacct(line))["202"]
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
    entry = parse_accounting(sacct(ARRAY))["301"]
    assert (entry.state, entry.exit_code, entry.elements, entry.failed_elements) == (JobState.FAILED, 7, 3, 2)
    assert entry.nodes == "n1,n2"
    usage = entry.usage
    assert (usage.elapsed_seconds, usage.allocated_cpus, usage.cpu_seconds) == (20, 4, 15.5)
    assert usage.max_rss_bytes == 300 * 1024**2
    assert usage.cpu_efficiency == pytest.approx(15.5 / 60)
    assert entry.element_ends == {
        1: ElementEnd(JobState.COMPLETED, 0, None),
        2: ElementEnd(JobState.FAILED, 7, None),
        3: ElementEnd(JobState.CANCELLED, 0, None),
    }


@pytest.mark.parametrize("notation", ["301_[4-10%4]", "301_[4,6,8-9]", "301_[1,3,5,7,9,11,13,15,17,19,21,23,25,27,..."])
def test_pending_elements_keep_an_array_unfinished(notation: str):
    """In all notations of what has not begun, cut ones too."""
    entry = parse_accounting(sacct(f"{ARRAY}{notation}|PENDING|0:0|0|2|00:00:00||None assigned\n"))["301"]
    assert not phase_of(entry.state).ended


def test_a_heterogeneous_job_is_one_job():
    """Its components are taken together like elements."""
    entry = parse_accounting(
        sacct(
            "401+0|COMPLETED|0:0|10|2|00:01:00||n1\n401+0.batch|COMPLETED|0:0|10|2|00:01:00|1M|n1\n"
            "401+1|TIMEOUT|0:0|10|4|00:01:00||n2\n401+1.0|TIMEOUT|0:0|10|4|00:01:00|2M|n2\n"
        )
    )["401"]
    assert (entry.state, entry.elements, entry.usage.allocated_cpus) == (JobState.TIMEOUT, 2, 6)


# Slurm 22.05.8; an array of which element 2 was cancelled before it started, and a GPU job on two nodes.
TRANSCRIPT = """\
2_0|COMPLETED|0:0|4|1|00:00.002|||billing=1,cpu=1,mem=500M,node=1||1795270509|1795270509|1795270513|n1|/w/k1/work
2_0.batch|COMPLETED|0:0|4|1|00:00.002|3012K|1|cpu=1,mem=500M,node=1|0|1795270509|1795270509|1795270513|n1|
2_1|FAILED|1:0|4|1|00:00.002|||billing=1,cpu=1,mem=500M,node=1||1795270509|1795270513|1795270517|n1|/w/k1/work
2_1.batch|FAILED|1:0|4|1|00:00.002|3004K|1|cpu=1,mem=500M,node=1|0|1795270513|1795270513|1795270517|n1|
2_[2-3]|CANCELLED by 0|0:0|0|0|00:00:00||||0|1795270509|1795270520|1795270520|None assigned|/w/k1/work
9|COMPLETED|0:0|60|8|04:00.000|||billing=8,cpu=8,gres/gpu:a100=4,gres/gpu=4,mem=16G,node=2|7200|900|901|961|n[1-2]|/w/k2/work
9.0|COMPLETED|0:0|60|8|04:00.000|1G|8|cpu=8,gres/gpu=4,mem=16G,node=2|7200|901|901|961|n[1-2]|
"""


def test_times_resources_and_energy():
    """GPUs, memory as seff reckons it, energy, and the cluster's own times."""
    entry = parse_accounting(TRANSCRIPT)["9"]
    usage = entry.usage
    assert (usage.gpus, usage.node_count, usage.energy_joules) == (4, 2, 7200)
    assert (usage.max_rss_bytes, usage.memory_used_bytes) == (2**30, 2**33)
    assert usage.memory_efficiency == pytest.approx(0.5)
    assert usage.cpu_efficiency == pytest.approx(0.5)
    assert (entry.submitted_at, entry.started_at, entry.ended_at) == (900, 901, 961)


def test_elements_that_never_started_share_a_row():
    """Each has its end all the same."""
    entry = parse_accounting(TRANSCRIPT)["2"]
    assert (entry.elements, entry.failed_elements, entry.state) == (4, 3, JobState.FAILED)
    assert [end.state.value for end in entry.element_ends.values()] == [
        "COMPLETED",
        "FAILED",
        "CANCELLED",
        "CANCELLED",
    ]


def test_a_job_id_that_came_round_again():
    """The job of the key is the one in the key's directory, older or newer than its namesakes."""
    assert parse_accounting(TRANSCRIPT, {"9": "k2", "2": "k1"}).keys() == {"2", "9"}
    assert parse_accounting(TRANSCRIPT, {"9": "k3", "2": None}).keys() == {"2"}
    older = TRANSCRIPT.replace("|/w/k2/", "|/w/k0/").replace("COMPLETED", "FAILED").replace("|900|", "|100|")
    assert parse_accounting(older + TRANSCRIPT, {"9": "k0"})["9"].state is JobState.FAILED
    assert parse_accounting(older + TRANSCRIPT, {"9": "k2"})["9"].state is JobState.COMPLETED
    assert parse_accounting(TRANSCRIPT + older)["9"].state is JobState.COMPLETED


def test_a_requeued_job_has_several_records():
    """The latest counts, with its own steps."""
    first = "9|NODE_FAIL|1:0|5|8|00:00:00|||cpu=8,mem=16G,node=2||800|801|806|n1|/w/k2/work\n"
    entry = parse_accounting(first + TRANSCRIPT, {"9": "k2"})["9"]
    assert (entry.state, entry.elements, entry.usage.max_rss_bytes) == (JobState.COMPLETED, 1, 2**30)


@pytest.mark.parametrize(("text", "counts"), [("", {}), ("cpu=2,mem=1G", {"cpu": 2, "mem": 2**30}), ("(null)", {})])
def test_resources(text, counts):
    """As AllocTRES has them."""
    assert parse_tres(text, "9") == counts


def test_several_jobs_and_none():
    """Each job has its entry; an empty answer has none."""
    assert sorted(parse_accounting(sacct(PLAIN + ARRAY))) == ["201", "301"]
    assert parse_accounting("") == {}


@pytest.mark.parametrize(
    "stdout",
    [
        "201|COMPLETED|0:0|3600|16|10:00:00|",
        "201|COMPL",
        "201|COMPLETED|0:0|3600|16|10:00:00||1|cpu=1|0|900|901|999|n1",
        sacct("201.batch|COMPLETED|0:0|3600|16|08:00:00|2048K|n1"),
        "sacct: error: slurm_persist_conn_open_without_init: failed to open persistent connection",
        sacct("201|COMPLETED|0:0|an hour|16|10:00:00||n1"),
        sacct("201|COMPLETED|0:0|3600|16|ages||n1"),
        sacct("201|COMPLETED|0:0|3600|16|10:00:00||n1\n201.0|COMPLETED|0:0|3600|16|10:00:00|much|n1"),
        sacct("201|COMPLETED|0:0|3600|16|10:00:00||n1").replace("mem=1M", "mem=much"),
        sacct("201|COMPLETED|²:0|3600|16|10:00:00||n1"),
        sacct("²|COMPLETED|0:0|3600|16|10:00:00||n1"),
        "|||||||",
    ],
)
def test_a_cut_accounting_is_unreadable(stdout: str):
    """No entry comes out of half a line."""
    with pytest.raises(UnreadableAnswer):
        parse_accounting(stdout)


lines = st.lists(
    st.lists(
        st.text(max_size=8)
        | st.sampled_from(["201", "201_1", "201.batch", "COMPLETED", "0:0", "1", "00:00:01", "1M", "n1"]),
        min_size=14,
        max_size=16,
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


WHOLE = sacct(ARRAY + PLAIN)


@given(st.integers(min_value=0, max_value=len(WHOLE)))
def test_a_cut_never_turns_a_failure_into_a_success(length: int):
    """An array of which a part is missing is unreadable, or says of the part what is true of it."""
    try:
        entries = parse_accounting(WHOLE[:length])
    except UnreadableAnswer:
        return
    if length >= WHOLE.index("301_3"):
        assert entries["301"].state is JobState.FAILED


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


def test_an_element_s_own_row_counts_whatever_the_row_of_the_others_says():
    """Accounting lists an element as not started for some seconds after its start; seen at a cancelled array."""
    (entry,) = parse_accounting(
        sacct("9_0|COMPLETED|0:0|1|1|00:00:01||n1\n9_[0-1%1]|CANCELLED by 0|0:0|0|0|00:00:00||None assigned\n")
    ).values()
    states = {index: end.state for index, end in entry.element_ends.items()}
    assert states == {0: JobState.COMPLETED, 1: JobState.CANCELLED}


def test_an_end_without_its_time_is_not_yet_the_last_word():
    """Seen for some seconds at arrays of short jobs: the exit code comes with the time, later."""
    early = "1082_65|FAILED|0:0|4|1|00:00:00||||0|900|901|Unknown|n1|/x\n"
    later = early.replace("0:0", "7:0").replace("Unknown", "902")
    assert parse_accounting(early)["1082"].state is JobState.UNKNOWN
    assert parse_accounting(later)["1082"].element_ends == {65: ElementEnd(JobState.FAILED, 7, None)}
