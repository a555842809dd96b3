"""``launch`` and ``environment`` of an operator: as data, which Airflow renders and stores, and with what they read.

Nothing of ``headnode.sites`` is loaded here for a task that has neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headnode.errors import JobSpecError
from headnode.slurm.policy import FailurePolicy
from headnode.templated import is_templated
from headnode.triggers.preparation import describe_job

if TYPE_CHECKING:
    from headnode.operators.slurm_job import SlurmJobOperator
    from headnode.sites.environments.environment import Environment


def as_data(field: str, value: Any) -> Any:
    """Return a launcher or an environment as a dict; another task's output, and None, are what they are.

    Raises:
        JobSpecError: it is something else.
    """
    if value is None or (is_templated(value) and not isinstance(value, str | Mapping | list | tuple)):
        return value
    if isinstance(value, Mapping):
        return dict(value)
    # Whoever has made one of them has loaded these already.
    from headnode.sites.environments import Environments  # noqa: PLC0415
    from headnode.sites.environments.environment import Environment  # noqa: PLC0415
    from headnode.sites.launchers.launcher import Launcher  # noqa: PLC0415

    if field == "environment" and isinstance(value, list | tuple) and all(isinstance(x, Environment) for x in value):
        value = Environments(environments=tuple(part for each in value for part in each.parts()))
    kind = Launcher if field == "launch" else Environment
    if not isinstance(value, kind):
        example = "Torchrun(nodes=2)" if field == "launch" else "Modules('pytorch')"
        raise JobSpecError(field, f"must be such as {example}, or a dict with its kind, not {value!r}")
    return value.model_dump(mode="json", exclude_defaults=True, warnings=False)


def check_description(
    task: SlurmJobOperator, known: Mapping[str, Any], policy: FailurePolicy, unknown: frozenset[str]
) -> None:
    """Check a task's job, and what it asks of its site, as far as that is ``known`` when the DAG is parsed.

    Raises:
        JobSpecError: it can't be right, or its site would refuse it or never start it.
    """
    fields = {**known, "job_name": known.get("job_name") or "rendered later"}
    if fields.get("site") is None and not (task.launch is None and task.environment is None):
        unknown |= {"site"}  # the connection may say which it is
    if fields.get("environment") is not None and (dag := task._dag) is not None:  # noqa: SLF001 - `dag` raises
        fields["environment"] = with_files(fields["environment"], dag.fileloc, on_worker=False)
    elif fields.get("environment") is not None:
        unknown |= {"environment"}  # where its files are is not known yet
    # What stands beside a template can be read at once.
    given = {"launch": task.launch, "environment": task.environment}
    fields |= {name: value for name, value in given.items() if name in unknown and isinstance(value, Mapping)}
    try:
        describe_job(fields, policy, unknown=unknown)
    except JobSpecError as error:
        if error.field != "account" or task.account is not None:
            raise
        default = f'account="{{{{ conn.{task.slurm_conn_id}.extra_dejson.account }}}}"'
        raise JobSpecError(error.field, f"{error.problem}. The connection's own is {default}") from error


def reads_files(environment: Any, dag_file: str | None) -> bool:
    """Whether the environment has content of local files, which a triggerer does not have."""
    if environment is None:
        return False
    from headnode.sites.environments import parse_environment  # noqa: PLC0415

    return parse_environment(environment) != with_files(environment, dag_file, on_worker=False)


def with_files(environment: Any, dag_file: str | None, *, on_worker: bool = True) -> Environment | None:
    """Return the environment with the content of the files that it names, which are beside the DAG's file.

    Raises:
        JobSpecError: it can't be right, or a file is not there.
    """
    if environment is None:
        return None
    from headnode.sites.environments import parse_environment  # noqa: PLC0415

    return parse_environment(environment).resolved(Path(dag_file).parent if dag_file else None, on_worker=on_worker)
