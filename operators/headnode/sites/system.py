"""The form of what is known about a supercomputer. Null is unknown, never guessed; each block names its sources."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, model_validator

from headnode.sites.facts import (
    Block,
    Count,
    CountOrZero,
    ModuleCommand,
    Name,
    Source,
    Sourced,
    SourceIds,
    Time,
    VariableName,
    VariableValue,
    Word,
    wrong,
)
from headnode.sites.nearest import nearest

#: Programs by the names that ``headnode script`` and ``Modules`` know; ``launchers`` says how each is started.
SOFTWARE: Final = (
    "deephyper",
    "deepspeed",
    "heat",
    "horovod",
    "mpi",
    "mpi4py",
    "optuna",
    "python",
    "pytorch",
    "ray",
    "ray-tune",
    "tensorflow",
)


class Login(Sourced):
    """Where one logs in; jump hosts in the order of the hops. ``transfer_hosts`` are for moving files."""

    hosts: tuple[str, ...] = ()
    transfer_hosts: tuple[str, ...] = ()
    port: int = 22
    jump_hosts: tuple[str, ...] = ()


class Access(Sourced):
    """How one may log in: ``methods`` in the site's order of preference, ``rules`` in words."""

    methods: tuple[Literal["key", "password", "certificate", "totp", "teleport", "token", "vpn"], ...] = ()
    second_factor: Literal["totp", "token", "none"] | None = None
    credential_lifetime: Time | None = None
    rules: tuple[str, ...] = ()


class Partition(Sourced):
    """One partition; numbers are those of a node unless said otherwise.

    ``cores`` are physical ones and ``usable_cores`` those that a job may ask for; ``gpus`` is 0 where there are none.
    ``memory_gb`` is installed, ``usable_memory`` what a job may ask for (``494000M``). ``max_jobs`` and
    ``max_running_jobs`` are limits for one user, ``max_nodes`` and ``max_time`` for one job; ``max_time_from_nodes`` is
    the limit of jobs that have this number of nodes or more. With ``exact_cpus_per_gpu`` a job with another ratio than
    ``cpus_per_gpu`` never starts. ``features`` are those that ``--constraint`` takes. Where Slurm has no partition of
    this name (``is_partition`` is false), ``constraint`` and ``qos`` select these nodes.
    """

    is_partition: bool = True
    nodes: Count | None = None
    cores: Count | None = None
    usable_cores: Count | None = None
    sockets: Count | None = None
    threads_per_core: Count | None = None
    cpu: str | None = None
    architecture: Literal["x86_64", "aarch64"] | None = None
    gpus: CountOrZero | None = None
    gpu: str | None = None
    gpu_vendor: Literal["nvidia", "amd", "intel"] | None = None
    gpu_memory_gb: Count | None = None
    cpus_per_gpu: Count | None = None
    exact_cpus_per_gpu: bool | None = None
    memory_gb: Annotated[float, Field(gt=0)] | None = None
    usable_memory: Annotated[str, Field(pattern=r"^[0-9]+[KMGT]?$")] | None = None
    max_nodes: Count | None = None
    min_nodes: Count | None = None
    max_time: Time | None = None
    max_time_from_nodes: dict[Count, Time] = Field(default={})
    default_time: Time | None = None
    max_jobs: Count | None = None
    max_running_jobs: Count | None = None
    exclusive: bool | None = None
    internet: bool | None = None
    qos: Word | None = None
    constraint: Word | None = None
    features: tuple[Word, ...] = ()

    @property
    def cores_for_jobs(self) -> int | None:
        """How many cores of a node a job may ask for, as far as known."""
        return self.usable_cores or self.cores

    @model_validator(mode="after")
    def _fits_together(self) -> Partition:
        if self.usable_cores and self.cores and self.usable_cores > self.cores:
            problem = f"{self.usable_cores} is more than the {self.cores} cores that there are"
            raise wrong(problem, "usable_cores")
        if self.gpu and not self.gpus and self.gpus is not None:
            raise wrong("names a kind of GPU, where gpus is 0", "gpu")
        if self.exact_cpus_per_gpu and not self.cpus_per_gpu:
            raise wrong("needs cpus_per_gpu, the ratio that is exact", "exact_cpus_per_gpu")
        return self


class Qos(Sourced):
    """Limits of a job with this QOS, which hold in place of its partition's; null is the partition's own."""

    min_nodes: Count | None = None
    max_nodes: Count | None = None
    max_time: Time | None = None
    max_jobs: Count | None = None
    max_running_jobs: Count | None = None


class GpuRequest(Sourced):
    """How GPUs are asked for: ``automatic`` is without an option, ``type`` stands between ``gpu:`` and the number."""

    form: Literal["gres", "gpus-per-node", "gpus", "gpus-per-task", "automatic"]
    type: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")] | None = None


class Mandatory(Sourced):
    """What each job must say: whether an account and a QOS are needed; constraint and cluster (``-M``) by value."""

    account: bool | None = None
    account_format: str | None = None
    qos: bool | None = None
    constraint: Word | None = None
    clusters: Word | None = None
    sbatch_options: dict[str, str | None] = Field(default={})


class Stack(Sourced):
    """What makes a program available: module commands in order (``purge``, ``use PATH``, ``load A B``, ``A B``).

    ``same_as`` names another program of this system whose stack is the same. ``partitions`` is empty for all;
    ``environment`` are variables that it needs.
    """

    modules: tuple[ModuleCommand, ...] = ()
    same_as: str | None = None
    partitions: tuple[str, ...] = ()
    environment: dict[VariableName, VariableValue] = Field(default={})


class Container(Sourced):
    """How containers run there."""

    runtime: Literal["apptainer", "singularity", "pyxis", "none"] | None = None
    modules: tuple[ModuleCommand, ...] = ()
    binds: tuple[str, ...] = ()


class Network(Sourced):
    """Between compute nodes: what is added to a host's name for the fast network, its interfaces, variables for it."""

    host_suffix: Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]*$")] = ""
    interfaces: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]+$")], ...] = ()
    environment: dict[VariableName, VariableValue] = Field(default={})


class Srun(Sourced):
    """What ``srun`` needs: its ``--mpi``, whether it must be told CPUs per task again (Slurm 22.05 to 23.02)."""

    mpi: Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+$")] | None = None
    version: str | None = None


class Internet(Sourced):
    """Whether nodes reach the internet; ``proxy`` is how, where one is needed."""

    compute: bool | None = None
    login: bool | None = None
    proxy: str | None = None


class Paths(Sourced):
    """Where files belong; with the site's own variables and ``<project>``, ``<user>`` to fill in."""

    home: str | None = None
    project: str | None = None
    work: str | None = None
    scratch: str | None = None
    fast_scratch: str | None = None


class Note(Block):
    """Something worth knowing that has no place of its own; a text alone is one without a source."""

    text: str
    source: SourceIds = ()


def _note(value: object) -> object:
    return {"text": value} if isinstance(value, str) else value


class System(Block):
    """One system of the catalogue, as its file has it.

    ``default_partition`` and ``gpu_partition`` are the partitions of jobs that name none: a choice, not a fact.
    """

    name: Name
    title: str
    operator: str
    aliases: tuple[Name, ...] = ()
    documentation: str | None = None
    sources: dict[str, Source] = Field(default={})
    login: Login = Login()
    access: Access = Access()
    partitions: dict[Word, Partition] = Field(default={})
    qos: dict[Word, Qos] = Field(default={})
    default_partition: str | None = None
    gpu_partition: str | None = None
    gpu_request: GpuRequest | None = None
    mandatory: Mandatory = Mandatory()
    software: dict[Literal[SOFTWARE], Stack] = Field(default={})  # type: ignore[valid-type]
    module_system: Literal["lmod", "tcl", "uenv", "none"] | None = None
    container: Container = Container()
    network: Network = Network()
    srun: Srun = Srun()
    internet: Internet = Internet()
    paths: Paths = Paths()
    notes: tuple[Annotated[Note, BeforeValidator(_note)], ...] = ()

    @model_validator(mode="after")
    def _names_own_sources(self) -> System:
        for place, block in self.blocks():
            where: list[tuple[tuple[str, ...], SourceIds]] = [(("source",), block.source)]
            where += [(("source_of", fact), ids) for fact, ids in block.source_of.items()]
            for keys, ids in where:
                self._check_sources(ids, *place.split(".", 1), *keys)
        for number, note in enumerate(self.notes):
            self._check_sources(note.source, "notes", number, "source")
        return self

    def _check_sources(self, ids: SourceIds, *place: str | int) -> None:
        for name in ids:
            if name not in self.sources:
                raise wrong(f"{name!r} is not among the sources of this file{nearest(name, self.sources)}", *place)

    @model_validator(mode="after")
    def _names_own_partitions(self) -> System:
        named = [(field, getattr(self, field)) for field in ("default_partition", "gpu_partition")]
        places: list[tuple[tuple[str, ...], str]] = [((field,), name) for field, name in named if name is not None]
        for software, stack in self.software.items():
            places += [(("software", software, "partitions"), name) for name in stack.partitions]
        for place, name in places:
            if name not in self.partitions:
                raise wrong(f"{name!r} is not among the partitions{nearest(name, self.partitions)}", *place)
        return self

    @model_validator(mode="after")
    def _names_own_software(self) -> System:
        for name, stack in self.software.items():
            others = [other for other in self.software if other != name]
            if stack.same_as is not None and stack.same_as not in others:
                problem = f"{stack.same_as!r} is no other software of this file{nearest(stack.same_as, others)}"
                raise wrong(problem, "software", name, "same_as")
            resolved = self.stack(name)
            if resolved is not None and resolved.same_as is not None:
                raise wrong("goes round in a circle", "software", name, "same_as")
        return self

    def blocks(self) -> Iterator[tuple[str, Sourced]]:
        """Yield each block of facts with its place in the file (``partitions.gpu``)."""
        for field in type(self).model_fields:
            value = getattr(self, field)
            if isinstance(value, Sourced):
                yield field, value
            elif isinstance(value, dict):
                yield from ((f"{field}.{key}", each) for key, each in value.items() if isinstance(each, Sourced))

    def source_of(self, place: str, fact: str | None = None) -> str:
        """Return in words where a fact of the block ``place`` was read; of several, the first."""
        block = dict(self.blocks()).get(place)
        ids = () if block is None else (block.source_of.get(fact or "") or block.source)
        return str(self.sources[ids[0]]) if ids else f"{self.name}.yaml (no source given)"

    def stack(self, software: str) -> Stack | None:
        """Return how a program is made available, None where that is unknown."""
        stack = self.software.get(software)
        seen: set[str] = set()
        while stack is not None and stack.same_as is not None and stack.same_as not in seen:
            seen.add(stack.same_as)
            stack = self.software.get(stack.same_as)
        return stack
