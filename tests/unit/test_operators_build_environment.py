"""``BuildEnvironmentOperator``: what is found when its DAG is parsed."""

import pytest
from airflow.sdk import DAG

from headnode import BuildEnvironmentOperator, Commands, Modules, VirtualEnv
from headnode.errors import JobSpecError


@pytest.fixture
def build(tmp_path):
    """Return a function that makes the task in a DAG whose file has a lock file beside it."""
    (tmp_path / "jobs.lock").write_text("alpha==1.0\n")

    def make(**fields):
        with DAG("builds", schedule=None) as dag:
            dag.fileloc = str(tmp_path / "dag.py")
            return BuildEnvironmentOperator(**{"task_id": "b", "environment": VirtualEnv("jobs.lock"), **fields})

    return make


def test_a_login_host_asks_for_no_account(build):
    """A job on the same site does."""
    environment = Modules("pytorch") + VirtualEnv("jobs.lock")
    assert build(site="juwels-booster", environment=environment, where="login").where == "login"
    with pytest.raises(JobSpecError, match="account"):
        build(site="juwels-booster", environment=environment)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"environment": Commands("true")}, "has nothing that is built"),
        ({"environment": VirtualEnv("no.lock")}, r"the lock file .*no\.lock can't be read"),
        ({"environment": VirtualEnv("no.lock"), "where": "login"}, r"the lock file .*no\.lock can't be read"),
        ({"command": ["true"]}, "it is an environment that is built"),
        ({"start_from_trigger": True}, "it is an environment that is built"),
        ({"where": "moon"}, "'moon' is neither 'job' nor 'login'"),
        ({"site": "no-such-site", "where": "login"}, "there is no system 'no-such-site'"),
    ],
)
def test_what_can_not_be_built(build, fields, said):
    """The error names the task."""
    with pytest.raises(JobSpecError, match=rf"(?s){said}.*\(task 'b'\)"):
        build(**fields)


def test_a_wheelhouse_need_not_be_where_dags_are_parsed(build):
    """It is looked for on the worker."""
    assert build(environment=VirtualEnv("jobs.lock", wheelhouse="/nowhere")).where == "job"
