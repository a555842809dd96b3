"""Which elements of an array run again, round after round."""

from hypothesis import given
from hypothesis import strategies as st

from headnode.slurm.accounting import ElementEnd
from headnode.slurm.element_retries import ElementRetries
from headnode.slurm.elements import NO_END, failed_elements
from headnode.slurm.policy import ExcludeNode, FailurePolicy, MoreMemory, Resubmit
from headnode.slurm.states import JobState

OK = ElementEnd(JobState.COMPLETED, 0, None)
FAILED = ElementEnd(JobState.FAILED, 1, None)
FAILED_OTHERWISE = ElementEnd(JobState.FAILED, 2, None)
OOM = ElementEnd(JobState.OUT_OF_MEMORY, 0, 9)
TIMEOUT = ElementEnd(JobState.TIMEOUT, 0, 15)
LOST_NODE = ElementEnd(JobState.NODE_FAIL, 1, None)
ENDS = st.sampled_from([OK, FAILED, FAILED_OTHERWISE, OOM, TIMEOUT, LOST_NODE, NO_END])


def retries(element_retries=0, requested=None, **policy):
    """Return what decides with this policy."""
    return ElementRetries(FailurePolicy(**policy), element_retries=element_retries, requested=requested or {})


@given(st.lists(ENDS, min_size=1, max_size=30), st.integers(0, 3), st.data())
def test_each_failed_element_runs_as_often_as_it_may_and_no_other_does(first, element_retries, data):
    """Whatever the others do; in the end each ran once more than its failures allowed, or succeeded."""
    decides = retries(element_retries)
    ends = dict(enumerate(first))
    runs = dict.fromkeys(ends, 1)
    wanted = decides.after(ends, job_ids="1")
    while wanted is not None:
        now = {element: data.draw(ENDS) for element in wanted.elements}
        assert set(wanted.elements) <= set(failed_elements(ends))
        for element in now:
            runs[element] += 1
        ends |= now
        wanted = decides.after(now, job_ids="2")
    assert all(count <= 1 + element_retries for count in runs.values())
    assert all(runs[element] == 1 + element_retries for element in failed_elements(ends))


@given(st.lists(st.lists(ENDS, min_size=3, max_size=3), min_size=1, max_size=5))
def test_who_is_told_the_same_decides_the_same(rounds):
    """So a triggerer that goes on with an array finds the rounds of the one before it."""
    policy = {"on_out_of_memory": MoreMemory(limit="8G"), "on_timeout": Resubmit(times=2)}
    one, other = (retries(1, {"mem": "1G"}, **policy) for _ in range(2))
    for ends in rounds:
        now = dict(enumerate(ends))
        assert one.after(now, job_ids="1") == other.after(now, job_ids="1")


def test_the_reason_names_elements_and_ends():
    """In plain words, for the record."""
    again = retries(1).after({0: OK, 1: FAILED, 2: FAILED_OTHERWISE, 3: FAILED, 4: NO_END}, job_ids="7")
    assert again.elements == (1, 2, 3, 4)
    assert again.options == ()
    assert again.reason == (
        "elements 1,3 run again: they ended as FAILED with exit code 1;"
        " elements 2 run again: they ended as FAILED with exit code 2;"
        " elements 4 run again: nothing is known of their end"
    )


def test_elements_that_lacked_memory_run_again_with_more_and_others_by_their_retries():
    """Each end has its own remedy; the memory stays raised for all that run later."""
    decides = retries(1, {"mem": "1G"}, on_out_of_memory=MoreMemory(factor=2, limit="4G"))
    again = decides.after({0: OOM, 1: FAILED, 2: OK, 3: ElementEnd(JobState.OUT_OF_MEMORY, 0, 6)}, job_ids="7")
    assert (again.elements, again.options) == ((0, 1, 3), ("--mem=2048M",))
    assert "elements 0 run again: job 7 ran out of memory with 1G on each node; now it gets 2G" in again.reason
    again = decides.after({0: OOM, 1: OOM, 3: FAILED}, job_ids="8")
    assert (again.elements, again.options) == ((0, 1, 3), ("--mem=4096M",))
    again = decides.after({0: OOM, 1: FAILED, 3: FAILED}, job_ids="9")
    assert (again.elements, again.options) == ((0,), ("--mem=4096M",))  # by its retry: the limit is reached
    assert decides.after({0: OOM}, job_ids="10") is None


def test_what_befalls_many_elements_of_a_round_counts_once():
    """The times of a policy are rounds."""
    decides = retries(on_timeout=Resubmit(times=1))
    assert decides.after(dict.fromkeys(range(5), TIMEOUT), job_ids="1").elements == (0, 1, 2, 3, 4)
    assert decides.after(dict.fromkeys(range(5), TIMEOUT), job_ids="2") is None


def test_elements_of_a_lost_node_run_again_anywhere():
    """Which node it was is not known of an element."""
    again = retries(on_node_fail=ExcludeNode()).after({0: OK, 1: LOST_NODE}, job_ids="1")
    assert (again.elements, again.options) == ((1,), ())


def test_elements_that_slurm_may_not_requeue_run_again():
    """Those of an array with secrets; no retry is used up."""
    decides = ElementRetries(FailurePolicy(), element_retries=0, requested={}, in_place_of_requeue=True)
    again = decides.after({0: OK, 1: LOST_NODE, 2: FAILED}, job_ids="7")
    assert again is not None
    assert again.elements == (1,)
    assert again.reason == (
        "elements 1 run again: job 7 ended as NODE_FAIL; in place of a requeue it is submitted again"
    )
    assert retries().after({1: LOST_NODE}, job_ids="7") is None
