"""Values of secrets, as Airflow gives them where it is configured by environment variables."""

import asyncio
import json

import pytest
from airflow.sdk.log import redact

from headnode.cluster.place import JobPlace
from headnode.cluster.submission import SubmitRequest
from headnode.errors import JobSpecError
from headnode.hooks import secrets
from headnode.hooks.secrets import aresolve_secrets, resolve_secrets, with_secrets
from headnode.slurm.record import Labels
from headnode.triggers.outcome import failure
from headnode.triggers.secrets import complete_request

KEY = "-----BEGIN KEY-----\nline-Wm3cR7-one\nline-Wm3cR7-two\n"
EXTRA = {"key": KEY, "nested": {"a": 1}, "number": 7, "empty": ""}


@pytest.fixture(autouse=True)
def airflow(monkeypatch):
    """Let Airflow have one variable and some connections, and look once for what it has not."""
    monkeypatch.setattr(secrets, "_LOOK_AGAIN_SECONDS", 0.0)
    monkeypatch.setenv("AIRFLOW_VAR_TOKEN", "token-Wm3cR7")
    monkeypatch.setenv("AIRFLOW_VAR_NOTHING", "")
    fields = {"conn_type": "generic", "host": "h", "login": "l", "password": "p-Wm3cR7 @/'", "extra": EXTRA}
    monkeypatch.setenv("AIRFLOW_CONN_FULL", json.dumps(fields))
    monkeypatch.setenv("AIRFLOW_CONN_BARE", json.dumps({"conn_type": "generic"}))


FOUND = {
    "variable:token": "token-Wm3cR7",
    "connection:full.password": "p-Wm3cR7 @/'",
    "connection:full.login": "l",
    "connection:full.host": "h",
    "connection:full.extra.key": KEY,
    "connection:full.extra.nested": '{"a": 1}',
    "connection:full.extra.number": "7",
}


@pytest.mark.parametrize("text", FOUND)
def test_what_is_there(text):
    """The same on workers and in triggerers."""
    assert resolve_secrets({"A": text}) == {"A": FOUND[text]}
    assert asyncio.run(aresolve_secrets({"A": text})) == {"A": FOUND[text]}


def test_a_uri():
    """With the password in it, as Airflow writes it."""
    (uri,) = resolve_secrets({"A": "connection:full.uri"}).values()
    assert uri.startswith("generic://l:p-Wm3cR7%20%40%2F%27@h/")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "variable:absent",
            "Airflow has no variable 'absent': add it under Admin, Variables, or in the",
        ),
        ("variable:nothing", "variable 'nothing' is empty"),
        ("connection:absent.password", "Airflow has no connection 'absent': add it under Admin, Connections"),
        ("connection:bare.password", "connection 'bare' is empty in its password"),
        ("connection:bare.extra.key", "connection 'bare' is empty in its extra 'key'"),
        ("connection:full.extra.empty", "connection 'full' is empty in its extra 'empty'"),
    ],
)
def test_what_is_not_there(text, problem):
    """One sentence that names it."""
    with pytest.raises(JobSpecError, match=problem) as caught:
        resolve_secrets({"A": text})
    assert caught.value.field == "secret_env"


def test_values_are_masked():
    """Also the lines of one that has several, and in the failure that a trigger hands on."""
    resolve_secrets({"A": "variable:token", "B": "connection:full.extra.key"})
    assert redact("said token-Wm3cR7 and line-Wm3cR7-two") == "said *** and ***"
    told = failure(JobSpecError("x", "its last lines: token-Wm3cR7"), about="task 't'")
    assert told["message"] == "task 't': x: its last lines: ***"


def request(**fields):
    """Return a request for a job of a task."""
    labels = Labels(dag_id="d", run_id="r", task_id="t")
    place = JobPlace(work_directory="~/w", deployment_id="d", labels=labels, owner="o")
    return SubmitRequest(place=place, **{"script": "#!/bin/sh\n:\n", **fields})


def test_a_job_with_secrets_is_never_requeued():
    """Its file is gone when it starts a second time."""
    complete = with_secrets(request(options=("--mem=2G",)), {"A": "x"})
    assert complete.options == ("--mem=2G", "--no-requeue")
    assert complete.secrets is not None
    assert complete.secrets.content == b"export A=x\nheadnode_whole=yes\n"


@pytest.mark.parametrize(
    ("fields", "indexes"),
    [
        ({"is_array": True, "options": ("--array=3-4%1",), "script": "#!/bin/sh\n#SBATCH --array=0-9\n:\n"}, "3-4"),
        ({"is_array": True, "script": "#!/bin/sh\n#SBATCH --array=0-9:4\n:\n"}, "0,4,8"),
        ({}, ""),
    ],
)
def test_each_element_has_a_file(fields, indexes):
    """As the command line or the script says."""
    complete = with_secrets(request(**fields), {"A": "x"})
    assert complete.secrets is not None
    assert complete.secrets.indexes == indexes


def test_elements_that_cannot_be_told():
    """Their files can't be written."""
    with pytest.raises(JobSpecError, match="needs to know an array's elements"):
        with_secrets(request(is_array=True), {"A": "x"})


def test_what_airflow_does_not_give_is_a_refusal_of_the_request():
    """The job may be there already, and goes on then."""
    complete = asyncio.run(complete_request(request(), {"A": "variable:absent"}))
    assert complete.secrets is not None
    assert "Airflow has no variable 'absent'" in str(complete.secrets.refusal)
    large = asyncio.run(complete_request(request(is_array=True), {"A": "variable:token"}))
    assert large.secrets is not None
    assert "needs to know" in str(large.secrets.refusal)
