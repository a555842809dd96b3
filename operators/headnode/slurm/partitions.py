"""Partitions as ``scontrol show partition`` prints them: who may use them, and what a job in them may have.

Times stay Slurm's own text (``1-00:00:00``); what has no limit is None or empty.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from headnode.errors import UnreadableAnswer

# Names of partitions hold no blanks, and no value of the fields that are read here does.
_FIELD: Final = re.compile(r"(?:^| )([A-Za-z]+)=(\S*)")
_NO_LIMIT: Final = frozenset({"", "UNLIMITED", "NONE", "N/A", "(null)", "ALL", "INFINITE"})
_COUNT: Final = re.compile("[0-9]{1,9}")
_WORD: Final = re.compile("[!-~]{1,200}")


@dataclass(frozen=True, kw_only=True)
class PartitionRecord:
    """What one partition allows: numbers of nodes for a job, CPUs (threads) and MiB of a node, times for a job.

    ``nodes`` is how many it has. ``oversubscribe`` is Slurm's word (``EXCLUSIVE``, ``NO``, ``YES:4``). ``accounts``,
    ``groups`` and ``allowed_qos`` are those that are let in, empty for all; ``qos`` is the partition's own.
    """

    name: str
    nodes: int
    state: str
    is_default: bool = False
    max_time: str | None = None
    default_time: str | None = None
    max_nodes: int | None = None
    min_nodes: int | None = None
    max_cpus_per_node: int | None = None
    max_memory_per_node: int | None = None
    max_memory_per_cpu: int | None = None
    oversubscribe: str = "NO"
    qos: str | None = None
    accounts: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    allowed_qos: tuple[str, ...] = ()
    job_defaults: str | None = None

    @property
    def is_exclusive(self) -> bool:
        """Whether a job has its nodes for itself, whatever it asks for."""
        return self.oversubscribe.upper().startswith("EXCLUSIVE")


def is_word(text: str) -> bool:
    """Whether ``text`` can be a name of Slurm's: printable ASCII without blanks."""
    return _WORD.fullmatch(text) is not None


def show_partition_records() -> list[str]:
    """Ask slurmctld for the partitions that the login's user can see."""
    return ["scontrol", "--oneliner", "show", "partition"]


def parse_partition_records(stdout: str) -> list[PartitionRecord]:
    """Return the partitions in scontrol's answer.

    Raises:
        UnreadableAnswer: a line has not the fields that it must have, as when the answer was cut.
    """
    lines = [line for line in stdout.split("\n") if line.strip()]
    return [] if [line.strip() for line in lines] == ["No partitions in the system"] else [_record(x) for x in lines]


def _record(line: str) -> PartitionRecord:
    fields: dict[str, str] = {}
    for name, value in _FIELD.findall(line):
        fields.setdefault(name, value)
    try:
        # JobDefaults comes behind the limits of nodes and time: with it, none of them was cut.
        job_defaults = fields["JobDefaults"]
        return PartitionRecord(
            name=_named(fields["PartitionName"]),
            nodes=_count(fields["TotalNodes"]) or 0,
            state=fields["State"],
            is_default=fields["Default"] == "YES",
            max_time=_limit(fields["MaxTime"]),
            default_time=_limit(fields["DefaultTime"]),
            max_nodes=_count(fields["MaxNodes"]),
            min_nodes=_count(fields["MinNodes"]),
            max_cpus_per_node=_count(fields.get("MaxCPUsPerNode", "")),
            max_memory_per_node=_count(fields.get("MaxMemPerNode", "")),
            max_memory_per_cpu=_count(fields.get("MaxMemPerCPU", "")),
            oversubscribe=fields["OverSubscribe"],
            qos=_limit(fields["QoS"]),
            accounts=_names(fields["AllowAccounts"]),
            groups=_names(fields["AllowGroups"]),
            allowed_qos=_names(fields["AllowQos"]),
            job_defaults=_limit(job_defaults),
        )
    except (KeyError, ValueError) as error:
        raise UnreadableAnswer(f"scontrol's line {line[:200]!r} is no whole partition: {error!r}") from error


def _named(text: str) -> str:
    if not is_word(text):
        raise ValueError(f"{text[:100]!r} is no name")
    return text


def _limit(text: str) -> str | None:
    return None if text.upper() in _NO_LIMIT or text == "(null)" else text


def _count(text: str) -> int | None:
    """Return the number in ``4``, None where there is no limit. Raises ValueError."""
    if _limit(text) is None:
        return None
    if not _COUNT.fullmatch(text):
        raise ValueError(f"{text[:100]!r} is no number")
    return int(text)


def _names(text: str) -> tuple[str, ...]:
    return () if _limit(text) is None else tuple(filter(is_word, text.split(",")))


_QOS_FIELDS: Final = ("Name", "MaxWall", "MaxTRES", "MaxJobsPU", "MaxSubmitPU")
_NODES: Final = re.compile(r"(?:^|,)node=([0-9]{1,9})(?:,|$)")


@dataclass(frozen=True, kw_only=True)
class QosRecord:
    """What a QOS lets one job (``max_time``, ``max_nodes``) and one user (``max_running_jobs``, ``max_jobs``) have."""

    name: str
    max_time: str | None = None
    max_nodes: int | None = None
    max_running_jobs: int | None = None
    max_jobs: int | None = None


def show_qos_records() -> list[str]:
    """Ask slurmdbd for all QOSes with their limits for a job and a user."""
    return ["sacctmgr", "--noheader", "--parsable2", "show", "qos", f"format={','.join(_QOS_FIELDS)}"]


def parse_qos_records(stdout: str) -> dict[str, QosRecord]:
    """Return the QOSes in sacctmgr's answer by their names.

    Raises:
        UnreadableAnswer: a line has not the asked form.
    """
    records = {}
    for line in filter(str.strip, stdout.split("\n")):
        fields = [each.strip() for each in line.split("|")]
        if len(fields) != len(_QOS_FIELDS) or not fields[0]:
            raise UnreadableAnswer(f"sacctmgr's line {line[:200]!r} has not the form that was asked for")
        name, wall, tres, running, submitted = fields
        nodes = _NODES.search(tres)
        try:
            records[name] = QosRecord(
                name=name,
                max_time=_limit(wall),
                max_nodes=_count(nodes[1]) if nodes else None,
                max_running_jobs=_count(running),
                max_jobs=_count(submitted),
            )
        except ValueError as error:
            raise UnreadableAnswer(f"sacctmgr's line {line[:200]!r} can't be read: {error}") from error
    return records
