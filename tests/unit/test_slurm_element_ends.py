"""What the ends of an array's elements mean for the task."""

import pytest

from headnode.errors import JobFailed, JobOutOfMemory
from headnode.slurm.accounting import ElementEnd
from headnode.slurm.element_ends import array_error, merge_results, summarize_failures
from headnode.slurm.elements import NO_END, describe_progress, name_jobs
from headnode.slurm.states import JobState

OK = ElementEnd(JobState.COMPLETED, 0, None)
FAILED = ElementEnd(JobState.FAILED, 2, None)
OOM = ElementEnd(JobState.OUT_OF_MEMORY, 0, 9)


def error_of(ends, *, min_success_fraction=1.0, element_retries=0, tails=None):
    """Return the error of these ends."""
    return array_error(
        ends,
        summary=summarize_failures(ends, name="array 7", where="lumi"),
        min_success_fraction=min_success_fraction,
        element_retries=element_retries,
        tails=tails or {},
    )


def test_all_good_is_no_error():
    """Nor is enough of them."""
    assert error_of({0: OK, 1: OK}) is None
    assert error_of({0: OK, 1: FAILED}, min_success_fraction=0.5) is None


def test_the_error_says_how_many_which_and_how():
    """With the last lines of the first ones."""
    error = error_of({0: OK, 1: FAILED, 2: OOM, 3: NO_END}, element_retries=2, tails={1: ["[1] | last"], 2: []})
    assert type(error) is JobFailed
    assert str(error) == (
        "3 of 4 elements of array 7 on lumi failed: FAILED with exit code 2: 1; OUT_OF_MEMORY by signal 9: 2;"
        " nothing is known of their end: 3. An element that fails runs again up to 2 times (element_retries)\n"
        "The last lines of element 1's log:\n  [1] | last"
    )


def test_elements_that_all_failed_alike_are_that_error():
    """So that a retry policy can tell, and with the advice."""
    error = error_of({0: OK, 1: OOM, 2: OOM}, min_success_fraction=0.9)
    assert type(error) is JobOutOfMemory
    assert "OUT_OF_MEMORY by signal 9: 1-2: give it more memory" in str(error)
    assert "min_success_fraction=0.9 asks for more" in str(error)


def test_of_an_element_that_ran_again_the_last_run_counts():
    """Also where that wrote nothing; what failed has no result."""
    found = [((0, 1, 2), {0: "a", 1: "b", 2: "c"}), ((10, 11), {10: "d"}), ((1, 2), {2: "e"})]
    ends = {0: OK, 1: OK, 2: OK, 10: FAILED, 11: OK}
    assert merge_results(ends, found) == ["a", None, "e", None, None]


def test_no_results_are_no_list():
    """As of a job that writes none."""
    assert merge_results({0: OK, 1: FAILED}, [((0, 1), {1: "failed"})]) is None


@pytest.mark.parametrize(
    ("counts", "line"),
    [
        ({"RUNNING": 256, "PENDING": 700}, "array 123: 256 running, 700 waiting, 44 ended"),
        ({"COMPLETING": 3, "SUSPENDED": 1, "CONFIGURING": 2}, "array 123: 1 running, 2 waiting, 3 ending, 994 ended"),
        ({"REQUEUE_HOLD": 1, "A_NEW_WORD": 999}, "array 123: 1 held, 999 in an unknown state"),
        ({}, "array 123: 1000 ended"),
    ],
)
def test_progress(counts, line):
    """Slurm's words are put together to what one wants to know."""
    assert describe_progress(["123"], counts, total=1000) == line


def test_very_many_jobs_are_not_all_named():
    """A line is for people."""
    assert name_jobs(["1", "2"]) == "arrays 1, 2"
    assert name_jobs([str(number) for number in range(100)]) == "arrays 0, 1, 2, 3, 4, ... (100 in all)"
