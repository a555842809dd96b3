"""The form of what is known about a supercomputer. Null is unknown, never guessed; each block names its sources."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from headnode.slurm.time_limits import parse_time_limit

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


def _time(value: Any) -> Any:
    return parse_time_limit(value) if isinstance(value, str) else value


def _sources(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _date(value: Any) -> Any:
    # YAML reads 2024 and 2024-10-15 without quotes as a number and a date.
    return str(value) if isinstance(value, int | date) and not isinstance(value, bool) else value


SourceIds = Annotated[tuple[str, ...], BeforeValidator(_sources)]
Time = Annotated[timedelta, BeforeValidator(_time)]
Name = Annotated[str, Field(pattern=r"[a-z0-9][a-z0-9-]*")]
Count = Annotated[int, Field(ge=1)]
Date = Annotated[str, Field(pattern=r"^[0-9]{4}(-[0-9]{2}){0,2}$"), BeforeValidator(_date)]


class _Block(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Block):
    """Where a fact was read. Dates are ``2024``, ``2024-10`` or ``2024-10-15``.

    ``date`` is that of the text, null where it bears none; ``read`` is when it was read.
    """

    what: str
    date: Date | None = None
    read: Date | None = None
    kind: Literal["official", "community", "measured"] = "community"
    url: str | None = None

    @property
    def when(self) -> str:
        """Return its date, or when it was read, in words."""
        return self.date or (f"read {self.read}" if self.read else "no date")

    def __str__(self) -> str:
        return f"{self.what} ({self.when}, {self.kind})"


class Sourced(_Block):
    """A block of facts. ``source_of`` names the sources of single facts where they differ from the block's."""

    source: SourceIds = ()
    source_of: dict[str, SourceIds] = {}
    note: str | None = None

    @model_validator(mode="after")
    def _names_own_facts(self) -> Sourced:
        for name in self.source_of:
            if name not in type(self).model_fields:
                raise ValueError(f"source_of names {name!r}, which is no fact of this block")
        return self


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
    gpus: Annotated[int, Field(ge=0)] | None = None
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
    max_time_from_nodes: dict[Count, Time] = {}
    default_time: Time | None = None
    max_jobs: Count | None = None
    max_running_jobs: Count | None = None
    exclusive: bool | None = None
    internet: bool | None = None
    qos: str | None = None
    constraint: str | None = None
    features: tuple[str, ...] = ()

    @property
    def cores_for_jobs(self) -> int | None:
        """How many cores of a node a job may ask for, as far as known."""
        return self.usable_cores or self.cores

    @model_validator(mode="after")
    def _fits_together(self) -> Partition:
        if self.usable_cores and self.cores and self.usable_cores > self.cores:
            raise ValueError(f"usable_cores is {self.usable_cores}, more than the {self.cores} cores that there are")
        if self.gpu and not self.gpus and self.gpus is not None:
            raise ValueError("gpu names a kind, but gpus is 0")
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
    constraint: str | None = None
    clusters: str | None = None
    sbatch_options: dict[str, str | None] = {}


class Stack(Sourced):
    """What makes a program available: module commands in order (``purge``, ``use PATH``, ``load A B``, ``A B``).

    ``same_as`` names another program of this system whose stack is the same. ``partitions`` is empty for all;
    ``environment`` are variables that it needs.
    """

    modules: tuple[str, ...] = ()
    same_as: str | None = None
    partitions: tuple[str, ...] = ()
    environment: dict[str, str] = {}


class Container(Sourced):
    """How containers run there."""

    runtime: Literal["apptainer", "singularity", "pyxis", "none"] | None = None
    modules: tuple[str, ...] = ()
    binds: tuple[str, ...] = ()


class Network(Sourced):
    """Between compute nodes: what is added to a host's name for the fast network, its interfaces, variables for it."""

    host_suffix: str = ""
    interfaces: tuple[str, ...] = ()
    environment: dict[str, str] = {}


class Srun(Sourced):
    """What ``srun`` needs: its ``--mpi``, whether it must be told CPUs per task again (Slurm 22.05 to 23.02)."""

    mpi: str | None = None
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


class System(_Block):
    """One system of the catalogue, as its file has it.

    ``default_partition`` and ``gpu_partition`` are the partitions of jobs that name none: a choice, not a fact.
    """

    name: Name
    title: str
    operator: str
    aliases: tuple[str, ...] = ()
    documentation: str | None = None
    sources: dict[str, Source] = {}
    login: Login = Login()
    access: Access = Access()
    partitions: dict[str, Partition] = {}
    qos: dict[str, Qos] = {}
    default_partition: str | None = None
    gpu_partition: str | None = None
    gpu_request: GpuRequest | None = None
    mandatory: Mandatory = Mandatory()
    software: dict[Literal[SOFTWARE], Stack] = {}  # type: ignore[valid-type]
    module_system: Literal["lmod", "tcl", "uenv", "none"] | None = None
    container: Container = Container()
    network: Network = Network()
    srun: Srun = Srun()
    internet: Internet = Internet()
    paths: Paths = Paths()
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _refers_to_what_is_there(self) -> System:
        for place, block in self.blocks():
            for name in [*block.source, *(each for ids in block.source_of.values() for each in ids)]:
                if name not in self.sources:
                    raise ValueError(f"{place}: source {name!r} is not among the sources of this file")
        for field in ("default_partition", "gpu_partition"):
            if (name := getattr(self, field)) is not None and name not in self.partitions:
                raise ValueError(f"{field}: {name!r} is not among the partitions")
        for name, stack in self.software.items():
            if stack.same_as is not None and (stack.same_as == name or stack.same_as not in self.software):
                raise ValueError(f"software.{name}: same_as {stack.same_as!r} is no other software of this file")
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
