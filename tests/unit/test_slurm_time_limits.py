"""Slurm's notations of time are read as sbatch reads them, and written so that nothing is lost."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headnode.slurm.time_limits import parse_elapsed, parse_time_limit, render_time_limit

positive = st.timedeltas(min_value=timedelta(microseconds=1), max_value=timedelta(days=9999))


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("90", timedelta(minutes=90)),
        ("1", timedelta(minutes=1)),
        ("05", timedelta(minutes=5)),
        ("90:30", timedelta(minutes=90, seconds=30)),
        ("0:30", timedelta(seconds=30)),
        ("01:30:00", timedelta(hours=1, minutes=30)),
        ("1:2:3", timedelta(hours=1, minutes=2, seconds=3)),
        ("100:00:00", timedelta(hours=100)),
        ("2-0", timedelta(days=2)),
        ("2-06", timedelta(days=2, hours=6)),
        ("2-06:30", timedelta(days=2, hours=6, minutes=30)),
        ("2-06:30:15", timedelta(days=2, hours=6, minutes=30, seconds=15)),
        ("0-1", timedelta(hours=1)),
        (" 10 ", timedelta(minutes=10)),
    ],
)
def test_all_notations_of_sbatch(text: str, meaning: timedelta):
    """The six notations of sbatch's manual mean what the manual says."""
    assert parse_time_limit(text) == meaning


@pytest.mark.parametrize(
    "text", ["", "-1", "1h", "1:2:3:4", "1-", "-", ":", "1:", "1-2:3:4:5", "1.5", "1 30", "1-1-1", "10\n#SBATCH", "ten"]
)
def test_what_sbatch_cannot_read_is_refused(text: str):
    """The message quotes the text and shows how to write a time."""
    with pytest.raises(ValueError, match=r"is no time that Slurm reads; write e\.g\. '01:30:00'"):
        parse_time_limit(text)


@pytest.mark.parametrize("text", ["0", "00:00", "0:0:0", "0-0"])
def test_no_time_at_all_is_refused(text: str):
    """Slurm would read it as no limit, which nobody means who writes it."""
    with pytest.raises(ValueError, match="is no time at all"):
        parse_time_limit(text)


@given(positive)
def test_what_is_written_is_read_back(limit: timedelta):
    """Rounded up to a whole second, nothing is lost."""
    read = parse_time_limit(render_time_limit(limit))
    assert timedelta(0) <= read - limit < timedelta(seconds=1)
    assert read.microseconds == 0


@given(st.integers(min_value=1, max_value=9999 * 86_400))
def test_whole_seconds_are_read_back_exactly(seconds: int):
    """Of whole seconds not one is added or lost."""
    assert parse_time_limit(render_time_limit(timedelta(seconds=seconds))) == timedelta(seconds=seconds)


@given(st.text())
def test_any_text_is_read_or_refused(text: str):
    """Nothing but ValueError comes out, and never a limit of nothing."""
    try:
        assert parse_time_limit(text) > timedelta(0)
    except ValueError:
        return


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("00:01.500", 1.5), ("01:02:03", 3723.0), ("1-00:00:01", 86_401.0), ("00:00:00", 0.0), ("05:07.023", 307.023)],
)
def test_elapsed_times_of_sacct(text: str, seconds: float):
    """Both notations of TotalCPU are read."""
    assert parse_elapsed(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "12", "abc", "1:2:3:4", "-1:00", "INVALID"])
def test_other_elapsed_times_are_refused(text: str):
    """What sacct does not write is no duration."""
    with pytest.raises(ValueError, match="is no duration as sacct writes it"):
        parse_elapsed(text)
