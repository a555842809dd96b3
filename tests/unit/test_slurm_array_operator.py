"""What ``SlurmArrayOperator`` refuses when the DAG is parsed, and what its trigger is made of."""

import hashlib

import pytest
from airflow.sdk import DAG

from headnode import SlurmArrayOperator, SlurmJobOperator
from headnode.errors import JobSpecError
from headnode.slurm.element_arguments import pack_lines, parse_arguments
from headnode.triggers.array_preparation import ArrayFields, array_trigger
from headnode.triggers.slurm_job import SlurmJobTrigger

LABELS = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1, "try_number": 1}
FIELDS = {
    "array": "0-9",
    "arguments": None,
    "max_running": None,
    "element_retries": 1,
    "min_success_fraction": 0.5,
    "log_elements": "none",
    "uses_index": False,
}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "arguments: give exactly one of arguments= and array=, not neither"),
        ({"array": "0-9", "arguments": ["a"]}, "not both"),
        ({"array": "ten"}, "array: 'ten' is no list of indexes"),
        ({"arguments": []}, "arguments: is empty"),
        ({"arguments": [{"a": 1}]}, "element 0 is a dict"),
        ({"array": "0-9", "max_running": 0}, "max_running: 0 must be a whole number from 1"),
        ({"array": "0-9", "element_retries": -1}, "element_retries: -1"),
        ({"array": "0-9", "element_retries": True}, "element_retries: True"),
        ({"array": "0-9", "min_success_fraction": 1.5}, "min_success_fraction: 1.5 must be a number from 0 to 1"),
        ({"array": "0-9", "log_elements": "some"}, "log_elements: 'some'"),
        ({"array": "0-9", "sbatch_options": {"array": "0-3"}}, "sbatch_options: 'array' must be given as"),
        ({"array": "0-9", "components": [{"nodes": 1}]}, "components: can't be given"),
        ({"array": "0-{{ params.n }}", "start_from_trigger": True}, "start_from_trigger: needs array"),
        ({"arguments": ["{{ ds }}"], "start_from_trigger": True}, "start_from_trigger: needs arguments"),
    ],
)
def test_what_can_t_be_right_is_refused_with_field_and_task(fields, message):
    """Before a run is made."""
    with DAG("d", schedule=None), pytest.raises(JobSpecError) as refused:
        SlurmArrayOperator(task_id="tiles", command="true", **fields)
    assert message in str(refused.value)
    assert "(task 'tiles')" in str(refused.value)


def test_arguments_too_large_to_be_stored_with_the_dag_are_refused_there():
    """A task that starts in the triggerer has them in the DAG itself."""
    many = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(3000)]
    with DAG("d", schedule=None), pytest.raises(JobSpecError, match="so many arguments"):
        SlurmArrayOperator(task_id="t", command=["true"], arguments=many, start_from_trigger=True)


def test_another_task_s_output_and_templates_are_taken_when_the_dag_is_parsed():
    """Their content is checked on the worker."""
    with DAG("d", schedule=None, render_template_as_native_obj=True):
        first = SlurmJobOperator(task_id="first", command="true")
        task = SlurmArrayOperator(task_id="t", command=["true"], arguments=first.output)
        SlurmArrayOperator(task_id="u", command=["true"], arguments="{{ params.tiles }}")
    assert task.upstream_task_ids == {"first"}


def test_plain_arguments_are_not_rendered_one_by_one():
    """Ten thousand texts would keep a worker busy for seconds; lists with templates are rendered."""
    with DAG("d", schedule=None):
        plain = SlurmArrayOperator(task_id="plain", command=["echo"], arguments=["a{ b", "c"])
        templated = SlurmArrayOperator(task_id="templated", command=["echo"], arguments=["{{ word }}", ["x", "y"]])
    given = plain.arguments
    plain.render_template_fields({"word": "w"})
    templated.render_template_fields({"word": "w"})
    assert plain.arguments is given
    assert templated.arguments == ["w", ["x", "y"]]


def job(**more):
    """Return the trigger of a job that is like each element."""
    fields = {"script": "s", "job_name": "j", "script_sha256": "0" * 64, "requested": {"mem": "1G"}, **more}
    return SlurmJobTrigger(slurm_conn_id="c", owner="o", labels=LABELS, deployment_id="d", **fields)


def test_the_trigger_holds_the_job_and_the_array():
    """The throttle of ``array`` is the number that may run."""
    lines = pack_lines(parse_arguments(["a"]))
    fields = ArrayFields(**{**FIELDS, "array": "3,1-2%2", "arguments": lines})
    _, stored = array_trigger(job(code="Y29kZQ=="), fields).serialize()
    assert {name: stored[name] for name in ("array", "max_running", "arguments", "elements", "is_array", "code")} == {
        "array": "1-3",
        "max_running": 2,
        "arguments": lines,
        "elements": 3,
        "is_array": True,
        "code": "Y29kZQ==",
    }
    assert stored["requested"] == {"mem": "1G", "array": "1-3%2"}


def test_two_throttles_that_differ_are_refused():
    """And two that agree are not."""
    with pytest.raises(JobSpecError, match="max_running: is 3, and array= says %2"):
        array_trigger(job(), ArrayFields(**{**FIELDS, "array": "0-9%2", "max_running": 3}))
    assert array_trigger(job(), ArrayFields(**{**FIELDS, "array": "0-9%3", "max_running": 3})).max_running == 3


def test_an_array_in_the_author_s_own_script_is_refused():
    """Two arrays would be two answers."""
    with pytest.raises(JobSpecError, match="array: is in a line of #SBATCH too"):
        array_trigger(job(is_array=True), ArrayFields(**FIELDS))


def test_arrays_can_be_mapped_and_take_default_args():
    """Each mapped task is an array of its own."""
    with DAG("d", schedule=None, default_args={"element_retries": 2, "memory": "1G"}):
        plain = SlurmArrayOperator(task_id="plain", command="true", array="0-9")
        mapped = SlurmArrayOperator.partial(task_id="mapped", command=["true"]).expand(arguments=[["a", "b"], ["c"]])
    assert (plain.element_retries, plain.memory) == (2, "1G")
    second = mapped.unmap({"arguments": ["c"]})
    assert (second.arguments, second.element_retries, second.memory) == (["c"], 2, "1G")
