"""Jobs of the operator: what they get, what they give back, and what Airflow shows of them."""

import pytest

from headnode.slurm.record import JobRecord

pytestmark = [pytest.mark.airflow, pytest.mark.cluster]

HOSTILE = "\"; touch {place}/owned; $(touch {place}/owned) `touch {place}/owned` 'q' \\ \n* ~ é"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """Return a text that does harm where it is not quoted, and the file that would show it."""
    place = tmp_path_factory.mktemp("harm")
    return HOSTILE.format(place=place), place / "owned"


@pytest.fixture(scope="module")
def examples(start, hostile):
    """Return a run of ``example_jobs`` that has ended."""
    run = start("example_jobs", note=hostile[0])
    assert run.wait() == "failed"  # two of its tasks must fail
    return run


def test_all_end_as_they_should(examples):
    """Only the tasks fail whose job fails."""
    states = examples.states()
    failed = {task_id for task_id, state in states.items() if state != "success"}
    assert failed == {"failing", "after_failing"}


def test_params_in_a_list_command_arrive_as_one_argument(examples, hostile):
    """Whoever triggers a run chooses its params: they reach the program literally, and no shell reads them."""
    text, harm = hostile
    assert examples.xcom("quoted") == [text, ""]
    assert examples.xcom("environment") == f"it's {text} $X"
    assert not harm.exists()


def test_code_beside_the_dag_travels_with_the_job(examples):
    """The job starts in a copy of the folder and imports from it."""
    assert examples.xcom("code") == {"greeting": "hello from the code beside the DAG", "arguments": ["2"]}
    assert "| hello from the code beside the DAG" in examples.log("code")


def test_resources_are_those_that_were_asked_for(examples, sacct):
    """Every field reaches Slurm, rendered."""
    record = examples.record("resources")
    (job,) = sacct("JobName", "Partition", "Timelimit", "NNodes", "ReqTRES", jobs=record["job_id"])
    assert job.pop("ReqTRES").split(",") == ["billing=4", "cpu=4", "gres/gpu=2", "mem=200M", "node=2"]
    assert job == {
        "JobName": "named by example_jobs",
        "Partition": "gpu",
        "Timelimit": "00:07:00",
        "NNodes": "2",
    }
    assert record["requested"]["nodes"] == "2"
    assert record["requested"]["nice"] == "3"
    assert "export SET_UP=1" in examples.log("resources")
    assert examples.xcom("resources") is None


def test_a_whole_script_is_run_with_its_own_directives(examples, sacct):
    """Lines of ``#SBATCH`` in script= count."""
    (job,) = sacct("Timelimit", "State", jobs=examples.record("script")["job_id"])
    assert job == {"Timelimit": "00:03:00", "State": "COMPLETED"}
    assert "| from a script" in examples.log("script")


def test_the_record_tells_all_about_the_job(examples, slurm_cluster):
    """It has the published schema, and holds the history up to the end."""
    record = JobRecord.model_validate(examples.record("quoted"))
    assert (record.state, record.exit_code, record.host) == ("COMPLETED", 0, slurm_cluster.host)
    assert record.labels.task_id == "quoted"
    assert record.labels.run_id == examples.run_id
    assert record.usage is not None
    assert [one.job_id for one in record.submissions] == [record.job_id]
    assert record.history[-1].state == "COMPLETED"
    assert (slurm_cluster.directory / record.log_path).exists()


def test_the_log_shows_script_id_states_and_reason(examples):
    """Whoever reads the log knows why a job waits."""
    log, job_id = examples.log("waiting"), examples.record("waiting")["job_id"]
    assert "#SBATCH --begin=now+6" in log
    assert f"job {job_id} submitted" in log
    assert f"job {job_id} is PENDING (BeginTime: its earliest time to start has not come)" in log
    assert f"job {job_id} ended as COMPLETED and used" in log


def test_a_job_that_fails_says_how_and_shows_its_last_lines(examples):
    """The exception's text is enough to begin with."""
    log, job_id = examples.log("failing"), examples.record("failing")["job_id"]
    failed = log[log.index("JobFailed: ") :]
    assert f"job {job_id}" in failed
    assert "with exit code 3" in failed
    assert "first line\n  the last words" in failed
    assert "task 'failing' on connection 'slurm_default'" in failed
    assert examples.record("failing")["exit_code"] == 3


def test_a_retry_is_a_new_job(examples, sacct):
    """The second try has its own job, and its record replaces the first's."""
    record = examples.record("retried")
    assert examples.tries("retried") == 2
    assert examples.xcom("retried") == {"try": 2}
    assert record["labels"]["try_number"] == 2
    jobs = sacct("JobID", "State", name="example_jobs.retried")
    assert [job["State"] for job in jobs] == ["FAILED", "COMPLETED"]
    assert jobs[1]["JobID"] == record["job_id"]


def test_outlets_make_an_asset_event(examples):
    """Airflow's schedules by asset work with jobs."""
    events = examples.airflow.api("GET", "/assets/events", params={"source_run_id": examples.run_id})["asset_events"]
    assert [(event["uri"], event["source_task_id"]) for event in events] == [("headnode://tests/map", "with_outlet")]


def test_the_sensor_ends_as_the_job_ended(examples):
    """It takes the id from the record in XCom, and fails with the job's failure."""
    assert examples.xcom("after_quoted") == "COMPLETED"
    logs = [examples.log("after_failing", try_number) for try_number in (1, 2)]
    assert any("JobFailed: " in log and "with exit code 3" in log for log in logs)


def test_a_task_can_start_in_the_triggerer(examples, hostile):
    """It renders, runs and gives its result and record, without a worker."""
    assert examples.xcom("in_triggerer") == [hostile[0]]
    assert examples.record("in_triggerer")["state"] == "COMPLETED"


def test_an_array_is_one_task_and_its_results_a_list(examples, sacct):
    """In the order of its elements."""
    assert examples.xcom("array") == [0, 1, 2, 3]
    assert len(sacct("JobID", jobs=examples.record("array")["job_id"])) == 4


def test_a_connection_of_type_slurm_works_as_well(examples):
    """Both types lead to the cluster."""
    assert examples.record("typed_slurm")["state"] == "COMPLETED"
