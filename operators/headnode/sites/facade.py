"""From a job with ``site``, ``launch`` and ``environment`` to one of plain fields, checked against the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from headnode.errors import JobSpecError
from headnode.sites.catalogue import Catalogue, nearest
from headnode.sites.conflicts import check_against_site
from headnode.sites.environments import parse_environment
from headnode.sites.environments.environment import Environment, Surroundings
from headnode.sites.launchers import parse_launcher
from headnode.sites.launchers.commands import check_launchable
from headnode.sites.launchers.launcher import Launcher, Layout, Machine
from headnode.sites.resources import own_gpu_option, request_gpus, request_memory
from headnode.sites.system import Partition, System
from headnode.sites.templates import refuse_templates
from headnode.slurm.jobspec import whole_number

#: The fields of a job that are resolved here, and that Slurm knows nothing of.
FACADE_FIELDS: Final = ("site", "launch", "environment")

_COUNTED: Final = ("nodes", "ntasks_per_node", "cpus_per_task")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a job is to run: a system and one of its partitions, None where no site is named or nothing is known."""

    system: System | None = None
    partition_name: str | None = None
    partition: Partition | None = None


def arrange(fields: Mapping[str, Any], catalogue: Catalogue, unknown: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Return the job's plain fields: what Slurm is asked, the lines of the environment, the start of the command.

    What is given counts: ``nodes``, ``cpus_per_task``, ``memory`` and so on are never replaced. Without ``site``,
    ``launch`` and ``environment`` the fields are returned as they are. ``unknown`` names fields that get their values
    later, when a DAG is only parsed: what depends on them is not checked, and the answer is not to be submitted.

    Raises:
        JobSpecError: something is unknown, or asks for more than the site has; the message has the number and where
            it was read.
    """
    plain = {name: value for name, value in fields.items() if name not in FACADE_FIELDS}
    if all(fields.get(name) is None for name in FACADE_FIELDS):
        return plain
    launcher, environment = _described(fields, unknown)
    if launcher is not None:
        launcher = _with_own_counts(launcher, fields)
    if "site" in unknown:
        return plain
    place = find_place(fields.get("site"), plain.get("partition"), launcher, catalogue, unknown)
    if place.partition_name is not None:
        is_partition = place.partition is None or place.partition.is_partition
        plain["partition"] = place.partition_name if is_partition else None
    plain = _with_site_options(plain, place)
    lines, wrapper = _enter(environment, place, launcher, plain.get("gpus_per_node"))
    if wrapper and plain.get("script") is not None:
        raise JobSpecError("environment", "a container holds a command, and a script runs outside of it; give command=")
    if launcher is not None:
        machine = machine_of(place, wrapper=wrapper, given=frozenset(plain.get("env") or ()))
        plain, starting = _launched(plain, launcher, machine, place)
        lines += starting
    elif wrapper:
        check_launchable(plain.get("command") or "")
        plain["launch_prefix"] = wrapper
    own = plain.get("setup")
    plain["setup"] = "\n".join([*lines, *([own] if own else [])]) or None
    check_against_site(_known(plain, unknown), place.system, place.partition_name)
    return plain


def find_place(
    site: str | None,
    partition: str | None,
    launcher: Launcher | None,
    catalogue: Catalogue,
    unknown: frozenset[str] = frozenset(),
) -> Place:
    """Return the system and its partition, by default the one that suits the launcher. Raises JobSpecError.

    Of ``unknown`` see ``arrange``.
    """
    if site is None:
        return Place(partition_name=partition)
    system = catalogue.system(site)
    if unknown & ({"partition"} if partition is not None else {"partition", "launch"}):
        return Place(system=system)
    if partition is None:
        wants_gpus = launcher is not None and launcher.wants_gpus and launcher.gpus_per_node != 0
        partition = (system.gpu_partition if wants_gpus else None) or system.default_partition
    if partition is None:
        return Place(system=system)
    known = system.partitions.get(partition)
    if known is None and system.partitions:
        raise JobSpecError(
            "partition", f"{system.name} has no partition {partition!r}{nearest(partition, system.partitions)}"
        )
    return Place(system=system, partition_name=partition, partition=known)


def machine_of(place: Place, *, wrapper: str = "", given: frozenset[str] = frozenset()) -> Machine:
    """Return what a launcher needs to know of a partition's nodes and of the system's network."""
    system, partition = place.system, place.partition or Partition()
    if system is None:
        return Machine(wrapper=wrapper, given=given)
    return Machine(
        cores=partition.cores_for_jobs,
        gpus=partition.gpus,
        cpus_per_gpu=partition.cpus_per_gpu,
        gpu_vendor=partition.gpu_vendor,
        host_suffix=system.network.host_suffix,
        interfaces=system.network.interfaces,
        environment=system.network.environment,
        srun_mpi=system.srun.mpi,
        wrapper=wrapper,
        gpus_by_task=system.gpu_request is not None and system.gpu_request.form == "gpus-per-task",
        given=given,
    )


def surroundings_of(place: Place, launcher: Launcher | None, gpus_per_node: Any = None) -> Surroundings:
    """Return what environments need to know of where they are used; ``gpus_per_node`` are those that are asked for."""
    partition = place.partition or Partition()
    gpus = launcher.gpus_per_node if launcher is not None else whole_number(gpus_per_node)
    return Surroundings(
        system=place.system,
        partition=place.partition_name,
        software=launcher.software if launcher is not None else None,
        gpus=bool(partition.gpus if gpus is None else gpus),
        gpu_vendor=partition.gpu_vendor,
    )


def _enter(
    environment: Environment | None, place: Place, launcher: Launcher | None, gpus_per_node: Any
) -> tuple[list[str], str]:
    if environment is None:
        return [], ""
    surroundings = surroundings_of(place, launcher, gpus_per_node)
    return environment.lines(surroundings), environment.wrapper(surroundings)


def _launched(
    fields: dict[str, Any], launcher: Launcher, machine: Machine, place: Place
) -> tuple[dict[str, Any], list[str]]:
    if launcher.wants_gpus and launcher.gpus_per_node is None and place.partition is not None and machine.gpus is None:
        raise JobSpecError(
            "launch", f"how many GPUs a node of {place.partition_name} has is unknown; give gpus_per_node= (0 for none)"
        )
    layout = launcher.layout(machine)
    _refuse_more_gpus(layout, machine, place)
    command = fields.get("command")
    launch = launcher.launch(machine, layout, command=command if command is not None else "")
    asked = _asked(layout, fields)
    gpus = request_gpus(layout, place.system, fields)
    memory = request_memory(layout, place.partition, fields)
    return {**fields, **asked, **gpus, **memory, "launch_prefix": launch.prefix}, list(launch.lines)


def _refuse_more_gpus(layout: Layout, machine: Machine, place: Place) -> None:
    if place.system is None or machine.gpus is None or layout.gpus_per_node <= machine.gpus:
        return
    raise JobSpecError(
        "gpus_per_node",
        f"{layout.gpus_per_node} GPUs on a node, where one of {place.partition_name} of {place.system.name} has"
        f" {machine.gpus}: {place.system.source_of(f'partitions.{place.partition_name}', 'gpus')}",
    )


def _described(fields: Mapping[str, Any], unknown: frozenset[str]) -> tuple[Launcher | None, Environment | None]:
    """Return the launcher and the environment, None where there is none or a part of it is unknown."""
    if fields.get("site") is not None and not isinstance(fields["site"], str):
        raise JobSpecError("site", f"must be the name of a system, not {fields['site']!r}")
    launcher: Launcher | None = None
    environment: Environment | None = None
    if fields.get("launch") is not None:
        launcher = parse_launcher(fields["launch"])
        if fields.get("script") is not None:
            raise JobSpecError("launch", "starts a command, and a script starts what it runs itself; give command=")
        if fields.get("components"):
            raise JobSpecError("launch", "starts a program on the nodes of one component; leave out components=")
    if fields.get("environment") is not None:
        environment = parse_environment(fields["environment"])
    if "launch" in unknown:
        launcher = None
    elif launcher is not None:
        refuse_templates(launcher, "launch")
    if "environment" in unknown:
        environment = None
    elif environment is not None:
        refuse_templates(environment, "environment")
    return launcher, environment


def _with_own_counts(launcher: Launcher, fields: Mapping[str, Any]) -> Launcher:
    """Return the launcher with the counts that the job itself gives."""
    own = {name: fields[name] for name in ("nodes", "gpus_per_node", "cpus_per_task") if fields.get(name) is not None}
    for name, value in own.items():
        if name in launcher.model_fields_set:
            raise JobSpecError(
                name,
                f"is given twice, {value!r} here and {getattr(launcher, name)!r} in launch=; leave one of them out",
            )
    option = own_gpu_option(fields.get("sbatch_options") or {})
    if option is not None and launcher.wants_gpus and launcher.gpus_per_node is None:
        problem = f"{option!r} asks for GPUs, and launch= starts a process for each: give it gpus_per_node=, too"
        raise JobSpecError("sbatch_options", problem)
    return parse_launcher({**dict(launcher), **own}) if own else launcher


def _known(fields: Mapping[str, Any], unknown: frozenset[str]) -> dict[str, Any]:
    """Return the fields whose values are known, and for those that are mandatory something that stands for them."""
    known = {name: value for name, value in fields.items() if name not in unknown}
    if unknown & {"account", "sbatch_options"}:
        known["account"] = fields.get("account") or "rendered later"
    if unknown & {"qos", "sbatch_options"}:
        known["qos"] = fields.get("qos") or "rendered later"
    return known


def _asked(layout: Layout, fields: Mapping[str, Any]) -> dict[str, Any]:
    asked = {name: getattr(layout, name) for name in _COUNTED if fields.get(name) is None}
    if fields.get("ntasks") is not None:
        asked.pop("ntasks_per_node", None)
    return {name: value for name, value in asked.items() if value is not None}


def _with_site_options(fields: dict[str, Any], place: Place) -> dict[str, Any]:
    """Add what each job of the site must say; what is given wins."""
    if place.system is None:
        return fields
    mandatory, partition = place.system.mandatory, place.partition or Partition()
    options: dict[str, Any] = dict(mandatory.sbatch_options)
    if mandatory.clusters is not None:
        options["clusters"] = mandatory.clusters
    if constraint := partition.constraint or mandatory.constraint:
        options["constraint"] = constraint
    if partition.qos is not None and not fields.get("qos"):
        fields = {**fields, "qos": partition.qos}
    return {**fields, "sbatch_options": {**options, **(fields.get("sbatch_options") or {})}}
