"""Conditions on a real cluster: each becomes true when the cluster changes, and all cost one command an interval."""

import asyncio
import time
from datetime import UTC, datetime

import pytest

from headnode.cluster.conditions import JobNamed, Met, NoMaintenance, NotYet, PartitionFree, PathExists
from headnode.cluster.outages import OutageBegan, OutageOver, Service
from headnode.cluster.tracker import Tracker
from headnode.cluster.watching import Conditions
from headnode.errors import CommandRefused

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(150)]

POLL_SECONDS = 1.0


class Counted:
    """A connection that keeps the commands it is given."""

    def __init__(self, transport):
        self.transport = transport
        self.host = transport.host
        self.commands = []

    async def run(self, command):
        """Run the command."""
        self.commands.append(command.stdin.decode())
        return await self.transport.run(command)

    async def close(self):
        """Close the connection."""
        await self.transport.close()


@pytest.fixture
def watched(connect):
    """Return a function that runs ``play(transport, conditions)``."""

    def run(play):
        async def with_conditions():
            transport = Counted(connect())
            pace = {"poll_seconds": POLL_SECONDS, "poll_max_seconds": POLL_SECONDS}
            conditions = Conditions(Tracker(transport, **pace), **pace)
            try:
                return await asyncio.wait_for(play(transport, conditions), 120)
            finally:
                await transport.close()

        return asyncio.run(with_conditions())

    return run


@pytest.fixture
def changed(watched):
    """Return a function that waits for a condition, makes ``change()`` when it does not hold, and returns both."""

    def run(condition, change):
        async def play(_, conditions):
            why, found = None, None
            async for event in conditions.watch(condition, outage_tolerance_seconds=60.0):
                if isinstance(event, NotYet) and why is None:
                    why = event.why
                    await asyncio.to_thread(change)
                found = event.found if isinstance(event, Met) else None
            return why, found

        return watched(play)

    return run


@pytest.fixture
def reserve(slurm_cluster):
    """Return a function that makes a reservation and returns what ends it."""
    made = []

    def make(name, *flags, nodes="n1", start="now+1hours"):
        slurm_cluster.run(
            "scontrol", "create", "reservation", f"reservationname={name}", f"starttime={start}", "duration=30",
            f"user={slurm_cluster.user}", f"nodes={nodes}", *(f"flags={flag}" for flag in flags),
        )  # fmt: skip
        made.append(name)
        return lambda: slurm_cluster.run("scontrol", "delete", "reservation", name, check=False)

    yield make
    for name in made:
        slurm_cluster.run("scontrol", "delete", "reservation", name, check=False)


def submit(cluster, *options, command="sleep 120"):
    """Submit a job and wait until it runs; return its id."""
    job_id = cluster.run("sbatch", "--parsable", "--output=/dev/null", *options, "--wrap", command).stdout.strip()
    deadline = time.monotonic() + 30
    while "PENDING" in cluster.run("squeue", "-h", "-o", "%T", f"--jobs={job_id},{job_id}").stdout:
        assert time.monotonic() < deadline, "the job did not start"
        time.sleep(0.2)
    return job_id


def test_free_gpus(slurm_cluster, changed):
    """A job that holds one of them keeps the wait up."""
    job_id = submit(slurm_cluster, "--partition=gpu", "--gpus=1", "--mem=10M")
    why, found = changed(PartitionFree(partition="gpu", gpus=4), lambda: slurm_cluster.run("scancel", job_id))
    assert why == "partition gpu has 3 of the 4 GPUs free that are waited for"
    assert found == {"partition": "gpu", "free_nodes": 2, "free_gpus": 4}


def test_free_nodes(slurm_cluster, changed):
    """A drained node is not free."""
    slurm_cluster.run("scontrol", "update", "nodename=n1", "state=drain", "reason=test")

    def resume():
        slurm_cluster.run("scontrol", "update", "nodename=n1", "state=resume")

    try:
        why, found = changed(PartitionFree(partition="batch", nodes=4), resume)
    finally:
        slurm_cluster.run("scontrol", "update", "nodename=n1", "state=resume", check=False)
    assert why == "partition batch has 3 of the 4 nodes free that are waited for"
    assert found["free_nodes"] == 4


def test_no_such_partition(watched):
    """Is said at once, and is nothing to wait for."""

    async def play(_, conditions):
        async for _event in conditions.watch(PartitionFree(partition="no", nodes=1), outage_tolerance_seconds=60.0):
            pass

    with pytest.raises(CommandRefused, match="no partition 'no'"):
        watched(play)


def test_maintenance(reserve, changed, watched):
    """Only that of the partition's nodes counts, within the time, by the cluster's own clock."""
    end = reserve("headnode_test", "maint")

    async def play(_, conditions):
        found = []
        for condition in (
            NoMaintenance(within_seconds=7200.0, partition="gpu"),
            NoMaintenance(within_seconds=1800.0, partition="batch"),
        ):
            events = [event async for event in conditions.watch(condition, outage_tolerance_seconds=60.0)]
            found += [type(event) for event in events]
        return found

    assert watched(play) == [Met, Met]
    why, found = changed(NoMaintenance(within_seconds=7200.0, partition="batch"), end)
    assert why.startswith("maintenance headnode_test of n1 begins at 20")
    assert abs(found["free_until"] - 7200 - datetime.now(UTC).timestamp()) < 60


def test_maintenance_that_goes_on(reserve, changed):
    """Also counts where nothing is asked of the future."""
    end = reserve("headnode_now", "maint,ignore_jobs", start="now")
    why, found = changed(NoMaintenance(within_seconds=0.0), end)
    assert "headnode_now of n1 began at" in why
    assert found["partition"] is None


def test_job_by_name(slurm_cluster, changed):
    """The newest counts, be it queued, running or over; accounting remembers what squeue has forgotten."""
    jobs = []
    why, found = changed(
        JobNamed(name="it's me"),
        lambda: jobs.extend(submit(slurm_cluster, "--job-name=it's me", command="true") for _ in range(2)),
    )
    assert why == 'no job "it\'s me" was submitted in the last 24 h'
    # The look may have fallen between the two submissions.
    assert found["job_id"] in jobs


def test_stable_path(tmp_path, changed):
    """A file that grows is waited for until it has been quiet, by the cluster's clock."""
    file = tmp_path / "growing"
    file.write_text("begun")
    why, found = changed(PathExists(path=str(file), stable_seconds=3.0), lambda: file.write_text("begun and ended"))
    assert "(5 bytes) has changed at" in why
    assert found["size"] == 15
    assert time.time() - found["mtime"] >= 3.0


def test_twenty_conditions_cost_one_command_an_interval(slurm_cluster, tmp_path, watched):
    """With one sinfo and one scontrol in it, over one login."""
    kinds = [PartitionFree(partition="batch", nodes=4), PartitionFree(partition="gpu", gpus=4)]
    kinds += [PathExists(path=f"{tmp_path}/{number}") for number in range(10)]
    kinds += [NoMaintenance(within_seconds=60.0 * number) for number in range(4)]
    kinds += [NoMaintenance(within_seconds=60.0 * number, partition="gpu") for number in range(4)]
    waiting = [PathExists(path=f"{tmp_path}/last"), PartitionFree(partition="batch", nodes=4)]

    async def play(transport, conditions):
        logins, began = slurm_cluster.logins(), time.monotonic()

        async def wait(condition):
            return [event async for event in conditions.watch(condition, lasting=True, outage_tolerance_seconds=60.0)]

        tasks = [asyncio.create_task(wait(condition)) for condition in [*kinds, *waiting]]
        await asyncio.sleep(6 * POLL_SECONDS)
        intervals = (time.monotonic() - began) / POLL_SECONDS
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return list(transport.commands), intervals, slurm_cluster.logins() - logins

    commands, intervals, logins = watched(play)
    assert 2 <= len(commands) <= intervals + 1
    for command in commands:
        assert command.count(" sinfo ") == command.count(" scontrol show reservation ") == 1
        assert command.count(f" look {tmp_path}/") == 11
    assert logins == 1


def test_outages_of_slurm_and_of_ssh(slurm_cluster, tmp_path, watched):
    """A silent slurmctld holds up what asks for it and no path; a silent sshd holds up all; both pass."""

    async def play(_, conditions):
        kinds = NoMaintenance(within_seconds=10.0), PathExists(path=f"{tmp_path}/there")
        slurm, path = (conditions.watch(kind, lasting=True, outage_tolerance_seconds=100.0) for kind in kinds)
        first = [await anext(slurm), await anext(path)]
        slurm_cluster.stop_slurmctld()
        began = await anext(slurm)
        (tmp_path / "there").write_text("x")
        there = await anext(path)
        slurm_cluster.start_slurmctld()
        over = await anext(slurm)
        slurm_cluster.stop_sshd()
        cut = [await anext(slurm), await anext(path)]
        slurm_cluster.start_sshd()
        back = [await anext(slurm), await anext(path)]
        return first, (began, there, over), cut, back

    try:
        first, (began, there, over), cut, back = watched(play)
    finally:
        slurm_cluster.start_slurmctld()
        slurm_cluster.start_sshd()
    assert [type(event) for event in first] == [Met, NotYet]
    assert (type(began), began.service) == (OutageBegan, Service.SLURMCTLD)
    assert isinstance(there, Met)
    assert (type(over), over.service) == (OutageOver, Service.SLURMCTLD)
    assert [(type(event), event.service) for event in cut] == [(OutageBegan, Service.SSH)] * 2
    assert [type(event) for event in back] == [OutageOver] * 2
