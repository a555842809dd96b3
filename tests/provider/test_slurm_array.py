"""Arrays of the operator: their elements' words, results, logs and retries, and what becomes of them when stopped."""

import pytest

from headnode.slurm.record import JobRecord

pytestmark = [pytest.mark.airflow, pytest.mark.cluster]

HOSTILE = "\"; touch {place}/owned; $(touch {place}/owned) `touch {place}/owned` 'q' \\ \n\n* ~ é\n"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """Return a text that does harm where it is not quoted, and the file that would show it."""
    place = tmp_path_factory.mktemp("harm")
    return HOSTILE.format(place=place), place / "owned"


@pytest.fixture(scope="module")
def arrays(start, hostile):
    """Return a run of ``array_jobs`` that has ended."""
    run = start("array_jobs", note=hostile[0])
    assert run.wait() == "failed"  # one of its tasks must fail
    return run


def jobs_of(sacct, task, *fields):
    """Return what accounting knows of the elements of a task of ``array_jobs``."""
    return sacct("JobID", "State", *fields, name=f"array_jobs.{task}")


def test_only_that_task_fails_of_which_too_many_elements_fail(arrays):
    """Each of the others is a success."""
    assert {task_id for task_id, state in arrays.states().items() if state != "success"} == {"failing"}


def test_words_reach_their_element_literally(arrays, hostile):
    """Those of a DAG run's params, too: no shell reads them."""
    text, harm = hostile
    assert arrays.xcom("words") == [["always", text, ""], ["always", "two words"], ["always", "3"], ["always"]]
    assert not harm.exists()


def test_another_task_s_output_gives_the_elements(arrays):
    """And their logs are shown, each line with its element's number."""
    assert arrays.xcom("from_output") == [["T31", 1], ["T32", 2]]
    log = arrays.log("from_output")
    assert "[0] | this is T31" in log
    assert "[1] | this is T32" in log


def test_a_thousand_elements_over_the_site_s_limit_run_once_each_and_the_failed_one_again(arrays, sacct):
    """As two array jobs; the results are in the order of the elements, over all of them."""
    assert arrays.xcom("split") == list(range(1002))
    record = JobRecord.model_validate(arrays.record("split"))
    first, second, again = [each.job_id for each in record.submissions]
    jobs = jobs_of(sacct, "split")
    assert len(jobs) == 1003
    assert {job["JobID"]: job["State"] for job in jobs if job["State"] != "COMPLETED"} == {f"{second}_0": "FAILED"}
    assert {job["JobID"] for job in jobs} == {f"{first}_{at}" for at in range(1001)} | {f"{second}_0", f"{again}_0"}
    assert record.element_states == {"COMPLETED": "0-1001"}
    assert [each.state for each in record.submissions] == ["COMPLETED", "FAILED", "COMPLETED"]
    assert record.submissions[2].reason == "elements 1001 run again: they ended as FAILED with exit code 1"


def test_progress_is_told_in_one_line_for_all(arrays):
    """With how many elements run, wait and have ended."""
    log = arrays.log("split")
    first, second, again = [each["job_id"] for each in arrays.record("split")["submissions"]]
    assert f"arrays {first}, {second}: " in log
    assert f"arrays {first}, {second}: 1002 ended" in log
    assert " running, " in log
    assert f"array {again} ended, 1 of 1 elements well, and used" in log


def test_a_task_can_start_in_the_triggerer(arrays, hostile):
    """Without a worker; its arguments are plain data, other fields may be templates."""
    assert arrays.xcom("in_triggerer") == [[hostile[0], "it's"], [hostile[0], "2"]]


def test_some_elements_may_fail(arrays):
    """The results of those are None, the log names them and shows their last lines."""
    assert arrays.xcom("partly") == [0, 1, 2, None, 1000, 1001, 1002, None]
    log = arrays.log("partly")
    assert "failed: FAILED with exit code 2: 3,1003" in log
    assert "[3] ! 3 fails" in log
    assert "min_success_fraction=0.75" in log
    assert arrays.record("partly")["element_states"] == {"COMPLETED": "0-2,1000-1002", "FAILED": "3,1003"}


def test_a_failure_names_the_elements_and_shows_their_last_lines(arrays, sacct):
    """Only what failed was run again."""
    log = arrays.log("failing")
    failed = log[log.index("JobFailed: ") :]
    first, again = [each["job_id"] for each in arrays.record("failing")["submissions"]]
    assert f"1 of 4 elements of arrays {first}, {again}" in failed
    assert "FAILED with exit code 7: 2" in failed
    assert "The last lines of element 2's log:\n  [2] | the last words of 2" in failed
    jobs = [job["JobID"] for job in jobs_of(sacct, "failing")]
    assert sorted(jobs) == sorted([*(f"{first}_{element}" for element in range(1, 5)), f"{again}_2"])


@pytest.fixture(scope="module")
def killed(start, airflow, slurm_cluster, wait_until):
    """Return a run of ``long_arrays`` whose triggerer was killed while the arrays ran."""
    run = start("long_arrays")

    def running():
        names = slurm_cluster.run("squeue", "-hr", "-t", "R", "-o", "%j").stdout.split()
        return [name for name in names if name.startswith("long_arrays.")]

    wait_until(lambda: len(running()) == 6, "all elements run that may")
    airflow.kill("triggerer")
    airflow.start_component("triggerer")
    return run


def test_after_the_triggerer_s_death_each_part_is_found_again(killed, wait_until, sacct):
    """And followed to its end; none is submitted twice."""
    wait_until(lambda: killed.states()["followed"] == "success", "the array has ended", timeout_seconds=120)
    jobs = sacct("JobID", "State", name="long_arrays.followed")
    assert [job["State"] for job in jobs] == ["COMPLETED"] * 4
    record = killed.record("followed")
    assert {job["JobID"].partition("_")[0] for job in jobs} == {each["job_id"] for each in record["submissions"]}
    assert record["element_states"] == {"COMPLETED": "0-1,1001-1002"}


def test_a_cleared_array_leaves_nothing(killed, wait_until, sacct, slurm_cluster):
    """Nor does one that is marked: all of its parts are cancelled."""
    first = {each["job_id"] for each in killed.record("cleared")["submissions"]}
    assert len(first) == 2
    killed.airflow.clear("long_arrays", killed.run_id, task_ids=["cleared"])
    anew = killed.wait_for_record("cleared", state="RUNNING", not_job=killed.record("cleared")["job_id"])
    second = {each["job_id"] for each in anew["submissions"]}

    def left():
        jobs = slurm_cluster.run("squeue", "-h", "-o", "%F %j").stdout.splitlines()
        return {job.split()[0] for job in jobs if job.endswith("long_arrays.cleared")}

    wait_until(lambda: left() == second, "only the new try's jobs are there")
    killed.airflow.set_task_state("long_arrays", killed.run_id, "cleared", "failed")
    wait_until(lambda: not left(), "no job is left")

    def accounted():
        return {
            (job["JobID"].partition("_")[0], job["State"].split()[0])
            for job in sacct("JobID", "State", name="long_arrays.cleared")
        }

    # Accounting hears of an end a little later than squeue.
    cancelled = {(job_id, "CANCELLED") for job_id in first | second}
    wait_until(lambda: accounted() == cancelled, "accounting knows these jobs alone, all cancelled")
