"""Each sensor in a real Airflow, deferred until what it waits for has come."""

import pytest

pytestmark = [pytest.mark.airflow, pytest.mark.cluster]

RESERVATION = "headnode_sensors"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder that the cluster sees."""
    return tmp_path_factory.mktemp("sensed")


@pytest.fixture(scope="module")
def maintenance(slurm_cluster):
    """Return what ends the maintenance that begins on n1 in half an hour."""
    nodes = "n1"
    slurm_cluster.run(
        "scontrol", "create", "reservation", f"reservationname={RESERVATION}", "starttime=now+30minutes",
        "duration=60", f"user={slurm_cluster.user}", "flags=maint", f"nodes={nodes}",
    )  # fmt: skip

    def end():
        slurm_cluster.run("scontrol", "delete", "reservation", RESERVATION, check=False)

    yield end
    end()


@pytest.fixture(scope="module")
def job(slurm_cluster, folder, wait_until):
    """Return the id of a job that ends when its file is there."""
    wait = f"while [ ! -e '{folder}/end' ]; do sleep 0.5; done"
    answer = slurm_cluster.run(
        "sbatch", "--parsable", "--job-name=sensed job", "--partition=gpu", "--nodes=2", "--gpus-per-node=2",
        "--mem=10M", f"--output={folder}/log", f"--chdir={folder}", "--wrap", wait,
    )  # fmt: skip
    job_id = answer.stdout.strip()
    queue = ("squeue", "--noheader", "--format=%T", f"--jobs={job_id},{job_id}")
    wait_until(lambda: "RUNNING" in slurm_cluster.run(*queue).stdout, "the job runs")
    yield job_id
    slurm_cluster.run("scancel", job_id, check=False)


@pytest.fixture(scope="module")
def ended(start, folder, maintenance, job, wait_until):
    """Return a run of all sensors, which waited before what they wait for came."""
    run = start("sensors", folder=str(folder), job_id=job, job_name="sensed job")
    waiting = {
        "job_by_id": f"job {job} is RUNNING",
        "job_by_name": f"job {job} is RUNNING",
        "partition": "partition gpu has 0 of the 1 nodes and 0 of the 2 GPUs free",
        "path": "it's here is not there",
        "maintenance": f"maintenance {RESERVATION} of n1 begins at",
    }

    def say(task_id):
        return run.states().get(task_id) == "deferred" and waiting[task_id] in run.log(task_id)

    wait_until(lambda: all(map(say, waiting)), f"all say what they wait for: {waiting}")
    (folder / "it's here").write_text("seven b")
    (folder / "end").touch()
    maintenance()
    run.wait()
    return run


def test_all_end_as_they_should(ended):
    """What came lets a task succeed, what can never come fails it or skips it."""
    failed = {"no_such_job", "no_such_partition", "too_late"}
    states = ended.states()
    assert {task for task, state in states.items() if state == "failed"} == failed
    assert {task for task, state in states.items() if state == "skipped"} == {"skipped"}
    assert {state for task, state in states.items() if task not in failed | {"skipped"}} == {"success"}


def test_they_return_what_they_found(ended, folder):
    """As XCom ``return_value``, which other tasks get."""
    assert ended.xcom("job_by_id") == ended.xcom("job_by_name") == "COMPLETED"
    assert ended.xcom("partition") == {"partition": "gpu", "free_nodes": 2, "free_gpus": 4}
    found = ended.xcom("path")
    assert (found["path"], found["size"]) == (f"{folder}/it's here", 7)
    assert found["mtime"] == pytest.approx((folder / "it's here").stat().st_mtime, abs=1e-3)
    assert ended.xcom("use") == 7
    assert ended.xcom("maintenance_elsewhere")["partition"] == "gpu"


@pytest.mark.parametrize(
    ("task_id", "text"),
    [
        ("no_such_job", "no job 'sensed job.never' was submitted in the last 24 h"),
        ("no_such_partition", "the cluster shows no partition 'nowhere'"),
        ("too_late", "/never did not come true within 0:00:10"),
    ],
)
def test_failures_say_why(ended, task_id, text):
    """In the words of the cluster, or with what was waited for."""
    assert text in ended.log(task_id)
    assert ended.tries(task_id) == 1


def test_success_needs_no_worker_again(ended):
    """Only the task whose event would be lost comes back to one."""
    starts = {task: ended.log(task).count("DAG bundles loaded") for task in ("path", "partition", "job_by_id", "event")}
    assert starts == {"path": 1, "partition": 1, "job_by_id": 1, "event": 2}


def test_outlets_make_their_event(ended, airflow, wait_until):
    """A task that has outlets is ended by a worker, which is the only way to an asset's event."""
    assert ended.states()["event"] == "success"
    events = "/assets/events"
    wait_until(lambda: airflow.api("GET", events, params={"source_task_id": "event"})["total_entries"] == 1, "an event")
