"""Parts of the cluster are away, or answer what they should not: tasks wait, and end right afterwards."""

import asyncio
import contextlib

import pytest

from headnode.testing import faults

pytestmark = pytest.mark.cluster


def assert_all_well(tasks):
    """Assert that all attempts ended well, with whole logs and one job each."""
    assert [each.error for each in tasks.attempts] == [None] * len(tasks.attempts)
    assert [each.log() for each in tasks.attempts] == ["first\nlast\n"] * len(tasks.attempts)
    tasks.settle()


async def seen_running(attempts):
    """Wait until all jobs were seen to run."""
    while not all("RUNNING" in each.words() for each in attempts):  # noqa: ASYNC110 - events come one by one
        await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def away(stop, start):
    """Stop a service for the time of the block."""
    await asyncio.to_thread(stop)
    try:
        yield
    finally:
        await asyncio.to_thread(start)


def test_sshd_is_down(chaos_cluster, tasks, durations):
    """Sshd is down while jobs run and end, and one task comes before it is back."""
    early = [tasks.new() for _ in range(durations.tasks)]
    late = tasks.new()

    async def outage(tracker):
        jobs = [asyncio.create_task(tasks.carry_out(tracker, each)) for each in early]
        await seen_running(early)
        async with away(chaos_cluster.stop_sshd, chaos_cluster.start_sshd):
            coming = asyncio.create_task(tasks.carry_out(tracker, late))
            await asyncio.sleep(durations.sshd_down)
            assert not coming.done()
        await asyncio.gather(coming, *jobs)

    tasks.beside(outage)
    for each in early:
        assert each.outages() == (["SSH"], ["SSH"])
    assert_all_well(tasks)


def test_slurmctld_is_down(chaos_cluster, tasks, durations):
    """Slurmctld is down while jobs run and end, is restarted, and one task comes before it is back."""
    early = [tasks.new() for _ in range(durations.tasks)]
    late = tasks.new()

    async def outage(tracker):
        jobs = [asyncio.create_task(tasks.carry_out(tracker, each)) for each in early]
        await seen_running(early)
        async with away(chaos_cluster.stop_slurmctld, chaos_cluster.start_slurmctld):
            coming = asyncio.create_task(tasks.carry_out(tracker, late))
            await asyncio.sleep(durations.slurmctld_down)
            assert not coming.done()
        await asyncio.gather(coming, *jobs)

    tasks.beside(outage)
    for each in early:
        assert each.outages() == (["slurmctld"], ["slurmctld"])
    assert_all_well(tasks)


def test_slurmdbd_is_down(chaos_cluster, tasks, durations):
    """Slurmdbd is down while jobs are submitted, run and end."""
    for _ in range(durations.tasks):
        tasks.new()

    async def outage(tracker):
        async with away(chaos_cluster.stop_slurmdbd, chaos_cluster.start_slurmdbd):
            jobs = [asyncio.create_task(tasks.carry_out(tracker, each)) for each in tasks.attempts]
            while not all(each.outages()[0] for each in tasks.attempts):  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.05)
            await asyncio.sleep(durations.slurmdbd_down)
            assert not any(job.done() for job in jobs)
        await asyncio.gather(*jobs)

    # slurmctld takes its time to send what it kept; sacct's word is better than the jobs' own.
    tasks.beside(outage, lost_after_seconds=10 * durations.lost_after)
    for each in tasks.attempts:
        assert each.outages() == (["slurmdbd"], ["slurmdbd"])
        assert each.entry.source == "sacct"
    assert_all_well(tasks)


def test_sacct_fails(chaos_cluster, tasks, durations):
    """Sacct fails several times in a row when jobs have ended."""
    for _ in range(durations.tasks):
        tasks.new()
    message = "sacct: error: slurmdbd: Unable to connect to database"
    with faults.failing(chaos_cluster, "sacct", message=message, times=4) as broken:
        tasks.run()
        assert broken.hits() == 4
    for each in tasks.attempts:
        assert "slurmdbd" in each.outages()[0]
    assert_all_well(tasks)


def test_sacct_fails_when_a_job_is_looked_for(chaos_cluster, tasks):
    """Sacct fails when the answer of sbatch was lost before it submitted: nothing is sent again until it answers."""
    tasks.new()
    with (
        faults.failing(chaos_cluster, "sbatch", message=faults.TIMED_OUT, times=1) as refused,
        faults.failing(chaos_cluster, "sacct", message="sacct: error: Connection refused", times=3) as broken,
    ):
        tasks.run()
        assert refused.hits() == 1
        assert broken.hits() == 3
    assert_all_well(tasks)


@pytest.mark.parametrize("command", ["squeue", "sacct"])
def test_half_an_answer(chaos_cluster, tasks, durations, command):
    """Squeue (sacct) answers with half a line, again and again."""
    for _ in range(durations.tasks):
        tasks.new()
    with faults.half_answer(chaos_cluster, command, times=4) as broken:
        tasks.run()
        assert broken.hits() == 4
    assert_all_well(tasks)


def test_squeue_is_empty(chaos_cluster, tasks, durations):
    """Squeue says nothing at all, and exits 0, while jobs run: they are not taken to have ended."""
    for _ in range(durations.tasks):
        tasks.new()
    with faults.replaced(chaos_cluster, "squeue", "exit 0", times=4) as broken:
        tasks.run()
        assert broken.hits() == 4
    assert_all_well(tasks)


def test_login_shell_prints_a_banner(chaos_cluster, tasks, durations):
    """The login shell prints a banner to standard output, with lines like Slurm's own."""
    text = "Welcome!\n\n4711\n1|RUNNING|n1|None\nheadnode:end:0\nQuota: 98 %  \x1b[31mred\x1b[0m"
    for _ in range(durations.tasks):
        tasks.new()
    logins = chaos_cluster.logins()
    with faults.banner(chaos_cluster, text):
        tasks.run()
    assert chaos_cluster.logins() == logins + 1
    assert_all_well(tasks)


def test_squeue_hangs(chaos_cluster, tasks, durations):
    """Squeue hangs for longer than a job takes."""
    for _ in range(durations.tasks):
        tasks.new()
    with faults.hanging(chaos_cluster, "squeue", seconds=durations.hang + durations.job, times=1) as broken:
        tasks.run()
        assert broken.hits() == 1
    assert_all_well(tasks)


def test_connection_is_cut_again_and_again(chaos_cluster, tasks, durations):
    """The connection is cut again and again while jobs are submitted and run."""
    for _ in range(durations.tasks):
        tasks.new()

    async def cut(_):
        for _ in range(5):
            await asyncio.sleep(0.6)
            proxy.cut()

    with chaos_cluster.proxy() as proxy:
        tasks.run(cut, port=proxy.port)
        assert proxy.accepted() > 2
    assert_all_well(tasks)
