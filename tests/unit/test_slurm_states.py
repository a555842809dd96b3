"""Slurm's words for states: all are known, and none that is not known counts as an end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headnode.slurm.states import PHASES, JobState, Phase, combined_state, parse_state, phase_of

# job_state_codes and src/common/slurm_protocol_defs.c of Slurm 20.11 to 26.05.
BASE_STATES = {
    "PENDING": Phase.PENDING,
    "RUNNING": Phase.RUNNING,
    "SUSPENDED": Phase.RUNNING,
    "COMPLETED": Phase.SUCCEEDED,
    "CANCELLED": Phase.FAILED,
    "FAILED": Phase.FAILED,
    "TIMEOUT": Phase.FAILED,
    "NODE_FAIL": Phase.FAILED,
    "PREEMPTED": Phase.FAILED,
    "BOOT_FAIL": Phase.FAILED,
    "DEADLINE": Phase.FAILED,
    "OUT_OF_MEMORY": Phase.FAILED,
}
FLAGS = {
    "COMPLETING": Phase.ENDING,
    "STAGE_OUT": Phase.ENDING,
    "CONFIGURING": Phase.PENDING,
    "EXPEDITING": Phase.PENDING,
    "RESIZING": Phase.RUNNING,
    "REQUEUED": Phase.PENDING,
    "REQUEUE_FED": Phase.PENDING,
    "REQUEUE_HOLD": Phase.BLOCKED,
    "SPECIAL_EXIT": Phase.BLOCKED,
    "STOPPED": Phase.RUNNING,
    "REVOKED": Phase.UNKNOWN,
    "RESV_DEL_HOLD": Phase.BLOCKED,
    "SIGNALING": Phase.RUNNING,
}
ONLY_IN_JSON = {"LAUNCH_FAILED", "RECONFIG_FAIL", "POWER_UP_NODE", "UPDATE_DB", "GETENV_FAILED"}

states = st.sampled_from(JobState)


def test_the_table_is_total():
    """Each state has a phase, and the table holds nothing else."""
    assert set(PHASES) == set(JobState)


def test_every_word_of_slurm_is_in_the_enumeration():
    """The enumeration is closed: Slurm's words and UNKNOWN, no more."""
    assert {state.value for state in JobState} == {*BASE_STATES, *FLAGS, *ONLY_IN_JSON, "UNKNOWN"}


@pytest.mark.parametrize(("word", "phase"), (BASE_STATES | FLAGS).items())
def test_each_word_is_read(word: str, phase: Phase):
    """Slurm's word is the state of that name, and means its phase."""
    assert parse_state(word) is JobState(word)
    assert phase_of(parse_state(f" {word} ")) is phase


def test_only_completed_succeeds():
    """One state in all of Slurm is a success."""
    assert [state for state in JobState if phase_of(state) is Phase.SUCCEEDED] == [JobState.COMPLETED]


@pytest.mark.parametrize("word", ["CANCELLED by 1000", "CANCELLED+", "CANCELLED by 0", "CANCEL+"])
def test_sacct_writes_cancelled_in_its_own_ways(word: str):
    """Sacct tells who cancelled, and cuts words."""
    assert parse_state(word) is JobState.CANCELLED


@pytest.mark.parametrize(("word", "state"), [("OUT_OF_ME+", "OUT_OF_MEMORY"), ("COMPLETED+", "COMPLETED")])
def test_a_cut_word_that_fits_one_state_is_that_state(word: str, state: str):
    """What sacct cut is completed where there is one way to do it."""
    assert parse_state(word) is JobState(state)


@pytest.mark.parametrize("word", ["", "COMPLET", "COMPLET+", "C+", "+", "completed", "DREAMING", "COMPLETED,", "0"])
def test_an_unknown_word_means_keep_polling(word: str):
    """Neither a success nor a failure comes out of a word that Slurm has not."""
    assert phase_of(parse_state(word)) is Phase.UNKNOWN
    assert not phase_of(parse_state(word)).ended


@given(st.text())
def test_any_word_is_read(word: str):
    """No text is an error, and none but Slurm's own word is a success."""
    if phase_of(parse_state(word)) is Phase.SUCCEEDED:
        assert word.split(maxsplit=1)[0].rstrip("+") == "COMPLETED"


@given(st.lists(states, min_size=1))
def test_a_whole_is_never_better_than_its_worst_element(elements: list[JobState]):
    """It has succeeded when all have, has ended when all have, and its state is one of theirs."""
    whole = combined_state(elements)
    phases = {phase_of(element) for element in elements}
    assert whole in elements
    assert (phase_of(whole) is Phase.SUCCEEDED) == (phases == {Phase.SUCCEEDED})
    assert phase_of(whole).ended == all(phase.ended for phase in phases)


@given(st.lists(states, min_size=1), st.randoms())
def test_the_order_of_elements_does_not_matter(elements: list[JobState], random):
    """The same elements in another order, or twice, are the same whole."""
    shuffled = elements * 2
    random.shuffle(shuffled)
    assert combined_state(shuffled) is combined_state(elements)


def test_a_running_element_shows_before_pending_ones():
    """An array of which some elements run is running."""
    assert combined_state([JobState.PENDING, JobState.RUNNING, JobState.COMPLETED]) is JobState.RUNNING


def test_nothing_has_no_state():
    """No elements are an error of the caller, not a success."""
    with pytest.raises(ValueError, match="no states"):
        combined_state([])
