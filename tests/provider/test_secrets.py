"""Secrets of Airflow's in jobs: they arrive, and nothing that Airflow stores or logs shows them."""

import hashlib
import json
import subprocess

import pytest

pytestmark = [pytest.mark.airflow, pytest.mark.cluster]

MARK = "Hk4sWq8zTn2"
TOKEN = f"{MARK}-token"
PASSWORD = f"{MARK} password 'quoted'"
KEY = f"-----BEGIN KEY-----\n{MARK}-first-line\n{MARK}-second-line\n-----END KEY-----\n"


@pytest.fixture(scope="module")
def run(airflow, start, slurm_cluster):
    """Return a run of ``secret_jobs`` that has ended; under one of its jobs a node has failed."""
    airflow.api("POST", "/variables", {"key": "headnode_test_token", "value": TOKEN})
    extra = json.dumps({"private_key": KEY})
    airflow.api(
        "POST",
        "/connections",
        {"connection_id": "headnode_test_database", "conn_type": "generic", "password": PASSWORD, "extra": extra},
    )
    ended = start("secret_jobs")
    first = ended.wait_for_record("started_again", state="RUNNING")
    node = first["nodes"]
    slurm_cluster.run("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")
    try:
        ended.wait_for_record("started_again", not_job=first["job_id"])
    finally:
        # A node that answers may have come back by itself, which is no error.
        slurm_cluster.run("scontrol", "update", f"NodeName={node}", "State=RESUME", check=False)
    assert ended.wait() == "failed"  # two of its tasks must fail
    return ended


def test_they_arrive(run):
    """From a worker or the triggerer alone, in functions and array elements; none is ever requeued without them."""
    states = run.states()
    assert {task for task, state in states.items() if state != "success"} == {"shown", "refused"}
    wanted = [*(hashlib.sha256(value.encode()).hexdigest() for value in (TOKEN, PASSWORD, KEY)), "Requeue=0"]
    assert run.xcom("from_worker") == wanted
    assert run.xcom("from_trigger") == wanted
    assert run.xcom("function") == wanted[:3]
    assert run.xcom("elements") == [wanted, wanted]


def test_a_job_that_lost_its_node_is_submitted_again_with_them(run):
    """Slurm would have started the same job again, without them."""
    assert run.xcom("started_again") == run.xcom("from_worker")
    first, second = run.record("started_again")["submissions"]
    assert (first["state"], second["state"]) == ("NODE_FAIL", "COMPLETED")
    assert second["reason"] == (
        f"job {first['job_id']} ended as NODE_FAIL; in place of a requeue it is submitted again"
    )


def test_what_airflow_stores_and_logs_does_not_hold_them(run, airflow):
    """Not its database (where their own rows are encrypted), nor a log, though the job itself showed them."""
    found = subprocess.run(
        ["grep", "--recursive", "--files-with-matches", "--text", "--fixed-strings", "--file=-", airflow.directory],
        input=MARK,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout == ""
    assert list(airflow.directory.glob("airflow.db"))
    log = run.log("shown")
    assert "token ***" in log
    assert MARK not in log + json.dumps(run.record("shown"))


def test_a_job_that_shows_them_has_a_masked_exception(run):
    """The last lines of its log are in it, and go through Airflow's database."""
    log = run.log("shown")
    assert "JobFailed" in log
    assert log.count("token ***") >= 2


def test_a_secret_that_is_not_there(run):
    """One sentence, no retry, and no job."""
    log = run.log("refused")
    assert "secret_env: Airflow has no variable 'headnode_test_absent': add it under Admin, Variables" in log
    assert run.tries("refused") == 1
    assert run.record("refused") is None
