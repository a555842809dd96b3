"""What one private cluster is: its directory, its size, its ports. No I/O here; ``rendering`` turns it into files."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any, Self

from headnode.testing.errors import SettingsError

CLUSTER_NAME = "private"
# slurmstepd's socket, the longest below the directory: spool/n999/n999_12345678.4294967291 (107 bytes in all).
LONGEST_SOCKET = len("/spool/n999/n999_12345678.4294967291")
MAX_DIRECTORY_BYTES = 107 - LONGEST_SOCKET
# A path goes into files of five formats without quotes, so only characters that mean nothing in all of them.
_PLAIN_PATH = re.compile(r"/[\w./@+-]*")
GPU_NODES = 2
MAX_NODES = 512


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClusterSize:
    """How many nodes, and what each has. The last two nodes carry the pretend GPUs."""

    nodes: int = 4
    cpus_per_node: int = 16
    memory_mb_per_node: int = 8000
    gpus_per_gpu_node: int = 2

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if getattr(self, field.name) < (0 if field.name == "gpus_per_gpu_node" else 1):
                raise SettingsError(f"{field.name} is {getattr(self, field.name)}; at least 1 is needed")
        if self.nodes > MAX_NODES:
            raise SettingsError(f"nodes is {self.nodes}; one machine can play at most {MAX_NODES}")

    @property
    def node_names(self) -> list[str]:
        """n1, n2, ..."""
        return [f"n{number}" for number in range(1, self.nodes + 1)]

    @property
    def gpu_node_names(self) -> list[str]:
        """The nodes of the partition ``gpu``."""
        return self.node_names[-GPU_NODES:] if self.gpus_per_gpu_node else []


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClusterOptions:
    """How a private cluster differs from what most centres have. None leaves a value at Slurm's default."""

    #: False: no slurmdbd and no MariaDB; sacct says that accounting is disabled.
    accounting: bool = True
    #: MinJobAge: for how long slurmctld knows a job that has ended (300 s by default).
    min_job_age_seconds: int | None = None
    #: FirstJobId and MaxJobId: ids begin again at the first one when the last one was given out.
    first_job_id: int | None = None
    max_job_id: int | None = None
    #: MaxArraySize: one more than the largest index of an array (1001 by default).
    max_array_size: int | None = None
    #: Partitions ``preemptable`` and ``urgent``: jobs of the second requeue those of the first (REQUEUE).
    preemption: bool = False
    #: MessageTimeout: for how long a Slurm command waits for slurmctld (10 s by default).
    message_timeout_seconds: int | None = None
    #: SlurmdTimeout: after how long a node that does not answer is down (300 s by default).
    slurmd_timeout_seconds: int | None = None
    #: Jobs that take more memory than they asked for are killed: by the kernel, and end as OUT_OF_MEMORY, where this
    #: process may make cgroups (version 1); else by Slurm at its next sample, within a second, and end as FAILED.
    enforce_memory: bool = False
    #: How far the clocks of the cluster's daemons, SSH sessions and jobs are ahead of this machine's (libfaketime).
    clock_offset_seconds: int = 0

    def __post_init__(self) -> None:
        """Refuse numbers that Slurm can't take.

        Raises:
            SettingsError: a number is negative, or the job ids are too few.
        """
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name != "clock_offset_seconds" and value is not None and value < 0:
                raise SettingsError(f"{field.name} is {value}; at least 0 is needed")
        if self.max_job_id is not None and self.max_job_id <= (self.first_job_id or 1):
            raise SettingsError(f"max_job_id is {self.max_job_id}; it must be greater than first_job_id")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClusterSettings:
    """Everything that the configuration files of one cluster depend on."""

    directory: Path
    size: ClusterSize
    user: str
    hostname: str
    #: The loopback address that the host name resolves to, where it does: Slurm's daemons can then be bound to it.
    loopback: str | None
    listen_address: str
    ssh_port: int
    slurmctld_port: int
    slurmdbd_port: int
    slurmd_ports: tuple[int, ...]
    session_path: str
    use_pam: bool
    options: ClusterOptions = ClusterOptions()
    #: What is loaded into every process of the cluster to move its clock.
    faketime_library: str | None = None
    #: Whether the kernel enforces memory, in control groups of the cluster's own.
    uses_cgroups: bool = False

    @property
    def slurm_conf(self) -> Path:
        """The file that SLURM_CONF names."""
        return self.directory / "slurm.conf"

    @property
    def munge_socket(self) -> Path:
        """Where munged answers."""
        return self.directory / "munge" / "sock"

    @property
    def mysql_socket(self) -> Path:
        """Where MariaDB answers."""
        return self.directory / "mysql.sock"

    @property
    def slurm_address(self) -> str:
        """Where Slurm's daemons find each other."""
        return self.loopback or "127.0.0.1"

    @property
    def cgroup_name(self) -> str:
        """The name of the control group that holds those of the cluster."""
        return f"headnode_{self.slurmctld_port}"

    def to_json(self) -> str:
        """Text that ``from_json`` reads."""
        return json.dumps(dataclasses.asdict(self), default=str, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what ``to_json`` wrote."""
        fields: dict[str, Any] = json.loads(text)
        fields["directory"] = Path(fields["directory"])
        fields["size"] = ClusterSize(**fields["size"])
        fields["options"] = ClusterOptions(**fields.get("options", {}))
        fields["slurmd_ports"] = tuple(fields["slurmd_ports"])
        return cls(**fields)


def check_directory(directory: Path) -> Path:
    """Return the absolute directory, or say why no cluster can live there."""
    directory = directory.expanduser().resolve()
    if not _PLAIN_PATH.fullmatch(str(directory)):
        raise SettingsError(
            f"the directory {str(directory)!r} has characters that Slurm's configuration files cannot hold;"
            " choose one of letters, digits and . _ - + @ only"
        )
    if (length := len(str(directory).encode())) > MAX_DIRECTORY_BYTES:
        raise SettingsError(
            f"the path {directory} has {length} bytes; Unix sockets below it allow at most"
            f" {MAX_DIRECTORY_BYTES}. Choose a shorter directory, for example one in /tmp or your home"
        )
    return directory
