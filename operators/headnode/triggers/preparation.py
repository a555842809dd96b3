"""From an operator's rendered fields to the trigger that runs the job, for workers and triggerers alike."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from headnode.errors import JobSpecError
from headnode.slurm.jobspec import JobSpec, parse_jobspec
from headnode.slurm.policy import FailurePolicy
from headnode.slurm.record import Labels
from headnode.slurm.script import asks_for_array, author_options, expected_elements, render_script
from headnode.ssh.settings import ClusterSettings
from headnode.templated import empty_as_none
from headnode.triggers.slurm_job import SlurmJobTrigger

#: Fields of a job that the catalogue of sites resolves before Slurm is asked.
SITE_FIELDS: Final = ("site", "launch", "environment")
SPEC_FIELDS: Final = (
    "job_name",
    "command",
    "script",
    "setup",
    "env",
    "secret_env",
    "partition",
    "account",
    "qos",
    "time_limit",
    "nodes",
    "ntasks",
    "ntasks_per_node",
    "cpus_per_task",
    "gpus_per_node",
    "memory",
    "sbatch_options",
    "components",
    *SITE_FIELDS,
)


def labels_of(ti: Any) -> Labels:
    """Return whose job it is; ``ti`` is Airflow's task instance, on a worker or in a triggerer."""
    return Labels(
        dag_id=ti.dag_id,
        run_id=ti.run_id,
        task_id=ti.task_id,
        map_index=-1 if ti.map_index is None else ti.map_index,
        try_number=ti.try_number,
    )


def describe_job(fields: Mapping[str, Any], policy: FailurePolicy, *, unknown: frozenset[str] = frozenset()) -> JobSpec:
    """Return the checked description of a job that is warned before its time is up, where its policy wants that.

    ``unknown`` names the fields that are rendered later, when a DAG is only parsed.

    Raises:
        JobSpecError: a field can't be right, asks for more than the site has, or does not go with the policy.
    """
    fields = _arranged(fields, unknown)
    options = fields.get("sbatch_options")
    if policy.on_timeout is not None and policy.wants_checkpoint and isinstance(options or {}, Mapping):
        if "signal" in (options or {}):
            raise JobSpecError("sbatch_options", "'signal' is set by on_timeout=Resubmit(), see its signal_seconds")
        fields = {**fields, "sbatch_options": {**(options or {}), **policy.on_timeout.sbatch_options()}}
    spec = parse_jobspec(fields)
    policy.check(spec)
    return spec


def prepare_trigger(
    fields: Mapping[str, Any],
    *,
    templated: frozenset[str],
    ti: Any,
    settings: ClusterSettings,
    deployment_id: str | None,
    code: bytes | None = None,
    code_sha256: str | None = None,
    ends_task: bool,
    push_result: bool,
    outage_tolerance_seconds: float,
    depends_on: dict[str, Any] | None = None,
    policy: FailurePolicy | None = None,
    max_pending_seconds: float | None = None,
    adopt_owners: Sequence[str] = (),
    takes_arguments: bool = False,
) -> SlurmJobTrigger:
    """Return the trigger for the rendered ``fields``; ``templated`` names those that were templates.

    ``takes_arguments`` is for the script of an array whose elements have words of their own. An environment that
    reads local files has their content already.

    Raises:
        JobSpecError: a field can't be right.
    """
    given = empty_as_none(fields, templated)
    given["job_name"] = given.get("job_name") or f"{ti.dag_id}.{ti.task_id}"
    if settings.account and not given.get("account") and "account" not in (given.get("sbatch_options") or {}):
        given["account"] = settings.account
    given, files = _with_site(given, settings)
    policy = policy or FailurePolicy()
    try:
        spec = describe_job(given, policy)
    except JobSpecError as error:
        if error.field != "site" or fields.get("site") or settings.site is None:
            raise
        whose = f"the site is {settings.site!r} by connection {settings.ssh.conn_id!r}; site= of the task comes first"
        raise JobSpecError("site", f"{error.problem} ({whose})") from error
    script = render_script(spec, checkpoint=policy.wants_checkpoint, takes_arguments=takes_arguments)
    return SlurmJobTrigger(
        slurm_conn_id=settings.ssh.conn_id,
        owner=str(ti.id),
        labels=labels_of(ti).model_dump(),
        script=script,
        job_name=spec.job_name,
        script_sha256=hashlib.sha256(script.encode()).hexdigest(),
        requested={**spec.requested(), **author_options(spec), **_site_and_launcher(given)},
        deployment_id=deployment_id,
        code=base64.b64encode(code).decode() if code is not None else None,
        code_sha256=code_sha256,
        is_array=asks_for_array(spec),
        elements=expected_elements(spec),
        ends_task=ends_task,
        push_result=push_result,
        outage_tolerance_seconds=outage_tolerance_seconds,
        depends_on=depends_on,
        policy=policy.to_json() or None,
        max_pending_seconds=max_pending_seconds,
        adopt_owners=list(adopt_owners),
        secret_env=spec.secret_env or None,
        files={name: base64.b64encode(content).decode() for name, content in files.items()} or None,
    )


def _with_site(given: dict[str, Any], settings: ClusterSettings) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return the fields with the connection's site where they need one, and the files of their environment."""
    if all(given.get(name) is None for name in ("launch", "environment")):
        return given, {}
    given = {**given, "site": given.get("site") or settings.site}
    if given["environment"] is None:
        return given, {}
    from headnode.sites.environments import parse_environment  # noqa: PLC0415 - see _arranged

    environment = parse_environment(given["environment"])
    return {**given, "environment": environment}, environment.files()


def _arranged(fields: Mapping[str, Any], unknown: frozenset[str]) -> dict[str, Any]:
    """Return the fields that Slurm knows, arranged for the job's site where it names one."""
    plain = {name: value for name, value in fields.items() if name not in SITE_FIELDS}
    if all(fields.get(name) is None for name in SITE_FIELDS):
        return plain
    # Loaded where they are used: most jobs need no catalogue.
    from headnode.hooks.site_catalogue import load_catalogue  # noqa: PLC0415
    from headnode.sites.facade import arrange  # noqa: PLC0415

    parse_jobspec(plain)  # what is arranged is of the right types
    return arrange(fields, load_catalogue(), unknown)


def _site_and_launcher(fields: Mapping[str, Any]) -> dict[str, str]:
    """Return what the record says of where a job runs and of how it is started."""
    launch = fields.get("launch")
    kind = launch.get("kind") if isinstance(launch, Mapping) else None
    return {name: str(value) for name, value in (("site", fields.get("site")), ("launch", kind)) if value is not None}
