"""Dependencies and heterogeneous jobs as Slurm itself has them."""

import asyncio
import time
from dataclasses import replace

import pytest

from headnode.cluster.cancellation import withdraw
from headnode.cluster.dependencies import known_jobs, never_satisfied, set_dependency
from headnode.cluster.submission import submit
from headnode.cluster.tracker import JobOver, StateSeen, Tracker
from headnode.errors import ControllerUnavailable
from headnode.slurm.states import JobState

pytestmark = pytest.mark.cluster

NEVER_GIVEN = "67043327"
COMPONENTS = [{"partition": "gpu", "ntasks": 2, "memory": "20M"}]


@pytest.fixture
def dependent(slurm_cluster, ask, new_request):
    """Return the ids of a job that failed, and of one that waits for it in vain."""
    failed = ask(submit(new_request(("sh", "-c", "sleep 2; exit 3")))).job_id
    options = (f"--dependency=afterok:{failed}", "--kill-on-invalid-dep=no")
    request = replace(new_request(("true",)), options=options)
    waiting = ask(submit(request)).job_id
    deadline = time.monotonic() + 60
    while not ask(never_satisfied([waiting])):
        assert time.monotonic() < deadline, slurm_cluster.run("squeue").stdout
        time.sleep(0.5)
    return failed, waiting


def follow(connect, job_id, directory, elements):
    """Follow a job to its end; return its states and accounting's entry."""

    async def run():
        tracker = Tracker(connect(), poll_seconds=0.5, poll_max_seconds=1.0)
        states = []
        async for event in tracker.follow(
            job_id, directory=directory, elements=elements, outage_tolerance_seconds=30.0
        ):
            if isinstance(event, StateSeen):
                states.append(event.job.state_word)
            if isinstance(event, JobOver):
                await tracker.transport.close()
                return states, event.entry
        raise AssertionError("no end came")

    return asyncio.run(asyncio.wait_for(run(), 90))


def wait_until_running(slurm_cluster, job_id):
    """Wait until all components of the job run."""
    deadline = time.monotonic() + 60
    while set(slurm_cluster.run("squeue", "-h", "-o", "%t", f"--jobs={job_id},{job_id}").stdout.split()) != {"R"}:
        assert time.monotonic() < deadline, slurm_cluster.run("squeue").stdout
        time.sleep(0.2)


def test_a_job_that_waits_in_vain_is_given_another_dependency(
    ask, dependent, new_request, wait_until_over, slurm_cluster
):
    """It keeps its id and its place in the queue."""
    failed, waiting = dependent
    assert ask(never_satisfied([waiting])) == {waiting: f"afterok:{failed}(failed)"}
    other = ask(submit(new_request(("sleep", "1")))).job_id
    ask(set_dependency(waiting, f"afterok:{other}"))
    assert ask(never_satisfied([waiting, other])) == {}
    wait_until_over(waiting)
    deadline = time.monotonic() + 30
    while slurm_cluster.run("sacct", "-nPX", "-o", "State", f"--jobs={waiting}").stdout.strip() != "COMPLETED":
        assert time.monotonic() < deadline, "accounting hears of it a little later, but it did not"
        time.sleep(0.2)


def test_a_dependency_can_be_dropped(ask, dependent, wait_until_over):
    """When the other task was marked a success."""
    _, waiting = dependent
    ask(set_dependency(waiting, ""))
    wait_until_over(waiting)


def test_a_refusal_is_told(ask):
    """The job is gone meanwhile."""
    with pytest.raises(ControllerUnavailable, match="Invalid job id"):
        ask(set_dependency(NEVER_GIVEN, "afterok:1"))


def test_only_jobs_that_the_controller_knows_may_be_named(ask, dependent):
    """Slurm would take a dependency on any other id as met."""
    failed, waiting = dependent
    assert ask(known_jobs([failed, waiting, NEVER_GIVEN])) == {failed, waiting}
    assert ask(known_jobs([NEVER_GIVEN])) == set()


def test_a_heterogeneous_job_is_one_job(ask, connect, new_request):
    """It ends when all components have, and its usage is theirs together."""
    submitted = ask(submit(new_request(("srun", "--het-group=0,1", "hostname"), components=COMPONENTS)))
    _, entry = follow(connect, submitted.job_id, submitted.directory, 2)
    assert (entry.job_id, entry.state, entry.exit_code) == (submitted.job_id, JobState.COMPLETED, 0)
    assert (entry.elements, entry.usage.allocated_cpus, entry.usage.node_count) == (2, 3, 2)
    assert entry.usage.allocated_memory_bytes == 30 * 2**20


def test_the_worst_component_speaks_for_the_job(ask, connect, new_request, slurm_cluster):
    """One that was cancelled is no success, whatever the script's exit code."""
    submitted = ask(submit(new_request(("sleep", "4"), components=COMPONENTS)))
    wait_until_running(slurm_cluster, submitted.job_id)
    slurm_cluster.run("scancel", f"{submitted.job_id}+1")
    states, entry = follow(connect, submitted.job_id, submitted.directory, 2)
    assert "RUNNING" in states
    assert entry.state is JobState.CANCELLED
    assert entry.failed_elements == 1


def test_withdrawing_cancels_all_components(ask, new_request, slurm_cluster, wait_until_over):
    """Nothing is left in the queue."""
    request = new_request(("sleep", "60"), components=COMPONENTS)
    job_id = ask(submit(request)).job_id
    wait_until_running(slurm_cluster, job_id)
    assert ask(withdraw(request.place)) == [job_id]
    wait_until_over(job_id)

    def states():
        answer = slurm_cluster.run("sacct", "-nPX", "-o", "JobID,State", f"--jobs={job_id}").stdout
        return dict(line.split("|") for line in answer.splitlines())

    deadline = time.monotonic() + 30
    while "RUNNING" in states().values() and time.monotonic() < deadline:
        time.sleep(0.5)  # accounting hears of it a little later
    # Accounting may not have heard of the components yet when they are cancelled: then it has one row for all.
    assert set(states()) in ({f"{job_id}+0", f"{job_id}+1"}, {job_id})
    assert all(state.startswith("CANCELLED") for state in states().values())
