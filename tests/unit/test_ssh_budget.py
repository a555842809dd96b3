"""The ledger's decisions: never more logins within a window than allowed, first come first served, nobody forgotten."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headnode.ssh.budget import GONE_SECONDS, Budget, Ledger, Waiter, begun, cleared, left, queued, turn
from headnode.ssh.settings import ConnectionInvalid, parse_connection

NOW = 1_000_000.0
budgets = st.builds(
    Budget,
    logins_per_minute=st.floats(0.05, 30),
    concurrent_logins=st.integers(1, 5),
    window_seconds=st.floats(1, 100),
)


def most_within(starts, seconds):
    """Return the largest number of logins that began within any window of so many seconds, its end left out."""
    # A login exactly at the window's end is allowed; rounding must not count it in.
    return max(sum(first <= start < first + seconds - 1e-6 for start in starts) for first in starts)


@given(budgets, st.lists(st.floats(0, 300), min_size=1, max_size=40))
def test_no_window_holds_more_logins_than_allowed(budget, arrivals):
    """Whoever comes whenever, and asks as often as it is told to."""
    waiting = [(NOW + arrival, str(number)) for number, arrival in enumerate(arrivals)]
    ledger, starts = Ledger(), []
    while waiting:
        now, ticket = min(waiting)
        waiting.remove((now, ticket))
        # Everybody who waits says so in time.
        ledger = dataclasses.replace(ledger, queue=tuple(Waiter(each.ticket, now) for each in ledger.queue))
        ledger = queued(cleared(ledger, budget, now), ticket, now)
        place = turn(ledger, ticket, budget, now)
        if place.wait_seconds <= 0:
            ledger = begun(ledger, ticket, now)
            starts.append(now)
        else:
            waiting.append((now + max(place.wait_seconds, 1e-3), ticket))
    most, window = budget.window
    assert len(starts) == len(arrivals)
    assert most_within(starts, window) <= most


@given(budgets)
def test_the_window_is_the_rate(budget):
    """A rate below one login in a window makes the window longer, never the login half."""
    most, window = budget.window
    assert most >= 1
    assert window >= budget.window_seconds
    assert most / window * budget.window_seconds <= budget.logins_per_minute * (1 + 1e-6)


@pytest.mark.parametrize(("rate", "window"), [(10, (10, 60)), (2.5, (2, 60)), (0.5, (1, 120))])
def test_windows(rate, window):
    """Ten within a minute are ten; one in two minutes is one."""
    assert Budget(logins_per_minute=rate).window == pytest.approx(window)


def test_shares():
    """Several machines share what one may do, and each may do something."""
    share = Budget(logins_per_minute=10, concurrent_logins=2, commands_in_flight=24).shared_by(4)
    assert (share.logins_per_minute, share.concurrent_logins, share.commands_in_flight) == (2.5, 1, 6)
    assert share.shared_by(1) == share


def test_first_come_first_served():
    """Each waits for those before it; the sixth of a budget of two waits for three windows."""
    ledger = Ledger(logins=(NOW - 10, NOW - 5))
    for ticket in "abcdef":
        ledger = queued(ledger, ticket, NOW)
    budget = Budget(logins_per_minute=2)
    turns = [turn(ledger, ticket, budget, NOW) for ticket in "abcdef"]
    assert [each.wait_seconds for each in turns] == [50, 55, 110, 115, 170, 175]
    assert [each.ahead for each in turns] == [0, 1, 2, 3, 4, 5]


def test_who_says_it_again_keeps_its_place():
    """And is seen to live."""
    ledger = Ledger(queue=(Waiter("a", NOW - 9), Waiter("b", NOW - 9)))
    assert queued(ledger, "a", NOW).queue == (Waiter("a", NOW), Waiter("b", NOW - 9))
    assert left(ledger, "a").queue == (Waiter("b", NOW - 9),)


def test_the_dead_leave_the_queue():
    """A process that was killed keeps nobody waiting for long."""
    ledger = Ledger(queue=(Waiter("dead", NOW - GONE_SECONDS - 1), Waiter("alive", NOW - 1)))
    assert cleared(ledger, Budget(), NOW).queue == (Waiter("alive", NOW - 1),)


def test_a_clock_that_was_set_back():
    """What lies ahead counts as now, so that nobody waits for a year."""
    ahead = Ledger(logins=(NOW + 1e6,), queue=(Waiter("x", NOW + 1e6),))
    ledger = queued(cleared(ahead, Budget(), NOW), "y", NOW)
    assert turn(ledger, "y", Budget(logins_per_minute=1), NOW).wait_seconds == 120


def test_nobody_else():
    """The first login needs no wait."""
    assert turn(queued(Ledger(), "a", NOW), "a", Budget(), NOW).wait_seconds == 0


def test_a_stranger_has_no_turn():
    """Whoever does not wait can't be told when."""
    with pytest.raises(ValueError, match="stranger"):
        turn(Ledger(), "stranger", Budget(), NOW)


def budget_of(extra, **fields):
    """Return the budget of a connection with the extras."""
    return parse_connection(
        conn_id="site", host="login.example", port=None, login="me", password=None, extra=extra, **fields
    ).ssh.budget


def test_the_budget_of_a_connection():
    """Its extras may be text, as forms send them; several machines share it."""
    extra = {"logins_per_minute": "6", "concurrent_logins": 4, "commands_in_flight": "9", "refused_retry_seconds": 60}
    assert budget_of({}) == Budget()
    assert budget_of(extra, budget_directory="/budgets", triggerers=2) == Budget(
        logins_per_minute=3,
        concurrent_logins=2,
        commands_in_flight=4,
        refused_retry_seconds=60,
        directory="/budgets",
    )


@pytest.mark.parametrize("extra", [{"logins_per_minute": 0}, {"concurrent_logins": 1.5}, {"commands_in_flight": "-1"}])
def test_a_budget_that_cannot_be(extra):
    """The message names the field."""
    with pytest.raises(ConnectionInvalid, match=next(iter(extra))):
        budget_of(extra)


def test_no_triggerers():
    """Nobody to share with is one."""
    with pytest.raises(ConnectionInvalid, match="triggerers"):
        budget_of({}, triggerers=0)
