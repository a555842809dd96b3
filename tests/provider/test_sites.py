"""Jobs by site, launcher and environment, in a real Airflow and on a real cluster; training that goes on."""

import pytest

from headnode.slurm.record import JobRecord

pytestmark = [pytest.mark.airflow, pytest.mark.cluster]


@pytest.fixture(scope="module")
def run(start):
    """Return a run of all of them."""
    made = start("site_jobs")
    assert made.wait() == "failed"
    return made


def test_all_but_one_run(run):
    """That one asks for more than there is."""
    assert {task_id for task_id, state in run.states().items() if state != "success"} == {"too_many"}


def test_a_program_is_started_over_the_nodes(run):
    """With the words that were given, in the environment that was asked for."""
    greeting, words = "site_jobs", ["a b", "$HOME"]
    assert run.xcom("launched") == {"ranks": 4, "nodes": 2, "greeting": greeting, "words": words}
    requested = run.record("launched")["requested"]
    assert requested["nodes"] == "2"
    assert requested["ntasks-per-node"] == "2"
    assert requested["cpus-per-task"] == "8"
    assert (requested["partition"], requested["site"], requested["launch"]) == ("batch", "private", "mpi")


@pytest.mark.parametrize("task_id", ["launched", "in_triggerer"])
def test_the_connection_can_be_read_in_templates(run, task_id):
    """As for its account, on a worker and in the triggerer."""
    assert run.record(task_id)["job_name"] == "at_private"


def test_templates_within_a_launcher_are_rendered(run):
    """And the site's name."""
    assert run.xcom("templated") == {"ranks": 3, "nodes": 3, "greeting": None, "words": []}


def test_a_task_without_a_worker_is_arranged_alike(run):
    """By the site of its connection."""
    assert run.xcom("in_triggerer") == 4
    requested = run.record("in_triggerer")["requested"]
    assert (requested["partition"], requested["site"], requested["nodes"]) == ("batch", "private", "2")


def test_each_element_of_an_array_is_launched(run):
    """With its own words."""
    element = {"ranks": 2, "nodes": 2, "greeting": None}
    assert run.xcom("elements") == [{**element, "words": ["a"]}, {**element, "words": ["b"]}]


def test_rendered_values_are_checked_against_the_site(run):
    """With the number and where it is from; nothing is submitted."""
    log = run.log("too_many")
    assert "nodes: 4 nodes, where a job in partition 'batch' of private may have 3" in log
    assert "tests/provider/sites/private.yaml (2026-11-21, measured)" in log
    assert run.record("too_many") is None


def test_a_training_goes_on_and_returns_its_metrics(run):
    """Of both of its jobs; they are in the log as they come."""
    result = run.xcom("training")
    assert [(each["submission"], each["epoch"]) for each in result["history"]] == [(1, 1), (1, 2), (2, 3), (2, 4)]
    assert result["best"] == {"submission": 1, "epoch": 2, "accuracy": 0.9}
    assert result["last"] == {"submission": 2, "epoch": 4, "accuracy": 0.7}
    assert (result["reported"], result["metric"], result["mode"]) == (4, "accuracy", "max")
    made = JobRecord.model_validate(run.record("training")).submissions
    assert [(each.state, each.exit_code) for each in made] == [("FAILED", 75), ("COMPLETED", 0)]
    assert run.tries("training") == 1
    log = run.log("training")
    assert 'METRICS {"epoch": 3, "accuracy": 0.8}' in log
    assert "it goes on from its checkpoint" in log
    assert "best accuracy: " in log
