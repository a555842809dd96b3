"""``depends_on=`` of the operators: what is refused when the DAG is parsed, and what against the whole DAG."""

import pytest
from airflow.sdk import DAG

from headnode import SlurmArrayOperator, SlurmJobOperator
from headnode.errors import JobSpecError
from headnode.operators.dependencies import check_dependencies, parse_operator_dependencies


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"depends_on": "apply"}, "the task depends on itself"),
        ({"depends_on": {"before": "train"}}, "no kind of dependency"),
        ({"depends_on": "{{ params.task }}"}, "can't be templates"),
        ({"depends_on": "train", "sbatch_options": {"dependency": "afterok:7"}}, "give one of them"),
        ({"depends_on": {"singleton": True}, "components": [{"nodes": 1}]}, "components share a name"),
    ],
)
def test_what_cannot_be_right_is_refused_when_the_dag_is_parsed(fields, words):
    """With the task's name."""
    with DAG("d", schedule=None), pytest.raises(JobSpecError, match=words) as caught:
        SlurmJobOperator(task_id="apply", command="true", **fields)
    assert "task 'apply'" in str(caught.value)


def test_tasks_and_their_ids_are_as_good():
    """Mapped ones, arrays and tasks in groups, too; the trigger gets plain data."""
    with DAG("d", schedule=None):
        train = SlurmJobOperator.partial(task_id="train").expand(command=["true", "false"])
        tiles = SlurmArrayOperator(task_id="tiles", command="true", array="0-3")
        apply = SlurmJobOperator(
            task_id="apply",
            command="true",
            depends_on={"afterok": [train, "other"], "aftercorr": tiles},
            start_from_trigger=True,
        )
    expected = {"afterok": ["train", "other"], "aftercorr": ["tiles"]}
    assert parse_operator_dependencies(apply).to_json() == expected
    assert apply.start_trigger_args.trigger_kwargs["depends_on"] == expected


def dag_of(**tasks):
    """Return a DAG of jobs, each with its ``depends_on``."""
    with DAG("d", schedule=None) as dag:
        for task_id, depends_on in tasks.items():
            SlurmJobOperator(task_id=task_id, command="true", depends_on=depends_on)
    return dag


def check(dag, task_id):
    """Check one task of the DAG as ``execute`` does."""
    task = dag.task_dict[task_id]
    check_dependencies(task, parse_operator_dependencies(task), dag)


def test_a_chain_is_no_circle():
    """However long."""
    dag = dag_of(a=None, b="a", c=["a", "b"], d={"afterany": "c"})
    for task_id in "abcd":
        check(dag, task_id)


def test_a_circle_is_refused_for_each_of_its_tasks():
    """Over Slurm's dependencies and Airflow's together: no task of it could begin."""
    dag = dag_of(a="b", b="c", c=None)
    dag.task_dict["a"] >> dag.task_dict["c"]
    for task_id in "ab":
        with pytest.raises(JobSpecError, match="waits for this task itself"):
            check(dag, task_id)


def test_a_mapped_tasks_dependencies_count_as_well():
    """They are kept where mapped tasks keep what they have in common."""
    with DAG("d", schedule=None) as dag:
        SlurmJobOperator.partial(task_id="a", depends_on="b").expand(command=["true"])
        SlurmJobOperator(task_id="b", command="true", depends_on="a")
    with pytest.raises(JobSpecError, match="waits for this task itself"):
        check(dag, "b")


def test_a_task_that_is_not_there_is_refused_by_its_name():
    """A slip of the pen would wait for ever."""
    with pytest.raises(JobSpecError, match="there is no task 'trian' in the DAG 'd'"):
        check(dag_of(apply="trian"), "apply")
