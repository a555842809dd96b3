"""Where the elements of an array run, and what their ends mean."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headnode.errors import JobSpecError
from headnode.slurm.accounting import ElementEnd
from headnode.slurm.arrays import expand_elements
from headnode.slurm.elements import (
    MAX_ELEMENTS,
    NO_END,
    describe_failures,
    enough_succeeded,
    failed_elements,
    name_elements,
    parse_array,
    plan_parts,
    share_out,
)
from headnode.slurm.states import JobState

OK = ElementEnd(JobState.COMPLETED, 0, None)
FAILED = ElementEnd(JobState.FAILED, 2, None)
ELEMENTS = st.one_of(
    st.sets(st.integers(0, 20_000), min_size=1, max_size=2_000),
    st.builds(lambda first, count, step: set(range(first, first + count * step, step)), *[st.integers(1, 3_000)] * 3),
)


@given(ELEMENTS, st.integers(1, 1_500), st.one_of(st.none(), st.integers(1, 500)))
def test_every_element_runs_once_and_sbatch_takes_each_job(elements, max_array_size, max_running):
    """Over all jobs, by the indexes that sbatch is given; each index and notation is within Slurm's limits."""
    parts = plan_parts(sorted(elements), max_array_size=max_array_size, max_running=max_running)
    seen = []
    for part in parts:
        indexes, _, throttle = part.option.removeprefix("--array=").partition("%")
        by_index = sorted(expand_elements(indexes))
        assert max(by_index) < max_array_size
        assert len(part.option) < 4096
        assert (int(throttle) if throttle else None) == part.max_running
        assert list(part.elements) == [index + part.offset for index in by_index]
        seen += part.elements
    assert seen == sorted(elements)
    if max_running is not None and len(parts) <= max_running:
        assert sum(part.max_running for part in parts) == max_running


@given(ELEMENTS, st.integers(1, 1_500), st.data())
def test_an_element_keeps_its_index_when_it_is_run_again(elements, max_array_size, data):
    """So that a job may use SLURM_ARRAY_TASK_ID in names of files."""
    index_of = {
        element: element - part.offset
        for part in plan_parts(sorted(elements), max_array_size=max_array_size)
        for element in part.elements
    }
    again = data.draw(st.sets(st.sampled_from(sorted(elements)), min_size=1))
    for part in plan_parts(sorted(again), max_array_size=max_array_size):
        assert all(index_of[element] == element - part.offset for element in part.elements)


def test_what_fits_into_one_job_is_one_job_with_its_own_numbers():
    """Offsets are only for what Slurm can't number."""
    (part,) = plan_parts(range(1001), max_array_size=1001, max_running=7)
    assert (part.offset, part.option) == (0, "--array=0-1000%7")
    (part,) = plan_parts([3, 17, 18, 19], max_array_size=1001)
    assert part.option == "--array=3,17-19"


def test_a_larger_array_is_split_and_its_throttle_shared_out():
    """By size; the sum is what was asked for."""
    parts = plan_parts(range(2500), max_array_size=1001, max_running=50)
    assert [(part.offset, part.option) for part in parts] == [
        (0, "--array=0-1000%20"),
        (1001, "--array=0-1000%20"),
        (2002, "--array=0-497%10"),
    ]


@given(st.integers(1, 10_000), st.lists(st.integers(1, 5_000), min_size=1, max_size=50))
def test_shares_add_up(total, sizes):
    """Where there is enough for one each; else all are 1."""
    shares = share_out(total, sizes)
    assert all(share >= 1 for share in shares)
    assert sum(shares) == max(total, len(sizes))


@pytest.mark.parametrize(
    ("array", "expected"),
    [("0-3", ((0, 1, 2, 3), None)), ("5,1-3%2", ((1, 2, 3, 5), 2)), (" 0-6:3%10 ", ((0, 3, 6), 10))],
)
def test_arrays_are_read_as_sbatch_reads_them(array, expected):
    """Elements in order, and the throttle."""
    assert parse_array(array) == expected


@pytest.mark.parametrize("array", ["", "a-b", "3-1", "0-9%", "0-9%0", "0-9%x", "[0-9]", "0-9%²", "-1", "0-99999999"])
def test_other_arrays_are_refused_by_name(array):
    """When the DAG is parsed."""
    with pytest.raises(JobSpecError, match=r"^array: "):
        parse_array(array)


def test_more_elements_than_a_task_can_hold_are_refused_with_the_remedy():
    """Before anything is submitted."""
    with pytest.raises(JobSpecError, match="let each element do several pieces"):
        parse_array(f"0-{MAX_ELEMENTS}")


def test_failures_are_told_by_how_they_ended():
    """Elements of which nothing is known are among them."""
    ends = {0: OK, 1: FAILED, 2: FAILED, 3: ElementEnd(JobState.TIMEOUT, 0, 15), 4: NO_END}
    assert failed_elements(ends) == [1, 2, 3, 4]
    assert describe_failures(ends) == (
        "FAILED with exit code 2: 1-2; TIMEOUT by signal 15: 3; nothing is known of their end: 4"
    )


def test_very_many_failed_elements_are_not_all_named():
    """A message is for people."""
    assert name_elements(range(0, 2000, 2)).endswith("36,38,... (1000 in all)")


def test_an_element_that_nobody_knows_has_not_succeeded():
    """Whatever Slurm says of the others."""
    (part,) = plan_parts([0, 1], max_array_size=10)
    assert part.ends({0: OK}) == {0: OK, 1: NO_END}


@pytest.mark.parametrize(
    ("succeeded", "total", "fraction", "expected"),
    [(10, 10, 1.0, True), (9, 10, 1.0, False), (9, 10, 0.9, True), (8, 10, 0.9, False), (0, 10, 0.0, True)],
)
def test_enough(succeeded, total, fraction, expected):
    """A fraction of 1 is all of them."""
    assert enough_succeeded(succeeded=succeeded, total=total, min_success_fraction=fraction) is expected


@given(st.integers(1, 10_000), st.integers(0, 100))
def test_a_fraction_is_not_rounded_up(total, percent):
    """Percent of a hundred-fold total is a whole number of elements, and that number is enough."""
    fraction = percent / 100
    assert enough_succeeded(succeeded=percent * total, total=100 * total, min_success_fraction=fraction)
    assert percent == 0 or not enough_succeeded(
        succeeded=percent * total - 1, total=100 * total, min_success_fraction=fraction
    )
