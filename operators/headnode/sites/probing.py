"""Asks a cluster what a catalogue file has to say of it: a procedure of two commands, which change nothing there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from headnode.cluster.procedures import Procedure
from headnode.cluster.slurm_check import Told, ask_all
from headnode.errors import ControllerUnavailable, UnreadableAnswer
from headnode.sites.login_shell import LOOK_AT_SHELL, LoginShell, parse_login_shell
from headnode.slurm import hardware, limits, partitions
from headnode.slurm.commands import scontrol_show_config
from headnode.slurm.hardware import HardwareGroup, NodeRecord
from headnode.slurm.limits import Configuration
from headnode.slurm.module_names import LIST_MODULES, ModuleList, parse_modules
from headnode.slurm.nodes import expand_nodes
from headnode.slurm.partitions import PartitionRecord, QosRecord

T = TypeVar("T")

_EACH_SECONDS: Final = 60
#: Of how many nodes scontrol is asked: one of each group of alike ones.
_MAX_NODES: Final = 200
# A variable in the user's files would give the account that is to be missing.
_WITHOUT_ACCOUNT: Final = ["env", "-u", "SBATCH_ACCOUNT", "-u", "SLURM_ACCOUNT"]


@dataclass(frozen=True, kw_only=True)
class Unknown:
    """What could not be learned, and why."""

    why: str


@dataclass(frozen=True, kw_only=True)
class SiteAnswers:
    """What a cluster has told of itself.

    ``test_job`` is what sbatch says to a job without an account, which is only tried (``--test-only``): None where it
    would be accepted. ``nodes`` are those that stand for the groups of ``hardware``, by their names.
    """

    config: Configuration
    partitions: list[PartitionRecord]
    hardware: list[HardwareGroup] | Unknown
    qos: Mapping[str, QosRecord] | Unknown
    nodes: Mapping[str, NodeRecord] | Unknown = field(default_factory=dict)
    modules: ModuleList | Unknown
    login_shell: LoginShell | Unknown
    test_job: str | None


def probe_cluster() -> Procedure[SiteAnswers]:
    """Return what the cluster tells of its partitions, nodes, limits, modules and network.

    Raises:
        TransportError: there was no way in, or the connection broke.
        ControllerUnavailable: slurmctld does not answer.
        UnreadableAnswer: what must be known can't be read.
    """
    questions = {
        "config": scontrol_show_config(),
        "partitions": partitions.show_partition_records(),
        "hardware": hardware.show_hardware(),
        "qos": partitions.show_qos_records(),
        "modules": ["bash", "-lc", LIST_MODULES],
        "shell": ["bash", "-lc", LOOK_AT_SHELL],
    }
    purpose = "asking for partitions, nodes, limits and modules"
    told = yield from ask_all(questions, purpose=purpose, each_seconds=_EACH_SECONDS, needed="config")
    config = _needed(told, "config", limits.parse_config)
    listed = _needed(told, "partitions", partitions.parse_partition_records)
    groups = _read(told, "hardware", hardware.parse_hardware)
    names = [] if isinstance(groups, Unknown) else representatives(groups)
    more = {"sbatch": try_job(listed)}
    if names:
        more["nodes"] = hardware.show_node_records(names)
    told = {**told, **(yield from ask_all(more, purpose="asking for one node of each kind"))}
    return SiteAnswers(
        config=config,
        partitions=listed,
        hardware=groups,
        qos=_read(told, "qos", partitions.parse_qos_records) if config.keeps_accounting else {},
        nodes=_read(told, "nodes", hardware.parse_node_records),
        modules=_read(told, "modules", parse_modules),
        login_shell=_read(told, "shell", parse_login_shell),
        test_job=_refusal(told.get("sbatch")),
    )


def representatives(groups: Sequence[HardwareGroup]) -> list[str]:
    """Return the name of one node of each group.

    Raises:
        UnreadableAnswer: a list of nodes can't be read.
    """
    firsts = dict.fromkeys(min(expand_nodes(group.nodes), default="") for group in groups)
    return list(filter(None, firsts))[:_MAX_NODES]


def try_job(listed: Sequence[PartitionRecord]) -> list[str]:
    """Return the command that asks whether a job without an account would be accepted; none is submitted."""
    up = [each.name for each in listed if each.state == "UP"]
    has_default = any(each.is_default for each in listed)
    where = [f"--partition={up[0]}"] if up and not has_default else []
    return [*_WITHOUT_ACCOUNT, "sbatch", "--test-only", "--time=1", "--ntasks=1", *where, "--wrap=true"]


def _refusal(answer: Told | None) -> str | None:
    if answer is None:
        return "it was not asked"
    return (answer.failure or f"it ended with {answer.status}") if answer.status else None


def _needed(told: Mapping[str, Told], name: str, parse: Callable[[str], T]) -> T:
    answer = told.get(name)
    if answer is None:
        raise UnreadableAnswer(f"probing the site: nothing was said of {name}")
    if answer.status:
        raise ControllerUnavailable(
            f"slurmctld does not answer: {answer.failure}. It may be under maintenance, see the site's status page"
        )
    return parse(answer.stdout)


def _read(told: Mapping[str, Told], name: str, parse: Callable[[str], T]) -> T | Unknown:
    answer = told.get(name)
    if answer is None:
        return Unknown(why="it was not asked")
    if answer.status:
        return Unknown(why=answer.failure)
    try:
        return parse(answer.stdout)
    except UnreadableAnswer as error:
        return Unknown(why=str(error))
