"""Jobs that depend on the jobs of other tasks, and jobs of several components."""

import pytest

pytestmark = [pytest.mark.airflow, pytest.mark.cluster]

GATED = {
    "second": "afterok:{first}",
    "third": "afterok:{second}:{first}",
    "after_broken": "afterok:{broken}",
    "after_broken_in_triggerer": "afterok:{broken}",
    "after_any_end": "afterany:{broken}",
    "after_failure": "afternotok:{broken}",
    "after_retried": "afterok:{retried}",
}


def ids_of(run, *task_ids):
    """Return the job ids of those tasks that have one, by task."""
    records = {task_id: run.record(task_id) for task_id in task_ids}
    return {task_id: record["job_id"] for task_id, record in records.items() if record}


@pytest.fixture(scope="module")
def queued(start, slurm_cluster, tmp_path_factory):
    """Return a run that has ended, the ids of its jobs and what squeue said of them while the gate was closed."""
    gate = tmp_path_factory.mktemp("gate") / "open"
    run = start("dependency_jobs", gate=str(gate))
    try:
        ids = {task_id: run.wait_for_record(task_id)["job_id"] for task_id in (*GATED, "first", "broken", "retried")}
        run.wait_for_record("after_pairs")
        for index in range(2):
            run.wait_for_record("after_each", index)
        answer = slurm_cluster.run("squeue", "--noheader", "--format=%i|%T|%r|%E")
    finally:
        gate.touch()
    assert run.wait() == "failed"
    return run, ids, {line.split("|")[0]: line.split("|")[1:] for line in answer.stdout.splitlines()}


def test_only_those_fail_that_must(queued):
    """Whose dependency failed, or can't be met."""
    run, _, _ = queued
    states = run.states()
    failed = {task_id for task_id, state in states.items() if state != "success"}
    assert failed == {"broken", "after_broken", "after_broken_in_triggerer", "of_nobody", "before", "behind"}


def test_the_whole_chain_is_queued_at_once(queued):
    """While the first job runs, Slurm holds the others, each with the ids that it waits for."""
    _, ids, shown = queued
    for task_id, dependency in GATED.items():
        state, reason, waits_for = shown[ids[task_id]]
        assert (state, reason) == ("PENDING", "Dependency")
        expected = dependency.format(**ids).partition(":")
        kind, jobs = expected[0], expected[2].split(":")
        assert sorted(waits_for.split(",")) == sorted(f"{kind}:{job_id}(unfulfilled)" for job_id in jobs)


def test_the_chain_ran_in_order(queued, sacct):
    """As Slurm's own account has it."""
    _, ids, _ = queued
    jobs = {
        job["JobID"]: job
        for job in sacct("JobID", "Start", "End", "State", jobs=f"{ids['first']},{ids['second']},{ids['third']}")
    }
    assert {job["State"] for job in jobs.values()} == {"COMPLETED"}
    assert jobs[ids["first"]]["End"] <= jobs[ids["second"]]["Start"]
    assert jobs[ids["second"]]["End"] <= jobs[ids["third"]]["Start"]


def test_the_record_says_what_a_job_depended_on(queued):
    """And the log whom it waited for."""
    run, ids, _ = queued
    record = run.record("second")
    assert [each["dependency"] for each in record["submissions"]] == [f"afterok:{ids['first']}"]
    assert any(change["reason"] == "Dependency" for change in record["history"])
    assert f"job {ids['second']} is PENDING (Dependency: it waits for another job)" in run.log("second")


@pytest.mark.parametrize("task_id", ["after_broken", "after_broken_in_triggerer"])
def test_a_failed_dependency_fails_the_task_at_once_and_leaves_no_job(queued, sacct, task_id):
    """In plain words, without a retry: it could not help."""
    run, ids, _ = queued
    log = run.log(task_id)
    assert f"task 'broken' ended as failed, its job {ids['broken']} as FAILED with exit code 3" in log
    assert run.tries(task_id) == 1
    (job,) = sacct("State", "Start", jobs=ids[task_id])
    assert job["State"].startswith("CANCELLED")


def test_the_other_tasks_retry_is_waited_for(queued, sacct):
    """The job stays in the queue and depends on the new try's job; it is the only one."""
    run, ids, _ = queued
    second_try = run.record("retried")["job_id"]
    assert second_try != ids["retried"]
    assert run.record("after_retried")["job_id"] == ids["after_retried"]
    assert f"letting job {ids['after_retried']} depend on afterok:{second_try} from now on" in run.log("after_retried")
    jobs = {each["JobID"]: each for each in sacct("JobID", "Start", "End", jobs=f"{second_try},{ids['after_retried']}")}
    assert jobs[second_try]["End"] <= jobs[ids["after_retried"]]["Start"]


def test_what_has_ended_well_is_no_dependency_any_more(queued):
    """Slurm may have forgotten the job."""
    run, _, _ = queued
    assert run.record("after_quick")["submissions"][0]["dependency"] in (None, "")
    assert "leave out >> to queue both at once" in run.log("after_quick")


@pytest.mark.parametrize(
    ("task_id", "words"),
    [
        ("of_nobody", "there is no task 'nobody' in the DAG 'dependency_jobs'"),
        ("before", "'behind' waits for this task itself, so that neither could begin"),
    ],
)
def test_what_can_never_be_met_fails_at_once(queued, task_id, words):
    """Before anything is submitted, and no retry follows."""
    run, _, _ = queued
    assert words in run.log(task_id)
    assert run.tries(task_id) == 1
    assert run.record(task_id) is None


def test_jobs_of_one_name_run_one_after_the_other(queued, sacct):
    """With singleton."""
    run, _, _ = queued
    ids = ids_of(run, "alone_1", "alone_2")
    earlier, later = sorted(sacct("Start", "End", jobs=",".join(ids.values())), key=lambda job: job["Start"])
    assert earlier["End"] <= later["Start"]


def test_a_mapped_task_depends_on_its_counterpart(queued):
    """The instance with the same index."""
    run, _, _ = queued
    for index in range(2):
        other, own = run.record("each", index)["job_id"], run.record("after_each", index)
        assert own["submissions"][0]["dependency"] == f"afterok:{other}"


def test_an_arrays_second_round_is_waited_for(queued, sacct):
    """The dependent job goes over to the elements that run again."""
    run, _, _ = queued
    rounds = [each["job_id"] for each in run.record("tiles")["submissions"]]
    own = run.record("after_tiles")
    assert len(rounds) == 2
    assert [each["job_id"] for each in own["submissions"]] == [own["job_id"]]
    ends = [job["End"] for job in sacct("End", jobs=",".join(rounds))]
    (start,) = [job["Start"] for job in sacct("Start", jobs=own["job_id"])]
    assert max(ends) <= start


def test_elements_depend_on_their_counterparts(queued, sacct):
    """With aftercorr, an element does not wait for the whole of the other array."""
    run, _, _ = queued
    pairs, own = run.record("pairs")["job_id"], run.record("after_pairs")
    assert own["submissions"][0]["dependency"] == f"aftercorr:{pairs}"
    times = {job["JobID"]: job for job in sacct("JobID", "Start", "End", jobs=f"{pairs},{own['job_id']}")}
    for element in range(2):
        assert times[f"{pairs}_{element}"]["End"] <= times[f"{own['job_id']}_{element}"]["Start"]
    assert times[f"{own['job_id']}_0"]["Start"] < times[f"{pairs}_1"]["End"]


def test_a_job_of_several_components_is_one_job(queued, sacct):
    """Each component has what it asked for; the usage is of all of them."""
    run, _, _ = queued
    record = run.record("components")
    parts = sacct("JobID", "Partition", "State", "Timelimit", "AllocTRES", jobs=record["job_id"])
    assert [part["JobID"] for part in parts] == [f"{record['job_id']}+{number}" for number in range(2)]
    assert [part["Partition"] for part in parts] == ["batch", "gpu"]
    assert {part["State"] for part in parts} == {"COMPLETED"}
    assert {part["Timelimit"] for part in parts} == {"00:05:00"}
    assert "gres/gpu=1" in parts[1]["AllocTRES"]
    assert (record["state"], record["exit_code"]) == ("COMPLETED", 0)
    assert (record["usage"]["allocated_cpus"], record["usage"]["gpus"], record["usage"]["node_count"]) == (3, 1, 2)
    assert record["requested"]["components"] == [
        {"partition": "gpu", "time": "00:05:00", "ntasks": "2", "gpus-per-node": "1", "mem": "20M"}
    ]
    assert run.log("components").count("| ") >= 3
