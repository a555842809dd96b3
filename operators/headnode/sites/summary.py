"""What is known of a system, and what is not, in words for people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from headnode.sites.facts import Sourced
from headnode.sites.system import System
from headnode.slurm.time_limits import render_time_limit

_OF_EACH_BLOCK: Final = frozenset(Sourced.model_fields)
# What is not there where nothing is special; that it is not given is no gap.
_IF_ANY: Final = frozenset(
    """
    account_format binds clusters constraint cpus_per_gpu environment exact_cpus_per_gpu features host_suffix
    is_partition jump_hosts max_time_from_nodes min_nodes modules partitions proxy qos same_as sbatch_options
    transfer_hosts type
    """.split()  # noqa: SIM905 - a list of words is easier to read
)
_OF_GPUS: Final = frozenset({"gpu", "gpu_vendor", "gpu_memory_gb"})


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One fact with the ids of its sources. ``value`` is None where it is unknown."""

    name: str
    value: str | None
    sources: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class FactBlock:
    """A block of facts, by its place in the file."""

    place: str
    facts: tuple[Fact, ...]
    note: str | None

    @property
    def unknown(self) -> list[str]:
        """Return the names of the facts that are unknown."""
        return [fact.name for fact in self.facts if fact.value is None]


def blocks_of(system: System) -> Iterator[FactBlock]:
    """Yield all blocks of facts, those of which nothing is known too."""
    for place, block in system.blocks():
        facts = []
        for name in type(block).model_fields:
            given = name in block.model_fields_set
            value = in_words(getattr(block, name)) if given else None
            needless = name in _OF_EACH_BLOCK or (name in _IF_ANY and value is None) or _never_there(block, name)
            if not needless:
                facts.append(Fact(name=name, value=value, sources=block.source_of.get(name) or block.source))
        yield FactBlock(place=place, facts=tuple(facts), note=block.note)
    if system.gpu_request is None:
        yield FactBlock(place="gpu_request", facts=(Fact(name="form", value=None, sources=()),), note=None)


def _never_there(block: Sourced, name: str) -> bool:
    return name in _OF_GPUS and getattr(block, "gpus", None) == 0


def in_words(value: Any) -> str | None:
    """Return a fact's value as text; None for null and for what is empty, which are unknown."""
    if value is None or value in ("", (), {}):
        return None
    if isinstance(value, tuple):
        return ", ".join(str(each) for each in value)
    if isinstance(value, dict):
        return ", ".join(f"{key}={in_words(each)}" for key, each in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, timedelta):
        return render_time_limit(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def gpus_of(system: System) -> str | None:
    """Return the kinds of GPUs with their number a node; None where nothing is known, ``none`` where there are none."""
    partitions = system.partitions.values()
    kinds = [
        " ".join([f"{each.gpus} x" if each.gpus else "", each.gpu or "unknown kind"]).strip()
        for each in partitions
        if each.gpus or each.gpu
    ]
    if kinds:
        return ", ".join(dict.fromkeys(kinds))
    return "none" if partitions and all(each.gpus == 0 for each in partitions) else None


def gaps_of(system: System) -> list[str]:
    """Return what is unknown of that which jobs need most."""
    partitions = system.partitions.values()
    gpus = [each for each in partitions if each.gpus or each.gpu]
    gaps = {
        "login": not system.login.hosts,
        "partitions": not partitions,
        "cores": bool(partitions) and not any(each.cores_for_jobs for each in partitions),
        "GPUs of a node": any(each.gpus is None for each in gpus),
        "how GPUs are asked for": bool(gpus) and system.gpu_request is None,
        "time limits": bool(partitions) and not any(each.max_time for each in partitions),
        "account": system.mandatory.account is None,
        "modules": not system.software,
        "internet": system.internet.compute is None,
    }
    return [name for name, missing in gaps.items() if missing]


def as_json(system: System) -> dict[str, Any]:
    """Return the system as its file has it, with null for what is unknown and times as Slurm writes them."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {str(key): plain(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [plain(each) for each in value]
        return render_time_limit(value) if isinstance(value, timedelta) else value

    found: dict[str, Any] = plain(system.model_dump())
    return found
