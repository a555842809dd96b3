"""What scontrol prints of reservations, and which maintenance comes first."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headnode.errors import UnreadableAnswer
from headnode.slurm.reservations import next_maintenance, parse_reservations

# Printed by Slurm 22.05 with SLURM_TIME_FORMAT=%s, at 1795270746; only the durations have changed their place.
NOW = 1795270746
REST = (
    "Features=(null) PartitionName=(null) Flags={} TRES=cpu=16 Users=root Groups=(null) Accounts=(null) Licenses=(null)"
    " Duration=01:00:00 State=INACTIVE BurstBuffer=(null) Watts=n/a MaxStartDelay=(null)\n"
)
PRINTED = (
    "ReservationName=maint1 StartTime=1795277946 EndTime=1795281546 Nodes=n1 NodeCnt=1 CoreCnt=16 "
    + REST.format("MAINT,IGNORE_JOBS,SPEC_NODES")
    + "ReservationName=daily StartTime=1795529946 EndTime=1795533546 Nodes=n4 NodeCnt=1 CoreCnt=16 "
    + REST.format("DAILY,SPEC_NODES")
    + "ReservationName=part StartTime=1795616346 EndTime=1795619946 Nodes=n[3-4] NodeCnt=2 CoreCnt=32 "
    + REST.format("MAINT,SPEC_NODES,PART_NODES")
    + "ReservationName=lic StartTime=1795270000 EndTime=1795619946 Nodes=(null) NodeCnt=0 CoreCnt=0 "
    + REST.format("MAINT,LICENSE_ONLY")
)
HOUR = 3600


def first(within, nodes=None, now=NOW):
    """Return the name of the first maintenance."""
    found = next_maintenance(parse_reservations(PRINTED), now=now, within_seconds=within, nodes=nodes)
    return found and found.name


@pytest.mark.parametrize(
    ("within", "nodes", "name"),
    [
        (2 * HOUR - 1, None, None),
        (2 * HOUR, None, "maint1"),
        (100 * HOUR, {"n1"}, "maint1"),
        (100 * HOUR, {"n2", "n4"}, "part"),
        (100 * HOUR, {"n2"}, None),
    ],
)
def test_first_maintenance_within_the_time(within, nodes, name):
    """Other reservations, other nodes and licences don't count."""
    assert first(within, nodes) == name


def test_maintenance_that_goes_on_counts_until_it_ends():
    """Whatever the time asked for."""
    assert first(0, now=1795281545) == "maint1"
    assert first(0, now=1795281546) is None


def test_none():
    """As scontrol says it; where it says nothing, nothing is known."""
    assert parse_reservations("No reservations in the system\n") == []
    for other in ("", "\n", f"No reservations in the system\n{PRINTED}"):
        with pytest.raises(UnreadableAnswer):
            parse_reservations(other)


@pytest.mark.parametrize("cut", [20, 60, 130, 240])
def test_cut_lines_are_refused(cut):
    """A reservation whose flags are not known could be maintenance."""
    with pytest.raises(UnreadableAnswer, match="scontrol's line"):
        parse_reservations(PRINTED[:cut])


def test_times_must_be_epochs():
    """A Slurm that prints local times says nothing that can be compared."""
    with pytest.raises(UnreadableAnswer, match="is no time in seconds"):
        parse_reservations(PRINTED.replace("StartTime=1795277946", "StartTime=2026-11-21T16:18:00"))


@given(st.text())
def test_any_text_is_read_or_refused(text):
    """Whatever a broken wrapper prints."""
    try:
        found = parse_reservations(text)
    except UnreadableAnswer:
        return
    assert all(each.end >= 0 for each in found)
