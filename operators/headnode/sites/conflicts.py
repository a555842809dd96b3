"""What a job asks for against what its site has: each conflict with the number and where it was read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from headnode.errors import JobSpecError
from headnode.sites.system import Partition, Qos, System
from headnode.slurm.jobspec import INHERITED, whole_number
from headnode.slurm.time_limits import parse_time_limit, render_time_limit

_MEMORY = re.compile(r"([0-9]{1,15})([KMGT]?)")
_GIB = 1024**3


def check_against_site(fields: Mapping[str, Any], system: System | None, partition: str | None) -> None:
    """Refuse what the site would refuse, or never start. What is unknown, there or here, is let pass.

    ``fields`` are those of a job whose values are known; counts may be text, as templates render them.

    Raises:
        JobSpecError: more nodes, cores, GPUs, memory or time than there are, or something mandatory is missing.
    """
    if system is None:
        return
    _check_mandatory(fields, system)
    _Check.of(fields, system, partition).all()
    for component in fields.get("components") or ():
        if isinstance(component, Mapping):
            inherited = {name: fields[name] for name in INHERITED if fields.get(name) is not None}
            _Check.of({**inherited, **component}, system, component.get("partition") or partition).all()


def _check_mandatory(fields: Mapping[str, Any], system: System) -> None:
    options, mandatory = _options(fields), system.mandatory
    if mandatory.account and not fields.get("account") and "account" not in options:
        form = f", such as {mandatory.account_format}" if mandatory.account_format else ""
        source = system.source_of("mandatory", "account")
        raise JobSpecError("account", f"{system.name} wants an account for each job{form} ({source}); give account=")
    if mandatory.qos and not fields.get("qos") and "qos" not in options:
        source = system.source_of("mandatory", "qos")
        raise JobSpecError("qos", f"{system.name} wants a QOS for each job ({source}); give qos=")


@dataclass(frozen=True, kw_only=True)
class _Check:
    """One job, or one component of it, against a partition; numbers are those of one node but ``nodes``."""

    system: System
    name: str
    partition: Partition
    qos_name: str
    qos: Qos
    nodes: int | None
    tasks: int | None
    cpus_per_task: int | None
    gpus: int | None
    memory: str | None
    time_limit: timedelta | None

    @classmethod
    def of(cls, fields: Mapping[str, Any], system: System, partition: str | None) -> _Check:
        """Return the check of a job's fields; a partition of which nothing is known has no limits."""
        options = _options(fields)
        nodes = _count(fields.get("nodes"))
        tasks = _count(fields.get("ntasks_per_node"))
        total = _count(fields.get("ntasks"))
        if tasks is None and total is not None and nodes is not None:
            tasks = -(-total // nodes)
        qos = str(fields.get("qos") or options.get("qos") or "")
        memory = fields.get("memory") or options.get("mem")
        return cls(
            system=system,
            name=partition or "",
            partition=system.partitions.get(partition or "") or Partition(),
            qos_name=qos,
            qos=system.qos.get(qos) or Qos(),
            nodes=nodes,
            tasks=tasks,
            cpus_per_task=_count(fields.get("cpus_per_task")),
            gpus=_gpus(fields, options, nodes=nodes, tasks=tasks),
            memory=str(memory) if memory is not None else None,
            time_limit=_time(fields.get("time_limit")),
        )

    def all(self) -> None:
        """Raise JobSpecError for the first conflict."""
        self.nodes_fit()
        self.gpus_fit()
        self.cpus_fit()
        self.memory_fits()
        self.time_fits()

    def nodes_fit(self) -> None:
        """Not more nodes than a job may have or than there are, and not fewer than it must have."""
        if self.nodes is None:
            return
        most, place = self._limit("max_nodes")
        if most is not None and self.nodes > most:
            self._refuse("nodes", f"{self._nodes()}, where a job in {place} may have {most}", "max_nodes")
        least, place = self._limit("min_nodes")
        if least is not None and self.nodes < least:
            self._refuse("nodes", f"{self._nodes()}, where a job in {place} has at least {least}", "min_nodes")
        there = self.partition.nodes
        if there is not None and self.nodes > there:
            self._refuse("nodes", f"{self._nodes()}, where {self._where} has {there}", "nodes")

    def gpus_fit(self) -> None:
        """Not more GPUs than a node has."""
        there = self.partition.gpus
        if self.gpus is None or there is None or self.gpus <= there:
            return
        if there == 0:
            others = [name for name, each in self.system.partitions.items() if each.gpus]
            hint = f"; with GPUs there are {', '.join(others)}" if others else ""
            self._refuse("gpus_per_node", f"{_gpus_text(self.gpus)}, where {self._where} has none{hint}", "gpus")
        self._refuse("gpus_per_node", f"{_gpus_text(self.gpus)}, where {self._where} has {there}", "gpus")

    def cpus_fit(self) -> None:
        """Not more CPUs than a job may use of a node, and exactly so many for each GPU where the site wants that."""
        if self.cpus_per_task is None and self.tasks is None:
            return
        tasks, each = self.tasks or 1, self.cpus_per_task or 1
        asked = f"{tasks * each} CPUs on a node" + (f" ({tasks} tasks of {each})" if tasks > 1 and each > 1 else "")
        field = "cpus_per_task" if self.cpus_per_task is not None else "ntasks_per_node"
        cores, threads = self.partition.cores_for_jobs, self.partition.threads_per_core or 1
        if cores is not None and tasks * each > cores * threads:
            usable = f"{cores} cores" + (f" with {threads} threads each" if threads > 1 else "")
            installed = f" of its {self.partition.cores}" if self.partition.cores not in (None, cores) else ""
            fact = "usable_cores" if self.partition.usable_cores else "cores"
            self._refuse(field, f"{asked}, where jobs in {self._where} may use {usable}{installed}", fact)
        ratio = self.partition.cpus_per_gpu
        if self.partition.exact_cpus_per_gpu and ratio and self.gpus and tasks * each != self.gpus * ratio:
            self._refuse(
                field,
                f"{tasks * each} CPUs for {_gpus_text(self.gpus)}, where {self._where} wants exactly {ratio} for each,"
                f" {self.gpus * ratio} here",
                "cpus_per_gpu",
            )

    def memory_fits(self) -> None:
        """Not more memory than a node has for jobs, else than is installed."""
        if self.memory is None or (asked := _bytes(self.memory)) is None:
            return
        usable, installed = self.partition.usable_memory, self.partition.memory_gb
        if usable is not None and asked > (_bytes(usable) or 0):
            self._refuse("memory", f"{self.memory}, where jobs in {self._where} may use {usable}", "usable_memory")
        if usable is None and installed is not None and asked > installed * _GIB:
            self._refuse("memory", f"{self.memory}, where a node of {self._where} has {installed:g} GB", "memory_gb")

    def time_fits(self) -> None:
        """Not more time than a job of that many nodes may have."""
        most, place = self._limit("max_time")
        fact = "max_time"
        by_nodes = self.partition.max_time_from_nodes
        if by_nodes and self.nodes is not None and place == self._where:
            reached = [least for least in by_nodes if least <= self.nodes]
            if reached:
                most, fact = by_nodes[max(reached)], "max_time_from_nodes"
                place = f"{place} with {self._nodes()}"
        if self.time_limit is not None and most is not None and self.time_limit > most:
            problem = f"{render_time_limit(self.time_limit)}, where {place} allows {render_time_limit(most)}"
            self._refuse("time_limit", problem, fact)

    @property
    def _where(self) -> str:
        return f"partition {self.name!r} of {self.system.name}"

    def _limit(self, fact: str) -> tuple[Any, str]:
        """Return a limit and whose it is in words: the QOS's where it has one, else the partition's."""
        if (own := getattr(self.qos, fact)) is not None:
            return own, f"the QOS {self.qos_name!r} of {self.system.name}"
        if self.system.qos and self.qos_name and self.qos_name not in self.system.qos:
            return None, self._where  # where a QOS changes limits, one that is not known may change any
        return getattr(self.partition, fact), self._where

    def _nodes(self) -> str:
        return "1 node" if self.nodes == 1 else f"{self.nodes} nodes"

    def _refuse(self, field: str, problem: str, fact: str) -> None:
        by_qos = getattr(self.qos, fact, None) is not None
        block = f"qos.{self.qos_name}" if by_qos else f"partitions.{self.name}"
        raise JobSpecError(field, f"{problem}: {self.system.source_of(block, fact)}")


def _gpus_text(count: int) -> str:
    return "1 GPU on a node" if count == 1 else f"{count} GPUs on a node"


def _options(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    options = fields.get("sbatch_options")
    return options if isinstance(options, Mapping) else {}


def _count(value: Any) -> int | None:
    """Return a whole number that may be text; None for anything else, which the job's own check refuses."""
    try:
        number = whole_number(value)
    except ValueError:
        return None
    return number if isinstance(number, int) and number > 0 else None


def _gpus(fields: Mapping[str, Any], options: Mapping[str, Any], *, nodes: int | None, tasks: int | None) -> int | None:
    """Return how many GPUs of a node are asked for, in whichever form."""
    if fields.get("gpus_per_node") is not None:
        return _count(fields["gpus_per_node"])
    if "gpus-per-node" in options:
        return _gpu_count(options["gpus-per-node"])
    if str(options.get("gres", "")).startswith("gpu"):
        return _gpu_count(str(options["gres"]).removeprefix("gpu").lstrip(":") or "1")
    if "gpus-per-task" in options and (each := _gpu_count(options["gpus-per-task"])) is not None:
        return each * (tasks or 1)
    if "gpus" in options and nodes and (total := _gpu_count(options["gpus"])) is not None:
        return -(-total // nodes)
    return None


def _gpu_count(value: Any) -> int | None:
    """Return the number in ``4`` or ``a100:4``, 1 for a kind alone; None for a list of kinds, which may be anything."""
    text = str(value)
    if "," in text or "(" in text:
        return None
    number = text.rsplit(":", 1)[-1]
    return int(number) if re.fullmatch(r"[0-9]{1,6}", number) else 1


def _bytes(text: str) -> int | None:
    match = _MEMORY.fullmatch(text.strip())
    return int(match[1]) * 1024 ** ("KMGT".index(match[2] or "M") + 1) if match else None


def _time(value: Any) -> timedelta | None:
    if not isinstance(value, str):
        return value if isinstance(value, timedelta) else None
    try:
        return parse_time_limit(value)
    except ValueError:
        return None
