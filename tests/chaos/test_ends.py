"""Jobs end in every way that is not success, are requeued or held: the attempt says what happened, of one job."""

import asyncio

import pytest

from headnode.cluster.submission import submit
from headnode.errors import JobCancelled, JobFailed, JobOutOfMemory, JobPendingTooLong, JobTimedOut, NodeFailed
from headnode.slurm.states import JobState
from headnode.testing import faults

pytestmark = pytest.mark.cluster

FILL_MEMORY = "python3 -c \"import time; data = b'x' * 300_000_000; time.sleep(30)\""


@pytest.fixture(scope="module")
def hard_cluster(start_cluster):
    """Give a cluster that enforces memory and preempts."""
    return start_cluster(preemption=True, enforce_memory=True, message_timeout_seconds=3)


@pytest.fixture(scope="module")
def failing_cluster(start_cluster):
    """Give a cluster that finds a dead node within seconds."""
    return start_cluster(slurmd_timeout_seconds=5, message_timeout_seconds=3)


@pytest.fixture(scope="module", autouse=True)
def expiring(failing_cluster, tasks_in, tmp_path_factory):
    """Give tasks with one whose job begins now and runs into its limit while other tests run.

    No limit is shorter than a minute, and slurmctld looks at limits every 30 s.
    """
    tasks = tasks_in(failing_cluster, tmp_path_factory.mktemp("expiring"))
    attempt = tasks.new("sleep 600", sbatch_options={"nodelist": "n1"})
    job = tasks.beside(lambda tracker: tracker.run(submit(attempt.request)))
    running = ("squeue", "-h", "-t", "RUNNING", "-o", "%i")
    tasks.wait(lambda: job.job_id in failing_cluster.run(*running).stdout.split(), "the job runs")
    failing_cluster.run("scontrol", "update", f"JobId={job.job_id}", "EndTime=now+1")
    return tasks


@pytest.fixture
def hard_tasks(hard_cluster, tasks_of):
    """Return the tasks of a row on it."""
    return tasks_of(hard_cluster)


async def seen(attempt, word):
    """Wait until the job was seen in a state."""
    while word not in attempt.words():  # noqa: ASYNC110 - events come one by one
        await asyncio.sleep(0.05)


def test_out_of_memory(hard_cluster, hard_tasks):
    """A job takes more memory than it asked for."""
    tasks = hard_tasks
    greedy = tasks.new(FILL_MEMORY, memory="40M")
    modest = tasks.new()
    if hard_cluster.says_out_of_memory:
        tasks.run()
    else:
        # Slurm kills it all the same, and calls it FAILED where it can't make cgroups.
        body = 'real "$@" | sed "s/|FAILED|/|OUT_OF_MEMORY|/"; exit 0'
        with faults.replaced(hard_cluster, "sacct", body):
            tasks.run()
    assert isinstance(greedy.error, JobOutOfMemory)
    assert greedy.entry.state is JobState.OUT_OF_MEMORY
    assert modest.error is None
    tasks.settle()


def test_administrator_cancels(hard_cluster, hard_tasks):
    """An administrator cancels a job that runs, one that waits, and one without asking it."""
    running, waiting, killed = hard_tasks.new("sleep 60"), hard_tasks.new(sbatch_options={"hold": True}), None
    killed = hard_tasks.new("trap '' TERM; sleep 60")

    async def cancel(_):
        await asyncio.gather(seen(running, "RUNNING"), seen(killed, "RUNNING"), seen(waiting, "PENDING"))
        for attempt, options in ((running, ()), (waiting, ()), (killed, ("--signal=KILL", "--full"))):
            await asyncio.to_thread(hard_cluster.run, "scancel", *options, attempt.submitted.job_id)

    hard_tasks.run(cancel)
    assert isinstance(running.error, JobCancelled)
    assert isinstance(waiting.error, JobCancelled)
    # Slurm calls a job that was ended by a signal FAILED, or CANCELLED, by its version.
    assert isinstance(killed.error, JobCancelled | JobFailed)
    assert hard_tasks.starts(waiting) == []
    hard_tasks.attempts.remove(waiting)
    hard_tasks.settle()
    assert len(hard_tasks.jobs(waiting)) == 1


def test_administrator_holds(hard_cluster, hard_tasks):
    """An administrator holds a job and releases it later; another one stays held for too long."""
    held = hard_tasks.new(sbatch_options={"hold": True})
    forgotten = hard_tasks.new(sbatch_options={"hold": True}, follow={"max_pending_seconds": 4.0})

    async def release(_):
        while not any("JobHeld" in (reason or "") for reason in held.reasons()):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.05)
        await asyncio.to_thread(hard_cluster.run, "scontrol", "release", held.submitted.job_id)

    hard_tasks.run(release)
    assert held.error is None
    assert isinstance(forgotten.error, JobPendingTooLong)
    # Whether it is cancelled is its follower's decision, which the operator makes.
    assert hard_tasks.queued() == [forgotten.submitted.job_id]
    hard_cluster.run("scancel", forgotten.submitted.job_id)
    hard_tasks.wait_until_empty()
    assert hard_tasks.starts(forgotten) == []
    assert [len(hard_tasks.jobs(each)) for each in (held, forgotten)] == [1, 1]
    assert len(hard_tasks.starts(held)) == 1


def test_requeued_by_administrator(hard_cluster, hard_tasks):
    """An administrator requeues a job, and requeues and holds another one; both keep their ids."""
    # Long enough to be seen while it runs.
    requeued, held = hard_tasks.new(), hard_tasks.new(f"sleep {2 + 3 * hard_tasks.durations.poll}")

    async def requeue(_):
        await asyncio.gather(seen(requeued, "RUNNING"), seen(held, "RUNNING"))
        await asyncio.to_thread(hard_cluster.run, "scontrol", "requeue", requeued.submitted.job_id)
        await asyncio.to_thread(hard_cluster.run, "scontrol", "requeuehold", held.submitted.job_id)
        while not any("held" in (reason or "").casefold() for reason in held.reasons()):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.05)
        # Where it starts again at once, on the node that still ends its first run, Slurm fails to launch it.
        await asyncio.sleep(3)
        for job in (requeued, held):
            # Slurm lets a requeued job wait for two minutes.
            await asyncio.to_thread(hard_cluster.run, "scontrol", "release", job.submitted.job_id, check=False)
            await asyncio.to_thread(
                hard_cluster.run, "scontrol", "update", f"JobId={job.submitted.job_id}", "StartTime=now", check=False
            )

    hard_tasks.run(requeue)
    assert [each.error for each in hard_tasks.attempts] == [None, None]
    hard_tasks.settle(starts=2)
    for each in hard_tasks.attempts:
        assert set(hard_tasks.starts(each)) == {each.submitted.job_id}


def test_preempted(hard_cluster, hard_tasks):
    """A job of higher priority preempts another one, which is requeued and ends well under the same id."""
    victim = hard_tasks.new(partition="preemptable", nodes=2, sbatch_options={"exclusive": True})
    urgent = hard_tasks.new("sleep 1", partition="urgent", sbatch_options={"exclusive": True, "hold": True})

    async def preempt(_):
        await asyncio.gather(seen(victim, "RUNNING"), seen(urgent, "PENDING"))
        await asyncio.to_thread(hard_cluster.run, "scontrol", "release", urgent.submitted.job_id)
        await seen(urgent, "COMPLETED")
        await asyncio.to_thread(
            hard_cluster.run, "scontrol", "update", f"JobId={victim.submitted.job_id}", "StartTime=now", check=False
        )

    hard_tasks.run(preempt)
    assert [each.error for each in hard_tasks.attempts] == [None, None]
    assert hard_tasks.starts(victim) == [victim.submitted.job_id] * 2
    assert hard_tasks.starts(urgent) == [urgent.submitted.job_id]
    hard_tasks.wait_until_empty()
    assert [len(hard_tasks.jobs(each)) for each in hard_tasks.attempts] == [1, 1]


def test_dependency_never_satisfied(hard_cluster, hard_tasks):
    """A job waits for one that failed: it says so, and fails after the longest wait that was set."""
    first = hard_cluster.run("sbatch", "--parsable", "--output=/dev/null", "--wrap=sleep 2; exit 1").stdout.strip()
    job = hard_tasks.new(sbatch_options={"dependency": f"afterok:{first}"}, follow={"max_pending_seconds": 6.0})
    hard_tasks.run()
    assert isinstance(job.error, JobPendingTooLong)
    assert "DependencyNeverSatisfied" in job.reasons()
    hard_cluster.run("scancel", job.submitted.job_id)
    hard_tasks.settle(starts=0)


def test_one_element_of_many_fails(hard_tasks, durations):
    """One element of 1000 (100 where time is short) ends with an exit code other than 0."""
    elements = durations.elements
    array = hard_tasks.new("exit $((SLURM_ARRAY_TASK_ID == 61 ? 9 : 0))", sbatch_options={"array": f"0-{elements - 1}"})
    hard_tasks.run()
    assert isinstance(array.error, JobFailed)
    assert f"1 of {elements} elements with exit code 9" in str(array.error)
    assert [index for index, end in array.entry.element_ends.items() if end.state is JobState.FAILED] == [61]
    assert len(array.entry.element_ends) == elements
    hard_tasks.settle(starts=elements)


def test_node_is_killed(failing_cluster, tasks_of):
    """A node is killed under two jobs: one ends as NODE_FAIL, the other one is requeued and ends well."""
    cluster = failing_cluster
    tasks = tasks_of(cluster)
    fragile = tasks.new("sleep 60", sbatch_options={"nodelist": "n2", "no-requeue": None})
    robust = tasks.new(sbatch_options={"nodelist": "n2", "requeue": None})
    elsewhere = tasks.new(sbatch_options={"nodelist": "n1"})

    async def kill(_):
        await asyncio.gather(seen(fragile, "RUNNING"), seen(robust, "RUNNING"))
        await asyncio.to_thread(cluster.stop_node, "n2")
        while "NODE_FAIL" not in fragile.words():  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.05)
        # Slurm lets a requeued job wait for two minutes, and it asked for the dead node.
        change = ("scontrol", "update", f"JobId={robust.submitted.job_id}", "ReqNodeList=n1", "StartTime=now")
        while (await asyncio.to_thread(cluster.run, *change, check=False)).returncode:  # noqa: ASYNC110
            await asyncio.sleep(0.5)

    try:
        tasks.run(kill)
    finally:
        cluster.start_node("n2")
    assert isinstance(fragile.error, NodeFailed)
    assert robust.error is None
    assert elsewhere.error is None
    assert tasks.starts(robust) == [robust.submitted.job_id] * 2
    tasks.attempts.remove(robust)
    tasks.settle()
    assert len(tasks.jobs(robust)) == 1


def test_time_limit(expiring):
    """A job runs into its time limit."""
    expiring.run()
    (job,) = expiring.attempts
    assert isinstance(job.error, JobTimedOut)
    assert job.entry.state is JobState.TIMEOUT
    expiring.settle()
