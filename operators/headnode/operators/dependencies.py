"""What ``depends_on=`` of an operator asks for, checked against the DAG as far as it is known."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from headnode.errors import JobSpecError
from headnode.slurm.dependencies import Dependencies, parse_dependencies
from headnode.templated import is_templated


def parse_operator_dependencies(task: Any) -> Dependencies:
    """Return the dependencies of ``task``, an operator that is being made and has a ``depends_on``.

    Raises:
        JobSpecError: they can't be right.
    """
    dependencies = parse_dependencies(task.depends_on, task_id=task.task_id)
    if any(is_templated(task_id) for _, task_id in dependencies.pairs()):
        raise JobSpecError("depends_on", "names tasks, which can't be templates")
    options = getattr(task, "sbatch_options", None)
    if dependencies and isinstance(options, dict) and "dependency" in options:
        raise JobSpecError("depends_on", "and sbatch_options 'dependency' are both given; give one of them")
    if dependencies.singleton and getattr(task, "components", None):
        # All components have the job's name: tried with Slurm 22.05, they wait for each other for ever.
        raise JobSpecError(
            "depends_on", "'singleton' can't be met by a heterogeneous job, whose components share a name"
        )
    return dependencies


def check_dependencies(task: Any, dependencies: Dependencies, dag: Any) -> None:
    """Check the dependencies of ``task`` against the whole DAG.

    Raises:
        JobSpecError: a task is not in the DAG, or could only begin when this one has ended.
    """
    for _, task_id in dependencies.pairs():
        if task_id not in dag.task_dict:
            raise JobSpecError("depends_on", f"there is no task {task_id!r} in the DAG {dag.dag_id!r}")
        if task.task_id in _waits_for(task_id, dag):
            raise JobSpecError("depends_on", f"{task_id!r} waits for this task itself, so that neither could begin")
        if task_id in task.upstream_task_ids:
            task.log.warning(
                "depends_on names %r, which is an upstream task too: its job has ended before this one is submitted;"
                " leave out >> to queue both at once",
                task_id,
            )


def _waits_for(task_id: str, dag: Any) -> set[str]:
    """Return all tasks for which a task waits, in Airflow or in Slurm, over any number of others."""
    found: set[str] = set()
    left = [task_id]
    while left:
        for other in _before(left.pop(), dag):
            if other not in found:
                found.add(other)
                left.append(other)
    return found


def _before(task_id: str, dag: Any) -> Iterator[str]:
    task = dag.task_dict.get(task_id)
    yield from getattr(task, "upstream_task_ids", ())
    depends_on = getattr(task, "depends_on", None) or getattr(task, "partial_kwargs", {}).get("depends_on")
    yield from (other for _, other in parse_dependencies(depends_on).pairs())
