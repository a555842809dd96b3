"""Environments through a real Airflow: built as steps of their own, on the login host or by a job; found by jobs."""

import pytest
from wheels import write_wheel

pytestmark = [pytest.mark.airflow, pytest.mark.cluster]


@pytest.fixture(scope="module")
def built(start, tmp_path_factory):
    """Return a run of the DAG that has ended."""
    folder = tmp_path_factory.mktemp("environments")
    write_wheel(folder / "wheels", "alpha", code="NAME = 'alpha'\n")
    write_wheel(folder / "wheels", "beta", code="from alpha import NAME\n", requires=["alpha"])
    (folder / "jobs.lock").write_text("alpha==1.0\nbeta==1.0\n")
    (folder / "jobs.lock.more").write_text("alpha==1.0\nbeta==1.0\ngamma==1.0\n")
    run = start("environments", lock=str(folder / "jobs.lock"), wheels=str(folder / "wheels"))
    run.wait()
    return run


def test_an_environment_is_built_once_and_found(built):
    """The build's log is the task's; the job that needs it has nothing to build."""
    assert {task: state for task, state in built.states().items() if task != "refused"} == {
        "build": "success",
        "job": "success",
        "array": "success",
        "build_in_job": "success",
    }
    path = built.xcom("build")
    log = built.log("build")
    assert "headnode: building venv-" in log
    assert "Successfully installed alpha-1.0 beta-1.0" in log
    for name, file in (built.xcom("job"), *built.xcom("array")):
        assert name == "alpha"
        assert file.startswith(f"{path}/lib/")
    assert "headnode: building" not in built.log("job")


def test_an_environment_is_built_in_a_job(built):
    """What was entered before it makes another environment of it."""
    path = built.xcom("build_in_job")
    assert "/environments/venv-" in path
    assert path != built.xcom("build")
    assert "headnode: building venv-" in built.log("build_in_job")
    assert built.record("build_in_job")["state"] == "COMPLETED"


def test_what_can_not_be_built_says_why(built):
    """A package that has no wheel; the last lines of the build are in the error."""
    assert built.states()["refused"] == "failed"
    log = built.log("refused")
    assert "No matching distribution found for gamma==1.0" in log
    assert "the build on the login host" in log
    assert "ended with exit code 1" in log
