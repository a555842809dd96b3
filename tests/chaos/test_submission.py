"""sbatch and its answer part company: every attempt has one job all the same."""

import asyncio

import pytest

from headnode.cluster.submission import submit
from headnode.testing import faults

pytestmark = pytest.mark.cluster


def assert_all_well(tasks):
    """Assert that all attempts ended well, with whole logs and one job each."""
    assert [each.error for each in tasks.attempts] == [None] * len(tasks.attempts)
    assert [each.log() for each in tasks.attempts] == ["first\nlast\n"] * len(tasks.attempts)
    tasks.settle()


def lost(cluster):
    """Let sbatch submit, and say that its request timed out."""
    return faults.lost_answer(cluster, times=None)


def silent(cluster):
    """Let sbatch submit, and exit 1 without a word."""
    return faults.silent_failure(cluster, times=None)


@pytest.mark.parametrize("fault", [lost, silent])
def test_sbatch_submits_and_says_that_it_failed(chaos_cluster, tasks, durations, fault):
    """Sbatch submits, then reports "Socket timed out" or exits 1."""
    for _ in range(durations.tasks):
        tasks.new()
    with fault(chaos_cluster) as broken:
        tasks.run()
        assert broken.hits() == durations.tasks
    assert_all_well(tasks)


def test_sbatch_fails_before_it_submits(chaos_cluster, tasks, durations):
    """Sbatch times out before anything was submitted, once."""
    for _ in range(durations.tasks):
        tasks.new()
    with faults.failing(chaos_cluster, "sbatch", message=faults.TIMED_OUT, times=durations.tasks) as broken:
        tasks.run()
        assert broken.hits() == durations.tasks
    assert_all_well(tasks)


def test_sbatch_is_slow_to_answer(chaos_cluster, tasks, durations):
    """Sbatch submits and answers late, while the same attempt is made again by another process."""
    tasks.new()

    async def again(tracker):
        while not broken.hits():  # noqa: ASYNC110 - another process makes them
            await asyncio.sleep(0.05)
        return await tracker.run(submit(tasks.attempts[0].request, settle_seconds=durations.settle))

    with faults.hanging(chaos_cluster, "sbatch", seconds=durations.hang, after=True) as broken:
        second = tasks.run(again)
        assert broken.hits() == 1
    assert second.adopted
    assert second.job_id == tasks.attempts[0].submitted.job_id
    assert_all_well(tasks)


async def _submitted(tasks):
    """Wait until the cluster has a job for each attempt."""
    while len(tasks.cluster.run("squeue", "-h", "-o", "%i").stdout.split()) < len(tasks.attempts):  # noqa: ASYNC110
        await asyncio.sleep(0.05)


def test_connection_drops_before_the_answer(chaos_cluster, tasks, durations):
    """The connection drops when sbatch has submitted and before it answers."""
    for _ in range(durations.tasks):
        tasks.new()

    async def drop(_):
        await _submitted(tasks)
        assert proxy.cut() > 0

    with faults.hanging(chaos_cluster, "sbatch", seconds=1.0, after=True) as broken, chaos_cluster.proxy() as proxy:
        tasks.run(drop, port=proxy.port)
        assert broken.hits() == durations.tasks
    assert_all_well(tasks)


@pytest.mark.parametrize("answer_bytes", [1, 100])
def test_connection_drops_in_or_after_the_answer(chaos_cluster, tasks, durations, answer_bytes):
    """The connection drops while the answer comes, or after its last byte and before the exit status."""
    for _ in range(durations.tasks):
        tasks.new()

    async def drop(_):
        await _submitted(tasks)
        await asyncio.to_thread(proxy.hold_answers)
        # By now the step has written the ids down and answered, into the proxy's hands.
        await asyncio.sleep(1.5)
        proxy.release_then_cut(answer_bytes=answer_bytes)

    with faults.hanging(chaos_cluster, "sbatch", seconds=1.0, after=True), chaos_cluster.proxy() as proxy:
        tasks.run(drop, port=proxy.port)
        assert proxy.accepted() > 1
    assert_all_well(tasks)


def test_network_swallows_everything(chaos_cluster, tasks, durations):
    """The network swallows everything for a while when sbatch has submitted; no end of a connection is seen."""
    for _ in range(durations.tasks):
        tasks.new()

    async def swallow(_):
        await _submitted(tasks)
        proxy.blackhole()
        await asyncio.sleep(durations.sshd_down)
        proxy.cut()
        proxy.release()

    with faults.hanging(chaos_cluster, "sbatch", seconds=1.0, after=True), chaos_cluster.proxy() as proxy:
        tasks.run(swallow, port=proxy.port)
        assert proxy.accepted() > 1
    assert_all_well(tasks)
