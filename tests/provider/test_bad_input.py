"""What can't be right: one clear sentence with the task, the cluster and the remedy; no hang, no useless retry."""

import re
from datetime import timedelta

import pytest
from airflow.sdk import DAG, Asset, task

from headnode import ExcludeNode, MoreMemory, Resubmit, SlurmJobOperator, SlurmJobSensor
from headnode.errors import JobSpecError

TASK = "wrong"

# Each: what is given to the operator, the field that is named, and a part of the sentence.
REFUSED = {
    "neither command nor script": ({"command": None}, "command", "exactly one of command= and script=, not neither"),
    "both": ({"script": "#!/bin/sh\n"}, "command", "exactly one of command= and script=, not both"),
    "empty command": ({"command": []}, "command", "is empty"),
    "time limit in words": ({"time_limit": "an hour"}, "time_limit", "'an hour'"),
    "negative time limit": ({"time_limit": timedelta(hours=-1)}, "time_limit", "no positive time"),
    "newline in the job's name": ({"job_name": "a\n#SBATCH --uid=0"}, "job_name", "newline"),
    "newline in an option": ({"sbatch_options": {"constraint": "a\nb"}}, "sbatch_options", "newline"),
    "blank in a partition": ({"partition": "gpu fast"}, "partition", "one word without blanks"),
    "headnode's own option": ({"sbatch_options": {"output": "x"}}, "sbatch_options", "set by headnode itself"),
    "short option": ({"sbatch_options": {"C": "a100"}}, "sbatch_options", "no long option name"),
    "option with dashes": ({"sbatch_options": {"--constraint": "x"}}, "sbatch_options", "without dashes"),
    "option given twice": ({"nodes": 2, "sbatch_options": {"nodes": 3}}, "sbatch_options", "already given as nodes=2"),
    "memory": ({"memory": "8 gigabytes"}, "memory", "'8G'"),
    "no node": ({"nodes": 0}, "nodes", "greater than or equal to 1"),
    "nodes in words": ({"nodes": "two"}, "nodes", "no whole number"),
    "name of a variable": ({"env": {"A-B": "1"}}, "env", "no name of an environment variable"),
    "code folder": ({"code": "nowhere"}, "code", "is not there; name a folder beside the DAG file"),
    "policy of another kind": ({"on_timeout": MoreMemory()}, "on_timeout", r"must be Resubmit(...) or None"),
    "policy of an array": (
        {"sbatch_options": {"array": "0-3"}, "on_out_of_memory": MoreMemory()},
        "on_out_of_memory",
        "SlurmArrayOperator has element_retries",
    ),
    "policy of components": (
        {"components": [{"nodes": 1}], "on_node_fail": ExcludeNode()},
        "on_node_fail",
        "which component failed is not known",
    ),
    "two signals": (
        {"on_timeout": Resubmit(), "sbatch_options": {"signal": "B:USR1@60"}},
        "sbatch_options",
        "'signal' is set by on_timeout=Resubmit()",
    ),
    "warning before the start": (
        {"on_timeout": Resubmit(signal_seconds=600), "time_limit": "10"},
        "on_timeout",
        "signal_seconds=600 is no less than the time limit",
    ),
    "limit of memory": (
        {"on_out_of_memory": MoreMemory(limit="8G"), "memory": "8G"},
        "on_out_of_memory",
        "limit='8G' is no more than the job asks for",
    ),
    "limit of memory in a script": (
        {"on_out_of_memory": MoreMemory(limit="8G"), "command": None, "script": "#!/bin/sh\n#SBATCH --mem=9G\n:"},
        "on_out_of_memory",
        "limit='8G' is no more than the job asks for",
    ),
    "wait without an end": ({"max_pending": timedelta(0)}, "max_pending", "no positive timedelta"),
    "wait in seconds": ({"max_pending": 60}, "max_pending", "60 is no positive timedelta"),
    "code is a file": ({"code": "test_bad_input.py"}, "code", "is no folder"),
}


def fail(context):
    """Stand for a callback."""


LOST = {
    "code": ({"code": "dags"}, "beside the DAG file"),
    "outlets": ({"outlets": [Asset("headnode://tests/lost")]}, "asset event"),
    "success callback": ({"on_success_callback": fail}, "callbacks"),
    "execute callback": ({"on_execute_callback": fail}, "callbacks"),
    "pre_execute": ({"pre_execute": fail}, "pre_execute"),
    "post_execute": ({"post_execute": fail}, "post_execute"),
    "pool": ({"pool": "narrow"}, "pool 'narrow'"),
    "limit per DAG": ({"max_active_tis_per_dag": 1}, "max_active_tis_per_dag"),
    "limit per run": ({"max_active_tis_per_dagrun": 1}, "max_active_tis_per_dagrun"),
    "xcom_pull": ({"command": "{{ ti.xcom_pull('a') }}"}, "hang"),
    "xcom_pull in a dict": ({"env": {"A": "{{ ti.xcom_pull('a') }}"}}, "hang"),
    "the DAG's macros": ({"command": ["{{ shout('a') }}"]}, "shout"),
}


def shout(text):
    """Stand for a DAG's own macro."""
    return text.upper()


def assert_one_sentence(message, field):
    """Fail unless the message names field and task, in one line."""
    assert message.startswith(f"{field}: ")
    assert message.endswith(f"(task {TASK!r})")
    assert "\n" not in message


@pytest.mark.parametrize("case", REFUSED)
def test_refused_when_the_dag_is_parsed(case):
    """Whatever is known then is checked then."""
    given, field, part = REFUSED[case]
    with DAG("refused", schedule=None), pytest.raises(JobSpecError, match=re.escape(part)) as refused:
        SlurmJobOperator(**{"task_id": TASK, "command": "true", **given})
    assert refused.value.field == field
    assert_one_sentence(str(refused.value), field)


@pytest.mark.parametrize("case", LOST)
def test_start_from_trigger_refuses_what_it_would_lose(case):
    """Airflow itself would drop these without a word."""
    given, part = LOST[case]
    macros = {"shout": shout}
    with (
        DAG("lost", schedule=None, user_defined_macros=macros),
        pytest.raises(JobSpecError, match=re.escape(part)) as refused,
    ):
        SlurmJobOperator(**{"task_id": TASK, "command": "true", "start_from_trigger": True, **given})
    assert_one_sentence(str(refused.value), "start_from_trigger")


def test_start_from_trigger_refuses_the_output_of_another_task():
    """It would arrive as a reference that nobody resolves."""

    @task
    def upstream():
        return "4"

    with DAG("lost", schedule=None), pytest.raises(JobSpecError, match="arrive unresolved") as refused:
        SlurmJobOperator(task_id=TASK, command=["echo", upstream()], start_from_trigger=True)
    assert_one_sentence(str(refused.value), "start_from_trigger")


def test_start_from_trigger_refuses_native_objects():
    """A triggerer renders to text only."""
    with (
        DAG("lost", schedule=None, render_template_as_native_obj=True),
        pytest.raises(JobSpecError, match="render to text") as refused,
    ):
        SlurmJobOperator(task_id=TASK, command="true", start_from_trigger=True)
    assert_one_sentence(str(refused.value), "start_from_trigger")


def test_start_from_trigger_takes_what_loses_nothing():
    """So that the refusals above are about what they name."""
    with DAG("kept", schedule=None, user_defined_macros={"shout": shout}):
        task = SlurmJobOperator(task_id="right", command=["echo", "{{ params.x }}"], start_from_trigger=True)
    assert task.start_from_trigger


def test_the_sensor_refuses_what_is_no_job_id():
    """When the DAG is parsed."""
    with pytest.raises(JobSpecError, match="no job id of Slurm") as refused:
        SlurmJobSensor(task_id=TASK, job_id="job 5")
    assert_one_sentence(str(refused.value), "job_id")


# Each: the exception that Airflow shows, and what its sentence must say beside the task and the connection.
FAILED = {
    "unknown_partition": ("slurm_default", ["sbatch refused the job", "partition", "sinfo"]),
    "wrong_key": ("stranger", ["refused the login", "key_file", "the site knows the public key"]),
    "unknown_host_key": ("unknown_host", ["ssh-keyscan", "host_key extra"]),
    "missing_connection": ("absent", ["airflow connections add absent"]),
    "unchecked_host_key": ("unchecked", ["no_host_key_check", "ssh-keyscan", "host_key extra"]),
    "rendered_time_limit": ("slurm_default", ["time_limit: 'soon'"]),
    "rendered_job_name": ("slurm_default", ["job_name: 'two\\nlines'", "newline"]),
    "rendered_in_triggerer": ("slurm_default", ["nodes: 'no' is no whole number"]),
    "rendered_code": ("slurm_default", ["code: ", "nowhere is not there"]),
    "missing_for_triggerer": ("absent", ["airflow connections add absent"]),
    "sensor_without_id": ("slurm_default", ["job_id: 'none' is no job id of Slurm"]),
}


@pytest.fixture(scope="module")
def bad_input(start):
    """Return a run of ``bad_input`` that has ended."""
    run = start("bad_input")
    assert run.wait(120) == "failed"
    return run


@pytest.mark.airflow
@pytest.mark.cluster
@pytest.mark.parametrize("task_id", FAILED)
def test_fails_once_with_one_sentence(bad_input, task_id):
    """Retries, of which the task has five, could not help."""
    conn_id, parts = FAILED[task_id]
    assert bad_input.states()[task_id] == "failed"
    tries = bad_input.tries(task_id)
    # Where the scheduler is later than triggers/pace.py allows for, Airflow 3.3.2 counts a try of its own.
    assert tries in (1, 2)
    log = bad_input.log(task_id, tries)
    sentence = re.search(r"^AirflowFailException: (.*)$", log, re.MULTILINE)
    assert sentence, log
    assert f"task {task_id!r}" in sentence[1]
    assert f"connection {conn_id!r}" in sentence[1]
    assert [part for part in parts if part not in sentence[1]] == []


@pytest.mark.airflow
@pytest.mark.cluster
def test_a_host_that_refuses_is_asked_again_up_to_the_tolerance(bad_input, slurm_cluster):
    """Then the task fails as one that a retry may help."""
    log = bad_input.log("refusing")
    assert "Trying again in" in log
    sentence = re.search(r"^HostUnreachable: (.*)$", log, re.MULTILINE)
    assert sentence, log
    assert "task 'refusing' on connection 'refusing'" in sentence[1]
    assert f"@{slurm_cluster.host}:1 " in sentence[1]
