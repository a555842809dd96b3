"""What every launcher is: pure functions from a description and a machine to a layout of tasks and script lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from pydantic import model_validator

from headnode.errors import JobSpecError
from headnode.sites.launchers.commands import check_launchable
from headnode.sites.templates import Templated
from headnode.slurm.jobspec import Count, CountOrZero


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What a launcher knows of where it runs; numbers are those of one node, None is unknown.

    ``cores`` are those that a job may ask for. ``wrapper`` is shell text that goes before what runs on the nodes
    (``apptainer exec ...``), empty for none. ``host_suffix`` is added to a host's name for the fast network, whose
    interfaces are ``interfaces``. ``gpus_by_task`` tells that GPUs are asked for by task there. ``given`` are the
    variables that the job's own environment sets, which no launcher sets to anything else.
    """

    cores: int | None = None
    gpus: int | None = None
    cpus_per_gpu: int | None = None
    gpu_vendor: Literal["nvidia", "amd", "intel"] | None = None
    host_suffix: str = ""
    interfaces: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    srun_mpi: str | None = None
    wrapper: str = ""
    gpus_by_task: bool = False
    given: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What is asked of Slurm for a launch; ``cpus_per_task`` is None where the machine's cores are unknown."""

    nodes: int
    ntasks_per_node: int
    cpus_per_task: int | None
    gpus_per_node: int
    whole_nodes: bool = False


@dataclass(frozen=True, kw_only=True)
class Launch:
    """The start of a program: ``lines`` of shell text before it, and the ``prefix`` of its command.

    What follows the prefix on its line are the words of the command, quoted where they need be.
    """

    lines: tuple[str, ...] = ()
    prefix: str = ""


class Launcher(Templated):
    """How a program is started over the nodes of a job.

    ``gpus_per_node`` is all that a node has where it is not given; ``cpus_per_task`` is a node's usable cores divided
    by the tasks on it. A field may be a template where the launcher is given to an operator, which renders it.
    """

    #: What it starts, by the name that the catalogue's software has.
    software: ClassVar[str]
    #: Whether a partition with GPUs is what it wants where none is named.
    wants_gpus: ClassVar[bool] = True

    @model_validator(mode="after")
    def _is_of_its_kind(self) -> Launcher:
        # A launcher that is made of another has its own kind, by which it is found again.
        own = type(self).model_fields["kind"].default
        if self.kind != own:
            raise ValueError(f"kind of {type(self).__name__} is {own!r}, not {self.kind!r}")
        return self

    nodes: Count = 1
    gpus_per_node: CountOrZero | None = None
    cpus_per_task: Count | None = None

    def layout(self, machine: Machine) -> Layout:
        """Return the tasks, CPUs and GPUs of a node. Raises JobSpecError where they can't be told or don't fit."""
        gpus = self.gpus(machine)
        tasks = self.tasks_per_node(machine, gpus)
        return Layout(
            nodes=self.nodes,
            ntasks_per_node=tasks,
            cpus_per_task=self.cpus_per_task or _share(machine, gpus=gpus, tasks=tasks),
            gpus_per_node=gpus,
            whole_nodes=self.takes_whole_nodes,
        )

    def gpus(self, machine: Machine) -> int:
        """Return how many GPUs of each node are asked for."""
        if self.gpus_per_node is not None:
            return self.gpus_per_node
        return machine.gpus or 0

    @property
    def takes_whole_nodes(self) -> bool:
        """Whether nothing else may run on its nodes."""
        return False

    def tasks_per_node(self, machine: Machine, gpus: int) -> int:
        """Return the number of Slurm's tasks on each node."""
        raise NotImplementedError

    def launch(self, machine: Machine, layout: Layout, *, command: list[str] | str) -> Launch:
        """Return how ``command`` is started on ``machine``.

        Raises:
            JobSpecError: the command is not one that can be started, or too little is known of the machine.
        """
        check_launchable(command)
        return self.start(machine, layout, command)

    def start(self, machine: Machine, layout: Layout, command: list[str] | str) -> Launch:
        """Return how ``command``, which can be started, is started on ``machine``."""
        raise NotImplementedError


def _share(machine: Machine, *, gpus: int, tasks: int) -> int | None:
    """Return the usable cores for each task: those of the asked share of the GPUs, divided by the tasks."""
    cores = machine.cores
    if machine.cpus_per_gpu and gpus:
        cores = min(machine.cpus_per_gpu * gpus, cores or machine.cpus_per_gpu * gpus)
    elif cores is not None and gpus and machine.gpus and gpus < machine.gpus:
        cores = cores * gpus // machine.gpus
    if cores is None:
        return None
    if tasks > cores:
        raise JobSpecError("launch", f"{tasks} tasks on a node whose usable cores are {cores}")
    return cores // tasks


def is_python(command: list[str] | str) -> bool:
    """Whether the command is a Python file with its arguments, which needs an interpreter before it."""
    first = command[0] if isinstance(command, list) else (command.split() or [""])[0]
    return first.strip("'\"").endswith(".py")


def to_json(launcher: Launcher) -> dict[str, Any]:
    """Return the launcher as a dict, which Airflow can render and store."""
    return launcher.model_dump(mode="json", exclude_defaults=True, warnings=False) | {"kind": launcher.kind}
