"""Following a job: success is what accounting says, loss comes after long silence, and requeueing takes ends back."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from headnode.cluster.following import (
    ARRAY_SETTLE_SECONDS,
    LOST_AFTER_SECONDS,
    SOON_SECONDS,
    AskAccounting,
    Ended,
    Followed,
    Lost,
    Wait,
    ends_soon,
    next_interval,
    observe_accounting,
    observe_queue,
)
from headnode.slurm.accounting import AccountingEntry
from headnode.slurm.answers import QueueEntry
from headnode.slurm.record import Usage
from headnode.slurm.states import JobState, phase_of

JOB = Followed(job_id="7", elements=1)
REVOCABLE = (JobState.PREEMPTED, JobState.NODE_FAIL, JobState.BOOT_FAIL)

states = st.sampled_from(JobState)


def queued(state: JobState, reason: str | None = None, nodes: str | None = None) -> QueueEntry:
    """Return what squeue says of job 7."""
    return QueueEntry(job_id="7", state=state, state_word=state.value, reason=reason, nodes=nodes)


def accounted(state: JobState, nodes: str | None = None, elements: int = 0) -> AccountingEntry:
    """Return what sacct says of job 7."""
    return AccountingEntry(
        job_id="7",
        state=state,
        state_word=state.value,
        exit_code=0,
        signal=None,
        nodes=nodes,
        usage=Usage(),
        elements=elements or 1,
        failed_elements=0,
    )


def test_a_queued_job_is_waited_for():
    """State, reason and nodes are kept; the nodes stay known when squeue no longer shows them."""
    seen, decision = observe_queue(JOB, queued(JobState.PENDING, reason="Priority"), 1_000)
    assert decision == Wait()
    assert (seen.state_word, seen.reason, seen.nodes) == ("PENDING", "Priority", None)
    seen, _ = observe_queue(seen, queued(JobState.RUNNING, nodes="n1"), 1_000)
    seen, _ = observe_queue(seen, queued(JobState.COMPLETING), 1_000)
    assert (seen.state, seen.reason, seen.nodes) == (JobState.COMPLETING, None, "n1")


def test_a_job_that_left_the_queue_is_asked_of_accounting():
    """Absence from squeue is neither an end nor a loss."""
    assert observe_queue(JOB, None, 1_000) == (JOB, AskAccounting())


@given(states)
def test_squeue_never_ends_a_job(state: JobState):
    """Squeue shows ended jobs for a while; sacct has the last word."""
    _, decision = observe_queue(JOB, queued(state), 1_000)
    assert decision == (AskAccounting() if phase_of(state).ended else Wait())


@pytest.mark.parametrize("state", [state for state in JobState if phase_of(state).ended and state not in REVOCABLE])
def test_an_end_in_accounting_is_the_end(state: JobState):
    """At the first look."""
    entry = accounted(state, nodes="n1")
    seen, verdict = observe_accounting(JOB, entry, now=0.0)
    assert verdict == Ended(entry=entry)
    assert (seen.state, seen.nodes) == (state, "n1")


@pytest.mark.parametrize("state", REVOCABLE)
def test_a_revocable_end_counts_when_it_is_seen_twice(state: JobState):
    """Between the looks Slurm may requeue the job, and then it goes on under the same id."""
    seen, verdict = observe_accounting(JOB, accounted(state), now=0.0)
    assert verdict == Wait()
    _, verdict = observe_accounting(seen, accounted(state), now=10.0)
    assert verdict == Ended(entry=accounted(state))
    again, decision = observe_queue(seen, queued(JobState.PENDING, reason="BeginTime"), 1_000)
    assert decision == Wait()
    _, verdict = observe_accounting(again, accounted(state), now=20.0)
    assert verdict == Wait()


@pytest.mark.parametrize("state", [*REVOCABLE, JobState.CANCELLED, JobState.COMPLETED])
def test_the_end_of_an_earlier_run_does_not_count(state: JobState):
    """The job was requeued and ran again; slurmdbd, which lags behind, still shows how the first run ended."""
    first_end = replace(accounted(state), last_submitted_at=1_000)
    second_end = replace(accounted(JobState.COMPLETED), last_submitted_at=1_060)
    requeued, _ = observe_queue(JOB, replace(queued(JobState.RUNNING), last_submitted_at=1_060), 1_070)
    for now in (10.0, 20.0):
        requeued, verdict = observe_accounting(requeued, first_end, now)
        assert verdict == Wait()
    requeued, verdict = observe_accounting(requeued, first_end, 10.0 + LOST_AFTER_SECONDS - 1)
    assert verdict == Wait(doubtful=True)
    assert observe_accounting(requeued, second_end, 10.0 + LOST_AFTER_SECONDS)[1] == Ended(entry=second_end)
    assert observe_accounting(requeued, first_end, 10.0 + LOST_AFTER_SECONDS)[1] == Lost()


@pytest.mark.parametrize("submitted_at", [None, 1_060, 1_061])
def test_an_end_of_the_run_that_was_seen_counts(submitted_at: int | None):
    """A job's own marker knows no submission."""
    entry = replace(accounted(JobState.FAILED), last_submitted_at=submitted_at)
    seen, _ = observe_queue(JOB, replace(queued(JobState.RUNNING), last_submitted_at=1_060), 1_070)
    assert observe_accounting(seen, entry, 10.0)[1] == Ended(entry=entry)


def test_an_element_that_ran_again_is_waited_for():
    """Also when it has left the queue before the others, which were submitted earlier."""
    array = Followed(job_id="7", elements=2)
    for submitted_at in (1_060, 1_000):
        shown = replace(queued(JobState.RUNNING), is_compound=True, last_submitted_at=submitted_at)
        array, _ = observe_queue(array, shown, 1_070)
    early, whole = (
        replace(accounted(JobState.NODE_FAIL, elements=2), last_submitted_at=submitted_at)
        for submitted_at in (1_000, 1_060)
    )
    for now in (10.0, 20.0):
        array, verdict = observe_accounting(array, early, now)
        assert verdict == Wait()
    array, _ = observe_accounting(array, whole, 30.0)
    assert observe_accounting(array, whole, 40.0)[1] == Ended(entry=whole)


def test_an_array_has_ended_when_no_more_elements_come():
    """Accounting hears of the elements by and by: what the first ones did is not what all did."""
    one, all_three = accounted(JobState.COMPLETED, elements=1), accounted(JobState.FAILED, elements=3)
    looks = [
        (0.0, one),
        (ARRAY_SETTLE_SECONDS - 1, one),
        (ARRAY_SETTLE_SECONDS, all_three),
        (2 * ARRAY_SETTLE_SECONDS - 1, accounted(JobState.RUNNING, elements=3)),
        (3 * ARRAY_SETTLE_SECONDS, all_three),
        (4 * ARRAY_SETTLE_SECONDS - 1, all_three),
    ]
    job = Followed(job_id="7")
    for now, entry in looks:
        job, verdict = observe_accounting(job, entry, now)
        assert verdict == Wait()
        assert not phase_of(job.state).ended
    job, verdict = observe_accounting(job, all_three, 4 * ARRAY_SETTLE_SECONDS)
    assert verdict == Ended(entry=all_three)
    assert job.state is JobState.FAILED


def test_an_array_has_ended_when_accounting_knows_as_many_elements_as_were_asked_for():
    """Then nothing has to settle."""
    array = Followed(job_id="7", elements=3)
    array, verdict = observe_accounting(array, accounted(JobState.COMPLETED, elements=2), now=0.0)
    assert verdict == Wait()
    _, verdict = observe_accounting(array, accounted(JobState.COMPLETED, elements=3), now=1.0)
    assert isinstance(verdict, Ended)


def test_an_element_that_looks_like_a_plain_job():
    """Accounting shows an array's first element under the array's id: only squeue tells what is plain."""
    new = Followed(job_id="7")
    seen, verdict = observe_accounting(new, accounted(JobState.COMPLETED), now=0.0)
    assert verdict == Wait()
    _, verdict = observe_accounting(seen, accounted(JobState.COMPLETED), now=ARRAY_SETTLE_SECONDS)
    assert isinstance(verdict, Ended)
    seen, _ = observe_queue(new, queued(JobState.RUNNING), 1_000)
    assert isinstance(observe_accounting(seen, accounted(JobState.COMPLETED), now=0.0)[1], Ended)
    array = replace(queued(JobState.RUNNING), is_compound=True)
    seen, _ = observe_queue(new, array, 1_000)
    assert observe_accounting(seen, accounted(JobState.COMPLETED), now=0.0)[1] == Wait()


def test_a_job_that_nobody_knows_is_lost_after_a_long_time():
    """Slurmctld hands its records over with a delay that no document bounds."""
    seen, verdict = observe_accounting(JOB, None, now=100.0)
    assert verdict == Wait()
    seen, verdict = observe_accounting(seen, None, now=100.0 + LOST_AFTER_SECONDS - 1)
    assert verdict == Wait(doubtful=True)
    _, verdict = observe_accounting(seen, None, now=100.0 + LOST_AFTER_SECONDS)
    assert verdict == Lost()


def test_a_job_that_is_seen_again_is_not_missing():
    """The time begins anew."""
    seen, _ = observe_accounting(JOB, None, now=0.0)
    seen, _ = observe_queue(seen, queued(JobState.RUNNING), 1_000)
    _, verdict = observe_accounting(seen, None, now=LOST_AFTER_SECONDS + 1)
    assert verdict == Wait()


@pytest.mark.parametrize("state", [state for state in JobState if not phase_of(state).ended])
def test_an_unfinished_job_in_accounting_is_waited_for(state: JobState):
    """Accounting lags behind: after a while whoever else may know is asked too, and only after long it is lost."""
    seen, verdict = observe_accounting(JOB, accounted(state), now=0.0)
    assert verdict == Wait()
    seen, verdict = observe_accounting(seen, accounted(state), now=LOST_AFTER_SECONDS / 10)
    assert verdict == Wait(doubtful=True)
    marked = accounted(JobState.COMPLETED)
    assert observe_accounting(seen, marked, now=LOST_AFTER_SECONDS / 10)[1] == Ended(entry=marked)
    assert observe_accounting(seen, accounted(state), now=LOST_AFTER_SECONDS)[1] == Lost()


def test_how_long_a_job_has_waited_and_when_it_ends():
    """By the cluster's own clock, whatever Airflow's says; a running job does not wait."""
    entry = replace(queued(JobState.PENDING, reason="JobHeldUser"), submitted_at=400)
    seen, _ = observe_queue(JOB, entry, 1_000)
    assert seen.pending_seconds == 600
    seen, _ = observe_queue(seen, replace(queued(JobState.RUNNING), submitted_at=400, ends_at=1_090), 1_000)
    assert (seen.pending_seconds, seen.ends_in_seconds) == (None, 90)


@pytest.mark.parametrize(
    ("job", "soon"),
    [
        (JOB, False),
        (replace(JOB, pending_seconds=5), False),
        (replace(JOB, pending_seconds=4), True),
        (replace(JOB, state=JobState.RUNNING, ends_in_seconds=61), False),
        (replace(JOB, state=JobState.RUNNING, ends_in_seconds=60), True),
        (replace(JOB, state=JobState.RUNNING, ends_in_seconds=-5), True),
        (replace(JOB, state=JobState.COMPLETING), True),
        (replace(JOB, state=JobState.RUNNING, script_over=True), True),
        (replace(JOB, missing_since=3.0), True),
    ],
)
def test_ends_that_are_expected(job: Followed, soon):
    """Before its time limit, in its clean-up, after its script's last act, and while accounting lags."""
    assert ends_soon(job, 60.0) is soon


class FollowingMachine(RuleBasedStateMachine):
    """Any order of looks: what the follower says must be what was shown to it."""

    def __init__(self) -> None:
        super().__init__()
        self.job = JOB
        self.now = 0.0
        self.unknown_since: float | None = None
        self.verdict: object = Wait()
        self.shown: AccountingEntry | None = None

    @rule(seconds=st.floats(min_value=0, max_value=2 * LOST_AFTER_SECONDS))
    def time_passes(self, seconds: float) -> None:
        """Let the next look come later."""
        self.now += seconds

    @rule(state=states)
    def squeue_shows(self, state: JobState) -> None:
        """Find the job in the queue."""
        self.job, self.verdict = observe_queue(self.job, queued(state), 1_000)
        if self.verdict == Wait():
            self.unknown_since = None

    @rule(entry=st.none() | states.map(accounted))
    def sacct_says(self, entry: AccountingEntry | None) -> None:
        """Look for the job in accounting, since the queue has it not."""
        self.shown = entry
        self.job, decision = observe_queue(self.job, None, 1_000)
        assert decision == AskAccounting()
        if self.unknown_since is None:
            self.unknown_since = self.now
        self.job, self.verdict = observe_accounting(self.job, entry, self.now)

    @invariant()
    def an_end_was_shown(self) -> None:
        """Never a success that accounting did not show, never a loss before its time."""
        if isinstance(self.verdict, Ended):
            assert self.verdict.entry is self.shown
            assert phase_of(self.verdict.entry.state).ended
        if isinstance(self.verdict, Lost):
            assert self.shown is None or not phase_of(self.shown.state).ended
            assert self.unknown_since is not None
            assert self.now - self.unknown_since >= LOST_AFTER_SECONDS


TestFollowing = FollowingMachine.TestCase

seconds = st.floats(min_value=0.1, max_value=1e4)


@given(st.floats(min_value=0, max_value=1e6), st.booleans(), seconds, seconds)
def test_intervals_stay_in_their_bounds(previous: float, changed, one: float, other: float):
    """Never faster than the fastest, never slower than the slowest; the fastest after a change."""
    fastest, slowest = sorted((one, other))
    interval = next_interval(previous, changed=changed, fastest=fastest, slowest=slowest)
    assert fastest <= interval <= slowest
    assert not changed or interval == fastest
    soon = next_interval(previous, changed=changed, soon=True, fastest=fastest, slowest=slowest)
    assert soon <= SOON_SECONDS
    ending = next_interval(previous, changed=changed, soon=True, ending=True, fastest=fastest, slowest=slowest)
    assert ending <= soon
    assert ending <= SOON_SECONDS / 2
    assert next_interval(previous, changed=changed, ending=True, fastest=fastest, slowest=slowest) == interval


def test_intervals_grow_to_the_slowest():
    """While nothing changes each is a quarter longer than the one before."""
    interval, intervals = 10.0, []
    for _ in range(10):
        interval = next_interval(interval, changed=False, fastest=10.0, slowest=60.0)
        intervals.append(interval)
    assert intervals[0] == pytest.approx(12.5)
    assert intervals == sorted(intervals)
    assert math.isclose(intervals[-1], 60.0)
