"""The facts of one partition, from its record and its nodes: of nodes that differ, the smallest numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from headnode.sites.probing import SiteAnswers, Unknown
from headnode.sites.site_file import Block, Fact
from headnode.slurm.hardware import HardwareGroup, NodeRecord
from headnode.slurm.nodes import expand_nodes
from headnode.slurm.partitions import PartitionRecord, QosRecord
from headnode.slurm.time_limits import parse_time_limit

_SHOWN: Final = 12
_NOT_TOLD: Final = "Slurm does not tell"


@dataclass(frozen=True, kw_only=True)
class _Nodes:
    """Alike nodes, with the one that stands for them."""

    group: HardwareGroup
    node: NodeRecord

    @property
    def gpus(self) -> int:
        return sum(self.group.gpus.values())

    def __str__(self) -> str:
        kinds = "/".join(filter(None, self.group.gpus))
        gpus = f", {self.gpus} GPUs{f' ({kinds})' if kinds else ''}" if self.gpus else ""
        return f"{self.group.count} of {self.node.usable_cores} cores, {self.node.usable_memory_mib} MiB{gpus}"


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What partitions have in common: the nodes of each, the QOSes, whether Slurm gives whole nodes."""

    nodes: Mapping[str, Sequence[_Nodes]] | Unknown
    qos: Mapping[str, QosRecord] | Unknown
    whole_nodes: bool
    source: str

    @classmethod
    def of(cls, answers: SiteAnswers, *, source: str) -> Surroundings:
        """Return what ``answers`` say of all partitions."""
        return cls(
            nodes=_nodes(answers),
            qos=answers.qos,
            whole_nodes=answers.config.select_type == "select/linear",
            source=source,
        )


def _nodes(answers: SiteAnswers) -> Mapping[str, Sequence[_Nodes]] | Unknown:
    if isinstance(answers.hardware, Unknown):
        return answers.hardware
    if isinstance(answers.nodes, Unknown):
        return answers.nodes
    found: dict[str, list[_Nodes]] = {}
    for group in answers.hardware:
        node = answers.nodes.get(min(expand_nodes(group.nodes), default=""))
        if node is not None:
            found.setdefault(group.partition, []).append(_Nodes(group=group, node=node))
    return found


def partition_block(record: PartitionRecord, around: Surroundings) -> Block:
    """Return the facts of a partition, with a note where its nodes differ or not everybody may use it."""
    nodes = around.nodes if isinstance(around.nodes, Unknown) else around.nodes.get(record.name, ())
    notes = _restrictions(record)
    if not isinstance(nodes, Unknown) and (others := record.nodes - sum(each.group.count for each in nodes)) > 0:
        notes.insert(0, f"Slurm was not asked, or did not tell, of {others} of its nodes")
    if not isinstance(nodes, Unknown) and len({str(each).partition(" ")[2] for each in nodes}) > 1:
        kinds = "; ".join(map(str, nodes[:_SHOWN]))
        notes.insert(0, f"its nodes differ ({kinds}), and the smallest numbers are said here")
    return (
        Fact("nodes", record.nodes or None, "" if record.nodes else "it has none at present"),
        *_hardware(record, nodes),
        *_limits(record, around),
        Fact("exclusive", record.is_exclusive or around.whole_nodes),
        Fact("internet", None, "not learned: no job was run"),
        *([Fact("qos", record.allowed_qos[0])] if len(record.allowed_qos) == 1 else []),
        *_features(nodes),
        Fact("source", around.source),
        *([Fact("note", "; ".join(notes))] if notes else []),
    )


def _hardware(record: PartitionRecord, nodes: Sequence[_Nodes] | Unknown) -> list[Fact]:
    if isinstance(nodes, Unknown) or not nodes:
        why = nodes.why if isinstance(nodes, Unknown) else "Slurm told of none of its nodes"
        facts = [Fact(name, None, why) for name in ("cores", "usable_cores", "sockets", "threads_per_core", "gpus")]
        return [*facts, *_never_told(has_gpus=True)]
    least: Callable[[Callable[[NodeRecord], int]], int] = lambda read: min(read(each.node) for each in nodes)  # noqa: E731
    usable = least(lambda node: _capped(node.usable_cores, record.max_cpus_per_node, node.cpus // node.cores))
    memory = least(lambda node: _capped_memory(node, record))
    architectures = {each.node.architecture for each in nodes}
    architecture = architectures.pop() if len(architectures) == 1 else None
    known = architecture if architecture in ("x86_64", "aarch64") else None
    gpus = min(each.gpus for each in nodes)
    kinds = {kind for each in nodes for kind in each.group.gpus}
    kind = next(iter(kinds)) or None if gpus and len(kinds) == 1 else None
    return [
        Fact("cores", least(lambda node: node.cores)),
        Fact("usable_cores", usable or None, "" if usable else "all are kept for the system"),
        Fact("sockets", least(lambda node: node.sockets)),
        Fact("threads_per_core", least(lambda node: node.threads_per_core)),
        Fact("architecture", known, "" if known else f"nodes say {architecture or 'different things'}"),
        Fact(
            "usable_memory", f"{memory}M" if memory > 1 else None, "" if memory > 1 else "Slurm counts no memory here"
        ),
        Fact("gpus", gpus),
        *([Fact("gpu", kind, "" if kind else "their type has no single name in Gres")] if gpus else []),
        *_never_told(has_gpus=bool(gpus)),
    ]


def _never_told(*, has_gpus: bool) -> list[Fact]:
    names = ["cpu", "memory_gb", *(["gpu_vendor", "gpu_memory_gb"] if has_gpus else [])]
    return [Fact(name, None, _NOT_TOLD) for name in names]


def _capped(cores: int, cpus: int | None, cpus_per_core: int) -> int:
    return cores if cpus is None else min(cores, cpus // max(1, cpus_per_core))


def _capped_memory(node: NodeRecord, record: PartitionRecord) -> int:
    return min(node.usable_memory_mib, record.max_memory_per_node or node.usable_memory_mib)


def _limits(record: PartitionRecord, around: Surroundings) -> list[Fact]:
    own = QosRecord(name="")
    comment = ""
    if record.qos is not None and isinstance(around.qos, Unknown):
        comment = f"the limits of its QOS {record.qos} are unknown: {around.qos.why}"
    elif record.qos is not None and not isinstance(around.qos, Unknown):
        own = around.qos.get(record.qos, own)
    nodes = [each for each in (record.max_nodes, own.max_nodes) if each is not None]
    time, why = _shortest(record.max_time, own.max_time)
    default, unknown = _shortest(record.default_time)
    no_default = "Slurm has none; a job without a time limit gets the longest"
    return [
        Fact("max_nodes", min(nodes, default=None) or None, "" if nodes else comment or "no limit but its nodes"),
        Fact("min_nodes", record.min_nodes or None, "" if record.min_nodes else "no limit"),
        Fact("max_time", time, comment or why or ("" if time else "no limit")),
        Fact("default_time", default, unknown or ("" if default else no_default)),
        Fact("max_jobs", own.max_jobs or None, "" if own.max_jobs else comment or "the partition sets none"),
        Fact("max_running_jobs", own.max_running_jobs or None, "" if own.max_running_jobs else comment or "as above"),
    ]


def _shortest(*texts: str | None) -> tuple[str | None, str]:
    """Return the shortest of Slurm's times, and what is to be said of one that can't be read."""
    times: list[tuple[timedelta, str]] = []
    for text in texts:
        if text is None:
            continue
        try:
            times.append((parse_time_limit(text), text))
        except ValueError as error:
            return None, f"Slurm says {text[:40]!r}: {error}"
    return (min(times)[1] if times else None), ""


def _restrictions(record: PartitionRecord) -> list[str]:
    notes = []
    if record.state != "UP":
        notes.append(f"its state is {record.state}")
    allowed = {"accounts": record.accounts, "groups": record.groups, "QOSes": record.allowed_qos}
    for what, names in allowed.items():
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            notes.append(f"only for {what} {', '.join(names[:_SHOWN])}{more}")
    if record.job_defaults:
        notes.append(f"jobs get {record.job_defaults} where they ask for nothing else")
    if record.max_memory_per_cpu:
        notes.append(f"a job may have {record.max_memory_per_cpu} MiB for each CPU")
    return notes


def _features(nodes: Sequence[_Nodes] | Unknown) -> list[Fact]:
    if isinstance(nodes, Unknown):
        return []
    names = list(dict.fromkeys(name for each in nodes for name in each.node.features))
    return [Fact("features", names[:_SHOWN], "of one node of each kind")] if names else []
