"""From a system and a program to a start script, with where its facts were read and what is unknown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from headnode.sites.catalogue import Catalogue
from headnode.sites.environments.environment import Environment
from headnode.sites.environments.modules import Modules
from headnode.sites.facade import Place, arrange, find_place, surroundings_of
from headnode.sites.launchers import kind_of, launcher_for, parse_launcher, software_named
from headnode.sites.launchers.launcher import Launcher
from headnode.sites.system import Partition, System
from headnode.slurm.jobspec import JobSpec, parse_jobspec
from headnode.slurm.standalone import render_standalone_script
from headnode.slurm.time_limits import render_time_limit

#: Programs as people call them.
TITLES: Final[Mapping[str, str]] = {
    "deephyper": "DeepHyper",
    "deepspeed": "DeepSpeed",
    "heat": "Heat",
    "horovod": "Horovod",
    "mpi": "MPI",
    "mpi4py": "mpi4py",
    "optuna": "Optuna",
    "python": "Python",
    "pytorch": "PyTorch DDP",
    "ray": "Ray",
    "ray-tune": "Ray Tune",
    "tensorflow": "TensorFlow",
}
# Of these a site without modules for them has some.
_ANYWHERE: Final = ("python",)
# What a program needs of the site, where the catalogue has nothing for the program itself.
_NEEDS: Final[Mapping[str, str]] = {"optuna": "python", "deephyper": "mpi4py"}


@dataclass(frozen=True, kw_only=True)
class Generated:
    """A script, and what there is to say of it: ``sources`` of its facts, ``notes`` on what is unknown or left open.

    ``requested`` are its options of sbatch by their long names.
    """

    system: str
    software: str
    partition: str | None
    text: str
    sources: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    requested: dict[str, Any] = field(default_factory=dict)


def generate_script(
    system_name: str,
    software: str,
    *,
    command: Sequence[str] | str,
    catalogue: Catalogue,
    partition: str | None = None,
    nodes: int | None = None,
    time_limit: str | timedelta | None = None,
    account: str | None = None,
    qos: str | None = None,
    gpus_per_node: int | None = None,
    cpus_per_task: int | None = None,
    memory: str | None = None,
    job_name: str | None = None,
    setup: str | None = None,
    env: Mapping[str, str] | None = None,
    sbatch_options: Mapping[str, Any] | None = None,
    launch: Mapping[str, Any] | None = None,
    environment: Environment | None = None,
) -> Generated:
    """Return the script that starts ``command`` with ``software`` on a system; ``sbatch FILE`` submits it.

    ``launch`` has further fields of the software's launcher (``{"scheduler": "bohb"}``); ``environment`` is entered
    after the modules.

    Raises:
        JobSpecError: there is no such system, software or partition, or they do not go together; the message has the
            nearest names, or the number and where it was read.
    """
    program = software_named(software)
    launcher = parse_launcher({"kind": kind_of(launcher_for(program)), **(launch or {})})
    system = catalogue.system(system_name)
    fields: dict[str, Any] = {
        "job_name": job_name or program,
        "command": list(command) if not isinstance(command, str) else command,
        "partition": partition,
        "nodes": nodes,
        "time_limit": time_limit,
        "account": account,
        "qos": qos,
        "gpus_per_node": gpus_per_node,
        "cpus_per_task": cpus_per_task,
        "memory": memory,
        "setup": setup,
        "env": dict(env or {}),
        "sbatch_options": dict(sbatch_options or {}),
        "site": system.name,
        "launch": launcher,
        "environment": environment,
    }
    place = find_place(system.name, partition, launcher, catalogue)
    block, missing = _modules(program, place, launcher)
    arranged = arrange(fields, catalogue)
    arranged["setup"] = "\n".join(filter(None, ["\n".join(block), arranged.get("setup")])) or None
    spec = parse_jobspec(arranged)
    sources = tuple(_sources(place, _stack_for(program, place)))
    notes = (*missing, *_left_open(place, spec))
    return Generated(
        system=system.name,
        software=program,
        partition=place.partition_name,
        text=render_standalone_script(spec, _header(program, system, sources, notes)),
        sources=sources,
        notes=notes,
        requested=spec.requested(),
    )


def _header(program: str, system: System, sources: Sequence[str], notes: Sequence[str]) -> list[str]:
    lines = [f"{TITLES[program]} on {system.title} ({system.operator}), by headnode"]
    if sources:
        lines += ["", "Facts:", *(f"  {each}" for each in sources)]
    if notes:
        lines += ["", "To know:", *(f"  {each}" for each in notes)]
    return [*lines, ""]


def _stack_for(program: str, place: Place) -> str | None:
    """Return the name of the software whose modules are loaded, None where none are known for the partition."""
    for name in (program, _NEEDS.get(program)):
        stack = place.system.stack(name) if place.system is not None and name is not None else None
        if stack is not None and (not stack.partitions or place.partition_name in (None, *stack.partitions)):
            return name
    return None


def _modules(program: str, place: Place, launcher: Launcher) -> tuple[list[str], list[str]]:
    """Return the lines of the block of modules, and what there is to say of them or in their place."""
    system, name = place.system, _stack_for(program, place)
    if system is None:
        return [], []
    if name is not None:
        notes = [] if name == program else [f"{TITLES[program]} itself comes from an environment of your own"]
        own, whole = system.software[name], system.stack(name)
        if note := own.note or (whole.note if whole is not None else None):
            notes.append(f"modules: {note}")
        lines = Modules(name).key(surroundings_of(place, launcher))
        return [f"# MODULES BEGIN {system.name} {name}", *lines, "# MODULES END", ""], notes
    if program in _ANYWHERE:
        return [], []
    if system.module_system in ("uenv", "none"):
        how = "it has no modules, but uenv" if system.module_system == "uenv" else "it has no modules"
        return [], [f"how {TITLES[program]} is made available there is unknown ({how}); do so before the launch"]
    where = f" on {place.partition_name}" if system.stack(program) is not None else ""
    how = "module spider" if system.module_system == "lmod" else "module avail"
    unknown = f"the modules for {TITLES[program]}{where} are unknown"
    return [], [f"{unknown}: find them there with `{how}` and load them, or enter an environment, before the launch"]


def _sources(place: Place, stack: str | None) -> list[str]:
    """Return in words where the script's facts were read; ``stack`` is the software whose modules are loaded."""
    system = place.system
    if system is None:
        return []
    found: list[tuple[str, str, str | None]] = []
    if place.partition is not None:
        kind = "partition" if place.partition.is_partition else "nodes"
        found.append((f"{kind} {place.partition_name}", f"partitions.{place.partition_name}", None))
        if system.gpu_request is not None and place.partition.gpus:
            found.append(("GPUs", "gpu_request", None))
        if place.partition.usable_cores is not None:
            cores = f"{place.partition.usable_cores} usable cores a node"
            found.append((cores, f"partitions.{place.partition_name}", "usable_cores"))
    if stack is not None:
        found.append(("modules", f"software.{stack}", None))
    by_source: dict[str, list[str]] = {}
    for what, block, fact in found:
        by_source.setdefault(system.source_of(block, fact), []).append(what)
    return [f"{', '.join(facts)}: {source}" for source, facts in by_source.items()]


def _left_open(place: Place, spec: JobSpec) -> list[str]:
    """Return in words what the script does not say since it is unknown, and which defaults count in its place."""
    system, partition = place.system, place.partition or Partition()
    if system is None:
        return []
    notes = []
    if place.partition_name is None:
        notes.append("its partitions are unknown, and so what a node has: `sinfo` lists them; give a partition")
    elif partition.cores_for_jobs is None and spec.cpus_per_task is None:
        notes.append(f"how many cores a node of {place.partition_name} has is unknown, so that none are asked for")
    if partition.gpus and system.gpu_request is None:
        notes.append("how GPUs are asked for there is unknown; --gpus-per-node is Slurm's own way")
    if system.mandatory.account is None and not spec.account:
        notes.append("whether each job must name an account is unknown")
    if spec.time_limit is None:
        known = [
            f"{what} {render_time_limit(value)}"
            for what, value in (("by default", partition.default_time), ("at most", partition.max_time))
            if value is not None
        ]
        notes.append(f"no time limit is given; the partition's own counts ({', '.join(known) or 'unknown'})")
    return notes
