"""What sinfo prints, read into what a partition has to spare."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headnode.errors import UnreadableAnswer
from headnode.slurm.nodes import NodeGroup, expand_nodes, nodes_in, parse_nodes, sinfo

# Printed by Slurm 22.05 on nodes that were drained, down, in use, and in reservations of both kinds.
MIXED = "batch|up|mixed|1|gpu:2|gpu:1|n3|\nbatch|up|allocated|1|gpu:2|gpu:2|n4|\nbatch|up|idle|2|(null)|gpu:0|n[1-2]|\n"
RESERVED = (
    "batch|up|maint|1|(null)|gpu:0|n1|\nbatch|up|reserved|1|(null)|gpu:0|n2|\nbatch|up|idle|2|gpu:2|gpu:0|n[3-4]|\n"
)
DRAINED = "batch|up|down|1|(null)|gpu:0|n1|\nbatch|up|drained|1|(null)|gpu:0|n2|\nbatch|up|draining|1|gpu:2|gpu:1|n3|\n"


def free(text, gpu_type=None):
    """Return the free nodes and GPUs of all groups."""
    groups = parse_nodes(text)
    return sum(group.free_nodes for group in groups), sum(group.free_gpus(gpu_type) for group in groups)


@pytest.mark.parametrize(("text", "nodes", "gpus"), [(MIXED, 2, 1), (RESERVED, 2, 4), (DRAINED, 0, 0), ("", 0, 0)])
def test_free_is_what_a_job_could_have(text, nodes, gpus):
    """Idle nodes, and GPUs of idle and mixed nodes."""
    assert free(text) == (nodes, gpus)


@pytest.mark.parametrize(
    "state", ["idle*", "idle%", "idle!", "idle@", "planned", "mixed-", "completing", "unknown", "x"]
)
def test_marked_states_are_not_free(state):
    """Nodes that don't answer, reboot, power down or wait for another job."""
    assert free(f"gpu|up|{state}|3|gpu:2|gpu:0|n[1-3]|\n") == (0, 0)


def test_nodes_that_sleep_are_woken_for_jobs():
    """They count as free."""
    assert free("cloud|up|idle~|3|gpu:2|gpu:0|n[1-3]|\n") == (3, 6)


@pytest.mark.parametrize(
    ("gres", "used", "gpu_type", "gpus"),
    [
        ("gpu:a100:4(S:0-1)", "gpu:a100:3(IDX:0,2-3)", None, 1),
        ("gpu:a100:4(S:0-1)", "gpu:a100:3(IDX:0,2-3)", "a100", 1),
        ("gpu:a100:4(S:0-1)", "gpu:a100:0(IDX:N/A)", "v100", 0),
        ("gpu:a100:4,gpu:v100:2,shard:8", "gpu:a100:4(IDX:0-3),gpu:v100:1(IDX:4),shard:0", "v100", 1),
        ("gpu:4", "gpu:(null):1(IDX:2)", None, 3),
        ("gpu:a100:4", "gpu:2", None, 2),
        ("biggpu:4", "biggpu:0", None, 0),
        ("craynetwork:4", "gpu:0", None, 0),
    ],
)
def test_gpus_are_counted_by_type(gres, used, gpu_type, gpus):
    """In each of the forms in which sites name them; other resources are no GPUs."""
    assert free(f"gpu|up|mixed|1|{gres}|{used}|n1|\n", gpu_type)[1] == gpus


@pytest.mark.parametrize(
    "line", ["batch|up|idle|2|(null)", "batch|up|idle|two|x|x|n1|", "sinfo: error", "a|b|c|1|e|f|g|h"]
)
def test_cut_lines_are_refused(line):
    """Half an answer is none."""
    with pytest.raises(UnreadableAnswer, match="sinfo's line"):
        parse_nodes(MIXED + line)


@given(st.text())
def test_any_text_is_read_or_refused(text):
    """Whatever a broken wrapper prints."""
    try:
        parse_nodes(text)
    except UnreadableAnswer:
        return
    assert all(line.count("|") == 7 for line in text.split("\n") if line)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("n[1-3,07]", {"n1", "n2", "n3", "n07"}),
        ("a,b[1-2],c", {"a", "b1", "b2", "c"}),
        ("r[01-02]n[1,3]-ib", {"r01n1-ib", "r01n3-ib", "r02n1-ib", "r02n3-ib"}),
        ("n[098-101]", {"n098", "n099", "n100", "n101"}),
        ("", set()),
        ("(null)", set()),
    ],
)
def test_lists_of_nodes(text, names):
    """As ``scontrol show hostnames`` spells them out."""
    assert expand_nodes(text) == names
    assert nodes_in([NodeGroup(partition="p", available="up", state="idle", count=1, nodes=text)]) == names


@pytest.mark.parametrize("text", ["n[1-", "n]1", "n[a-b]", "n[1-2]]", "a,,b", "n[0-999999999]", "n[0-9999][0-9999]"])
def test_broken_lists_are_refused(text):
    """So are those that would fill the memory."""
    with pytest.raises(UnreadableAnswer):
        expand_nodes(text)


@given(st.text(alphabet="n0189[],-(x", max_size=30))
def test_any_list_is_read_or_refused(text):
    """Whatever comes."""
    try:
        names = expand_nodes(text)
    except UnreadableAnswer:
        return
    assert all("[" not in name and "," not in name for name in names)


def test_partitions_are_asked_for_by_name():
    """``--all`` is refused beside them (Slurm 22.05), and hidden ones are shown when they are named."""
    assert sinfo(["gpu", "batch"])[2] == "--partition=batch,gpu"
    assert sinfo()[2] == "--all"
