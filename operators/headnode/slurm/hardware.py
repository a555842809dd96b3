"""What nodes are made of: groups of alike ones as ``sinfo`` counts them, single ones as ``scontrol`` shows them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from headnode.errors import UnreadableAnswer
from headnode.slurm.nodes import count_gpus
from headnode.slurm.partitions import is_word

# The bar after each name ends the field, which then has no width that would cut it (sinfo.1, --Format). Without the
# nodes' states and features (which may name each one's rack), alike nodes are one line.
_SINFO_FORMAT: Final = "PartitionName:|,Nodes:|,CPUs:|,Sockets:|,Cores:|,Threads:|,Memory:|,Gres:|,NodeList:|"
_SINFO_FIELDS: Final = 9
_COUNT: Final = re.compile("[0-9]{1,9}")
_FIELD: Final = re.compile(r"(?:^| )([A-Za-z]+)=(\S*)")
_NULL: Final = ("", "(null)")


@dataclass(frozen=True, kw_only=True)
class HardwareGroup:
    """Nodes of one partition that are alike; ``gpus`` are those of one node by type ("" where it has none)."""

    partition: str
    count: int
    nodes: str
    memory_mib: int
    gpus: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class NodeRecord:
    """One node: its sockets, cores (all of them), threads for each core, MiB of memory, and what is kept from jobs.

    ``cpus`` are Slurm's, threads as a rule; ``cpus_for_jobs`` are those that jobs may have (CPUEfctv, which Slurm
    prints from 22.05 on). ``specialised_cores`` (CoreSpecCount) and ``specialised_memory_mib`` (MemSpecLimit) are kept
    for the system.
    """

    name: str
    sockets: int
    cores: int
    threads_per_core: int
    cpus: int
    memory_mib: int
    cpus_for_jobs: int | None = None
    specialised_cores: int = 0
    specialised_memory_mib: int = 0
    architecture: str | None = None
    gpus: Mapping[str, int] = field(default_factory=dict)
    features: tuple[str, ...] = ()

    @property
    def usable_cores(self) -> int:
        """How many physical cores a job may ask for."""
        if self.cpus_for_jobs is not None:
            # A site may let each core count as one CPU although it has several threads (CPUs= in slurm.conf).
            threads = max(1, self.cpus // self.cores)
            return min(self.cores, self.cpus_for_jobs // threads)
        return max(0, min(self.cores, self.cpus) - self.specialised_cores)

    @property
    def usable_memory_mib(self) -> int:
        """How many MiB a job may ask for."""
        return max(0, self.memory_mib - self.specialised_memory_mib)


def show_hardware() -> list[str]:
    """Ask for the hardware of the partitions that the login's user can see, alike nodes in one line."""
    return ["sinfo", "--noheader", f"--Format={_SINFO_FORMAT}"]


def show_node_records(nodes: Collection[str]) -> list[str]:
    """Ask slurmctld for these nodes."""
    return ["scontrol", "--oneliner", "show", "node", ",".join(sorted(nodes))]


def parse_hardware(stdout: str) -> list[HardwareGroup]:
    """Return the groups of nodes in sinfo's answer; a partition without nodes has none.

    Raises:
        UnreadableAnswer: a line has not the asked form.
    """
    groups = []
    for line in filter(str.strip, stdout.split("\n")):
        fields = [each.strip() for each in line.split("|")]
        if len(fields) != _SINFO_FIELDS + 1 or fields[-1] or not fields[0]:
            raise UnreadableAnswer(f"sinfo's line {line[:200]!r} has not the form that was asked for")
        partition, count, _, _, _, _, memory, gres, nodes = fields[:-1]
        numbers = [_COUNT.fullmatch(each.rstrip("+")) for each in (count, memory)]
        if None in numbers:
            raise UnreadableAnswer(f"sinfo's line {line[:200]!r} counts in an unknown way")
        if count == "0":
            continue
        groups.append(
            HardwareGroup(
                partition=partition.removesuffix("*"),
                count=int(count),
                nodes=nodes,
                memory_mib=int(memory.rstrip("+")),
                gpus=count_gpus(gres),
            )
        )
    return groups


def parse_node_records(stdout: str) -> dict[str, NodeRecord]:
    """Return the nodes in scontrol's answer by their names.

    Raises:
        UnreadableAnswer: a line has not the fields that it must have, as when the answer was cut.
    """
    records = (_record(line) for line in stdout.split("\n") if line.strip())
    return {record.name: record for record in records}


def _record(line: str) -> NodeRecord:
    fields: dict[str, str] = {}
    for name, value in _FIELD.findall(line):
        fields.setdefault(name, value)  # free texts (OS, Comment, Reason) come after what they could be taken for
    try:
        sockets, cores_per_socket, threads, cpus, memory = (
            _count(fields[name]) for name in ("Sockets", "CoresPerSocket", "ThreadsPerCore", "CPUTot", "RealMemory")
        )
        if not (fields["NodeName"] and sockets and cores_per_socket and threads and cpus):
            raise ValueError("it has no name or no CPU")  # noqa: TRY301 - told as what can't be read is
        effective = fields.get("CPUEfctv")
        specialised = fields.get("CoreSpecCount")
        listed = None if specialised else fields.get("CPUSpecList")
        features = fields.get("AvailableFeatures", "")
        return NodeRecord(
            name=fields["NodeName"],
            sockets=sockets,
            cores=sockets * cores_per_socket,
            threads_per_core=threads,
            cpus=cpus,
            memory_mib=memory,
            cpus_for_jobs=_count(effective) if effective is not None else None,
            specialised_cores=_count(specialised) if specialised else _listed(listed) // threads,
            specialised_memory_mib=_count(fields.get("MemSpecLimit") or "0"),
            architecture=fields.get("Arch") or None,
            gpus=count_gpus(fields.get("Gres", "")),
            features=() if features in _NULL else tuple(filter(is_word, features.split(","))),
        )
    except (KeyError, ValueError) as error:
        raise UnreadableAnswer(f"scontrol's line {line[:200]!r} is no whole node: {error!r}") from error


def _count(text: str) -> int:
    if not _COUNT.fullmatch(text):
        raise ValueError(f"{text[:100]!r} is no number")
    return int(text)


def _listed(text: str | None) -> int:
    """Return how many CPUs are in ``0-1,64-65``. Raises ValueError."""
    count = 0
    for part in [] if text in (None, *_NULL) else str(text).split(","):
        first, _, last = part.partition("-")
        count += _count(last or first) - _count(first) + 1
    return max(0, count)
