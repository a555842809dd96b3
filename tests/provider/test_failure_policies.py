"""Failures that another submission cures: what is submitted, what is recorded, and what the task says in the end."""

import pytest

from headnode.slurm.record import JobRecord
from headnode.testing.faults import replaced

pytestmark = [pytest.mark.airflow, pytest.mark.cluster]

OUT_OF_MEMORY = "real \"$@\" | sed 's/|FAILED|9:0|/|OUT_OF_MEMORY|0:125|/'; exit 0"


def node_of(slurm_cluster, task_id):
    """Return the node on which the task's job runs, empty while it does not."""
    name = f"--name=failure_policies.{task_id}"
    return slurm_cluster.run("squeue", "-h", "--states=RUNNING", "--format=%N", name).stdout.strip()


@pytest.fixture(scope="module")
def policies(start, airflow, slurm_cluster, wait_until):
    """Return a run during which a node failed and the triggerer was killed."""
    with replaced(slurm_cluster, "sacct", OUT_OF_MEMORY) as fault:
        run = start("failure_policies")
        node = wait_until(lambda: node_of(slurm_cluster, "other_node"), "the job runs", timeout_seconds=120)
        slurm_cluster.run("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")
        try:
            wait_until(lambda: len(submissions(run, "restarted")) == 2, "it is submitted again", timeout_seconds=180)
            run.wait_for_record("restarted", state="RUNNING")
            airflow.kill("triggerer")
            airflow.start_component("triggerer")
            assert run.wait() == "failed"
        finally:
            # A node that answers may have come back by itself, which is no error.
            slurm_cluster.run("scontrol", "update", f"NodeName={node}", "State=RESUME", check=False)
        assert fault.hits()
    return run


def submissions(run, task_id):
    """Return the submissions in the record of a task."""
    record = run.record(task_id)
    return JobRecord.model_validate(record).submissions if record else []


def test_only_those_fail_that_can_not_be_cured(policies):
    """One has reached its limit, one has waited for too long."""
    assert {task_id for task_id, state in policies.states().items() if state != "success"} == {
        "limited",
        "never_starts",
    }
    assert {policies.tries(task_id) for task_id in policies.states()} == {1}


@pytest.mark.parametrize(
    ("task_id", "sizes", "result"),
    [
        ("more_memory", ["100M", "200M", "250M"], 250),
        ("in_triggerer", ["200M", "250M"], 250),
        ("restarted", ["200M", "400M"], 400),
    ],
)
def test_memory_grows_until_it_is_enough(policies, sacct, task_id, sizes, result):
    """Each submission is one job, also where the triggerer was killed, and the record has them all."""
    assert policies.xcom(task_id) == result
    jobs = sacct("JobID", "ReqMem", name=f"failure_policies.{task_id}")
    assert [job["ReqMem"] for job in jobs] == sizes
    made = submissions(policies, task_id)
    assert [each.job_id for each in made] == [job["JobID"] for job in jobs]
    assert [each.number for each in made] == list(range(1, len(sizes) + 1))
    assert [each.state for each in made] == [*["OUT_OF_MEMORY"] * (len(sizes) - 1), "COMPLETED"]
    reasons = [
        f"job {before.job_id} ran out of memory with {had} on each node; now it gets {gets}"
        for before, had, gets in zip(made, sizes, sizes[1:], strict=False)
    ]
    assert [each.reason for each in made] == ["first submission of this try", *reasons]
    log = policies.log(task_id)
    assert all(reason in log for reason in reasons)
    record = policies.record(task_id)
    assert (record["job_id"], record["state"]) == (made[-1].job_id, "COMPLETED")
    assert record["log_path"] == f"{made[-1].directory}/output.log"


def test_at_the_limit_the_task_fails_and_tells_of_all_its_jobs(policies):
    """The error names the jobs, the limit and the last job's end."""
    log = policies.log("limited")
    error = log[log.index("JobOutOfMemory: ") :]
    first, second = submissions(policies, "limited")
    assert f"(jobs of this try: {first.job_id} OUT_OF_MEMORY, {second.job_id} OUT_OF_MEMORY)" in error
    assert f"job {second.job_id} on " in error
    assert "It is not submitted again: it had 150M and the limit is 150M" in error


def test_a_job_goes_on_from_its_checkpoint(policies):
    """Slurm warns it, it saves and asks to be run again; the next submission finds what was saved."""
    made = submissions(policies, "from_checkpoint")
    assert len(made) >= 2
    assert all("it goes on from its checkpoint" in each.reason for each in made[1:])
    *saved, last = policies.xcom("from_checkpoint")
    assert last == str(made[-1].number)
    assert saved == [str(made[-2].number)]
    assert made[-2].exit_code == 75
    assert policies.record("from_checkpoint")["requested"]["signal"] == "B:USR1@55"


def test_a_node_that_failed_is_excluded(policies):
    """The second submission runs elsewhere."""
    first, second = submissions(policies, "other_node")
    assert (first.state, second.state) == ("NODE_FAIL", "COMPLETED")
    assert second.reason == f"job {first.job_id} ended as NODE_FAIL; now it runs without {first.nodes}"
    assert second.nodes != first.nodes


def test_a_job_that_waits_for_too_long_is_cancelled(policies, sacct):
    """The error has Slurm's reason."""
    log = policies.log("never_starts")
    error = log[log.index("JobPendingTooLong: ") :]
    job_id = policies.record("never_starts")["job_id"]
    assert f"job {job_id} on " in error
    assert "max_pending is 3 s" in error
    assert "BeginTime" in error
    assert "It is cancelled" in error
    (job,) = sacct("State", name="failure_policies.never_starts")
    assert job["State"].startswith("CANCELLED")


def test_nothing_is_left_in_the_queue(policies, slurm_cluster):
    """Of none of the submissions."""
    names = slurm_cluster.run("squeue", "-h", "-o", "%j").stdout.split()
    assert policies.run_id
    assert not [name for name in names if name.startswith("failure_policies.")]
