"""Clusters that forget quickly, keep no accounting, give ids out again, or live an hour ahead."""

import asyncio
import time

import pytest

from headnode.errors import JobCancelled, JobFailed, JobLost
from headnode.slurm.states import JobState
from headnode.testing import faults

pytestmark = pytest.mark.cluster


def assert_all_well(tasks):
    """Assert that all attempts ended well, with whole logs and one job each."""
    assert [each.error for each in tasks.attempts] == [None] * len(tasks.attempts)
    assert [each.log() for each in tasks.attempts] == ["first\nlast\n"] * len(tasks.attempts)
    tasks.settle()


@pytest.fixture(scope="module")
def forgetful_cluster(start_cluster):
    """Give a cluster whose slurmctld forgets a job 2 s after its end."""
    return start_cluster(min_job_age_seconds=2, message_timeout_seconds=3)


@pytest.fixture(scope="module")
def bare_cluster(start_cluster):
    """Give a cluster without accounting, whose slurmctld forgets quickly and has ten job ids."""
    return start_cluster(
        accounting=False, min_job_age_seconds=5, first_job_id=100, max_job_id=109, message_timeout_seconds=3
    )


def test_min_job_age_and_late_accounting(forgetful_cluster, tasks_of, durations):
    """MinJobAge is 2 s, and sacct lags."""
    tasks = tasks_of(forgetful_cluster)
    for _ in range(durations.tasks):
        tasks.new()
    failing = tasks.new("echo first; echo last; exit 4")
    with faults.lagging_accounting(forgetful_cluster, seconds=durations.accounting_lag) as lag:
        tasks.run(lost_after_seconds=20 * durations.accounting_lag)
        assert lag.hits() > 1
    assert isinstance(failing.error, JobFailed)
    assert failing.entry.exit_code == 4
    assert {each.entry.source for each in tasks.attempts} == {"sacct"}
    failing.error = None
    assert_all_well(tasks)


def test_accounting_never_hears_of_a_job(forgetful_cluster, tasks_of, durations):
    """MinJobAge is 2 s, and sacct lags for ever: slurmctld or the job's own marker tells its end."""
    tasks = tasks_of(forgetful_cluster)
    for _ in range(durations.tasks):
        tasks.new()
    failing = tasks.new("echo first; echo last; exit 4")
    with faults.lagging_accounting(forgetful_cluster, seconds=86_400) as lag:
        tasks.run()
        assert lag.hits() > 1
    assert {each.entry.source for each in tasks.attempts} <= {"scontrol", "marker"}
    assert (failing.entry.state, failing.entry.exit_code) == (JobState.FAILED, 4)
    failing.error = None
    assert_all_well(tasks)


def test_lost_answer_and_late_accounting(forgetful_cluster, tasks_of, durations):
    """MinJobAge is 2 s, sacct lags, and the answer to sbatch is lost for a job that is over at once."""
    tasks = tasks_of(forgetful_cluster)
    for _ in range(durations.tasks):
        tasks.new("echo first; echo last")
    # The answer comes when slurmctld has forgotten the job.
    body = f'real "$@" >/dev/null\nsleep 8\nprintf "%s\\n" "{faults.TIMED_OUT}" >&2\nexit 1'
    with (
        faults.lagging_accounting(forgetful_cluster, seconds=86_400),
        faults.replaced(forgetful_cluster, "sbatch", body) as lost,
    ):
        tasks.run()
        assert lost.hits() == durations.tasks
    assert_all_well(tasks)


def test_no_accounting(bare_cluster, tasks_of, durations):
    """No accounting at all: jobs that end well, fail, are cancelled while they wait, and whose answer was lost."""
    tasks = tasks_of(bare_cluster)
    good = [tasks.new() for _ in range(min(5, durations.tasks))]
    failing = tasks.new("echo first; echo last; exit 4")
    cancelled = tasks.new(sbatch_options={"hold": True})

    async def cancel(_):
        while "PENDING" not in cancelled.words():  # noqa: ASYNC110 - events come one by one
            await asyncio.sleep(0.05)
        await asyncio.to_thread(bare_cluster.run, "scancel", cancelled.submitted.job_id)

    with faults.lost_answer(bare_cluster, times=2) as lost:
        tasks.run(cancel)
        assert lost.hits() == 2
    assert (failing.entry.state, failing.entry.exit_code) == (JobState.FAILED, 4)
    # One that never ran left no marker: who does not look before slurmctld forgets it can't tell what became of it.
    assert isinstance(cancelled.error, JobCancelled | JobLost)
    assert [each.error for each in good] == [None] * len(good)
    tasks.attempts.remove(cancelled)
    assert "sacct" not in {each.entry.source for each in tasks.attempts}
    tasks.settle()
    assert tasks.starts(cancelled) == []


def test_job_ids_wrap(bare_cluster, tasks_of):
    """MaxJobId is so small that ids come round again while tasks are still followed, without accounting."""
    tasks = tasks_of(bare_cluster)
    long = tasks.new("echo first; sleep 8; echo last")

    async def more(tracker):
        while "RUNNING" not in long.words():  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.05)
        for _ in range(4):
            some = [tasks.new("echo first; echo last") for _ in range(3)]
            await asyncio.gather(*(tasks.carry_out(tracker, each) for each in some))

    tasks.run(more)
    assert len({each.submitted.job_id for each in tasks.attempts}) < len(tasks.attempts)
    assert_all_well(tasks)


def test_job_ids_wrap_with_accounting(start_brief_cluster, tasks_of):
    """MaxJobId is so small that ids come round again, and accounting knows all jobs that had them."""
    cluster = start_brief_cluster(first_job_id=100, max_job_id=104, min_job_age_seconds=2, message_timeout_seconds=3)
    tasks = tasks_of(cluster)
    codes = [0, 3, 0, 5, 0, 0, 7, 0, 9]

    async def one_after_another(tracker):
        for first in range(0, len(codes), 3):
            some = [tasks.new(f"echo first; echo last; exit {code}") for code in codes[first : first + 3]]
            await asyncio.gather(*(tasks.carry_out(tracker, each) for each in some))

    tasks.beside(one_after_another)
    assert len({each.submitted.job_id for each in tasks.attempts}) < len(codes)
    assert [each.entry.exit_code for each in tasks.attempts] == codes
    for each in tasks.attempts:
        each.error = None
    assert_all_well(tasks)


@pytest.mark.parametrize("hours", [1, -1])
def test_clocks_differ(start_brief_cluster, tasks_of, durations, hours):
    """The cluster's clock is an hour ahead of (behind) Airflow's."""
    cluster = start_brief_cluster(clock_offset_seconds=hours * 3600, message_timeout_seconds=3)
    tasks = tasks_of(cluster)
    for _ in range(durations.tasks):
        tasks.new()
    held = tasks.new(sbatch_options={"hold": True}, follow={"max_pending_seconds": 1800.0})

    async def release(_):
        while "PENDING" not in held.words():  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.05)
        await asyncio.to_thread(cluster.run, "scontrol", "release", held.submitted.job_id)

    with faults.lost_answer(cluster, times=1) as lost:
        tasks.run(release)
        assert lost.hits() == 1
    for each in tasks.attempts:
        assert abs(each.entry.ended_at - time.time() - hours * 3600) < 600
        assert each.entry.usage.elapsed_seconds < 600
    assert_all_well(tasks)
