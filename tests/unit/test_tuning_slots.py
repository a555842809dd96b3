"""What may be claimed next, and what a study's result is: pure decisions over attempts, claims and who lives."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headnode.tuning.on_cluster.claims import Claim, Owner
from headnode.tuning.on_cluster.results import MAX_BYTES, describe, fitting
from headnode.tuning.on_cluster.setting import Study
from headnode.tuning.on_cluster.slots import (
    Attempt,
    Next,
    State,
    best,
    claimable,
    failures_in_a_row,
    finished,
)
from headnode.tuning.on_cluster.telling import render_params, render_value, visible

ALIVE = Owner(session=1, worker=0, node="n1", word="a")
DEAD = Owner(session=1, worker=1, node="n1", word="b")


def attempt(slot, number=1, state=State.RUNNING, **other):
    """Return an attempt at a slot."""
    return Attempt(number=slot * 10 + number, slot=slot, attempt=number, state=state, params={"x": slot}, **other)


def claims(*made):
    """Return claims by slot: (slot, attempt, owner)."""
    return {slot: Claim(slot, number, owner) for slot, number, owner in made}


def open_slots(attempts, made, *, slots=2, on_grid=False):
    """Return what may be claimed while ALIVE lives."""
    return claimable(slots, attempts, claims(*made), {ALIVE}, on_grid=on_grid)


def test_slots_that_nobody_has_claimed_are_free():
    """In their order."""
    assert open_slots([], []) == [Next(0, 1), Next(1, 1)]


def test_what_the_living_run_is_theirs():
    """Also before their trial is in the journal."""
    assert open_slots([attempt(0)], [(0, 1, ALIVE), (1, 1, ALIVE)]) == []


def test_what_the_dead_left_comes_first_and_goes_on():
    """With the attempt whose parameters it takes over, if there is one."""
    left = attempt(1)
    assert open_slots([left], [(1, 1, DEAD)]) == [Next(1, 2, left), Next(0, 1)]
    assert open_slots([], [(1, 1, DEAD)]) == [Next(1, 2, None), Next(0, 1)]


def test_a_worker_that_died_before_it_could_go_on():
    """The one after it goes on from the attempt before."""
    left = attempt(1, state=State.LEFT)
    assert open_slots([left], [(1, 2, DEAD)], slots=2)[0] == Next(1, 3, left)


def test_a_failed_attempt_is_followed_by_another_one_whoever_lives():
    """With other parameters; on a grid there are none."""
    failed = attempt(0, state=State.FAILED, failure="ValueError")
    assert open_slots([failed], [(0, 1, ALIVE), (1, 1, ALIVE)]) == [Next(0, 2)]
    assert open_slots([failed], [(0, 1, DEAD), (1, 1, ALIVE)]) == [Next(0, 2)]
    assert open_slots([failed], [(0, 2, DEAD), (1, 1, ALIVE)]) == [Next(0, 3, None)]
    assert open_slots([failed], [(0, 1, ALIVE), (1, 1, ALIVE)], on_grid=True) == []


@pytest.mark.parametrize("state", [State.COMPLETE, State.PRUNED])
def test_what_is_over_is_never_claimed(state):
    """Nor where a later attempt had been claimed by one who came too late."""
    assert open_slots([attempt(0, state=state)], [(0, 2, DEAD), (1, 1, ALIVE)]) == []


@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(1, 3), st.sampled_from(State), st.sampled_from([None, ALIVE, DEAD])),
        max_size=12,
    )
)
def test_no_slot_is_offered_twice_nor_one_that_is_over_or_lives(parts):
    """Whatever the journal and the claims hold."""
    attempts = [attempt(slot, number, state) for slot, number, state, _ in parts]
    made = {slot: Claim(slot, number, owner) for slot, number, _, owner in sorted(parts, key=lambda each: each[:2])}
    offered = claimable(5, attempts, made, {ALIVE}, on_grid=False)
    slots = [each.slot for each in offered]
    assert len(slots) == len(set(slots))
    assert not set(slots) & set(finished(attempts, on_grid=False))
    for each in offered:
        assert each.attempt == (made[each.slot].attempt + 1 if each.slot in made else 1)
    running = {
        slot
        for slot, claim in made.items()
        if claim.owner == ALIVE and not any(one.slot == slot and one.state is State.FAILED for one in attempts)
    }
    assert not set(slots) & running


def test_failures_in_a_row_are_those_since_the_last_success():
    """In the order of their ends; a trial that was left is neither."""
    failed = [attempt(at, state=State.FAILED, ended=float(at)) for at in range(4)]
    assert failures_in_a_row(reversed(failed)) == failed
    between = attempt(9, state=State.PRUNED, ended=1.5)
    assert failures_in_a_row([*failed, between]) == failed[2:]
    left = attempt(9, state=State.LEFT, ended=1.5)
    assert failures_in_a_row([*failed, left]) == failed


def test_the_best_is_of_complete_trials_alone():
    """The earlier of equals."""
    some = [
        attempt(0, state=State.COMPLETE, value=1.0),
        attempt(1, state=State.COMPLETE, value=1.0),
        attempt(2, state=State.PRUNED, value=9.0),
        attempt(3, state=State.COMPLETE, value=0.5),
    ]
    assert best(some, maximize=True) is some[0]
    assert best(some, maximize=False) is some[3]
    assert best(some[2:3], maximize=True) is None


STUDY = Study(objective="m:f", trials=2, workers=1, maximize=True, sampler={"kind": "tpe"}, pruner={"kind": "none"})


def test_a_result_is_strict_json_and_tells_of_interruptions():
    """Infinity has no place in it."""
    first = attempt(0, 1, State.LEFT)
    second = replace(
        attempt(0, 2, State.COMPLETE), value=float("inf"), began=10.0, ended=12.5, intermediate={2: 0.5, 10: 0.7}
    )
    failed = attempt(1, 1, State.FAILED, failure="ValueError: no")
    third = attempt(1, 2, State.COMPLETE, value=2.0)
    result = describe(STUDY, [first, second, failed, third])
    json.loads(json.dumps(result, allow_nan=False))
    assert result["best"]["number"] == 1
    assert (
        result["best"]
        == result["trials"][0]
        == {
            "number": 1,
            "state": "complete",
            "value": "inf",
            "params": {"x": 0},
            "began": 10.0,
            "seconds": 2.5,
            "worker": "",
            "intermediate_values": {"2": 0.5, "10": 0.7},
            "optuna_number": 2,
            "continued": 1,
        }
    )
    assert [row["failure"] for row in result["failed"]] == ["ValueError: no"]
    assert result["counts"] == {"complete": 2, "pruned": 0, "failed": 0}


@given(st.integers(1, 400), st.integers(0, 60), st.integers(2000, 60_000))
def test_what_does_not_fit_is_cut_and_said_to_be(trials, steps, most_bytes):
    """The best trial is always there, and what is kept are the best."""
    attempts = [
        attempt(at, state=State.COMPLETE, value=float(at), intermediate=dict.fromkeys(range(steps), 0.5))
        for at in range(trials)
    ]
    whole = describe(STUDY, attempts)
    cut = fitting(whole, maximize=True, most_bytes=most_bytes)
    assert len(json.dumps(cut)) <= most_bytes
    assert cut["best"]["number"] == trials
    assert ("left_out" in cut) == (cut != whole)
    kept = [row["number"] for row in cut["trials"]]
    assert kept == list(range(trials - len(kept) + 1, trials + 1))
    assert fitting(whole, maximize=True) == whole or len(json.dumps(whole)) > MAX_BYTES


def test_values_are_short_and_on_one_line():
    """Whatever a parameter is called."""
    assert (
        render_params({"lr": 0.012345678, "n": 3, "kind": "a\nb", "on": True}) == "lr=0.0123457, n=3, kind=a b, on=True"
    )
    assert render_value(1e-05) == "1e-05"
    assert render_value(None) == "None"
    assert len(render_params({f"p{at}": at for at in range(100)})) == 200
    assert visible("x" * 50, 20) == "x" * 17 + "..."
