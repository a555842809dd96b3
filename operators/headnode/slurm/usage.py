"""What a job used, in words for people: for the task's log and for the job's page.

Efficiencies are reckoned as ``seff`` does (contribs/seff in Slurm's source): CPU time over allocated CPUs times
elapsed time, and MaxRSS times tasks over allocated memory.
"""

from __future__ import annotations

from typing import Final

from headnode.slurm.record import Usage

_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_JOULES_PER_KWH: Final = 3_600_000


def usage_facts(usage: Usage, *, nodes: str | None = None) -> list[tuple[str, str]]:
    """Return what was used as pairs of name and text; ``nodes`` are the nodes' names, as Slurm lists them."""
    facts = [("elapsed", duration(usage.elapsed_seconds)), ("CPU time", _cpu(usage))]
    if (memory := _memory(usage)) is not None:
        facts.append(("memory", memory))
    if usage.gpus:
        facts.append(("GPUs", str(usage.gpus)))
    if usage.energy_joules is not None:
        facts.append(("energy", energy(usage.energy_joules)))
    if usage.node_count or nodes:
        count = str(usage.node_count) if usage.node_count else ""
        facts.append(("nodes", f"{count} ({nodes})" if count and nodes else count or str(nodes)))
    return facts


def usage_table(usage: Usage, *, nodes: str | None = None) -> str:
    """Return what was used as a table of two columns, one line for each fact."""
    facts = usage_facts(usage, nodes=nodes)
    width = max(len(name) for name, _ in facts)
    return "\n".join(f"  {name:<{width}}  {text}" for name, text in facts)


def duration(seconds: float) -> str:
    """Return a length of time for people: ``45 s``, ``3 min 05 s``, ``2 h 05 min``, ``3 d 04 h``."""
    whole = max(0, round(seconds))
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02d} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02d} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR:02d} h"


def size(count: int) -> str:
    """Return a number of bytes for people, in Slurm's powers of 1024."""
    scaled, unit = float(count), _UNITS[0]
    for unit in _UNITS:
        if scaled < 1024 or unit == _UNITS[-1]:  # noqa: PLR2004
            break
        scaled /= 1024
    return f"{scaled:.0f} {unit}" if unit == _UNITS[0] else f"{scaled:.1f} {unit}"


def energy(joules: int) -> str:
    """Return an energy for people: ``950 J``, ``12.5 kJ``, ``3.2 kWh``."""
    if joules < 1000:  # noqa: PLR2004
        return f"{joules} J"
    return f"{joules / 1000:.1f} kJ" if joules < _JOULES_PER_KWH else f"{joules / _JOULES_PER_KWH:.1f} kWh"


def _cpu(usage: Usage) -> str:
    cpus = f"on {usage.allocated_cpus} CPU{'' if usage.allocated_cpus == 1 else 's'}"
    if usage.cpu_efficiency is None:
        return f"{duration(usage.cpu_seconds)} {cpus}"
    return f"{duration(usage.cpu_seconds)} {cpus}, {usage.cpu_efficiency:.0%} of what was allocated"


def _memory(usage: Usage) -> str | None:
    used = usage.max_rss_bytes if usage.memory_used_bytes is None else usage.memory_used_bytes
    if used is None:
        return f"not measured, {size(usage.allocated_memory_bytes)} allocated" if usage.allocated_memory_bytes else None
    text = size(used)
    if usage.allocated_memory_bytes:
        text += f" of {size(usage.allocated_memory_bytes)} allocated"
        text += f", {usage.memory_efficiency:.0%}" if usage.memory_efficiency is not None else ""
    if usage.max_rss_bytes is not None and usage.max_rss_bytes != used:
        text += f"; at most {size(usage.max_rss_bytes)} a task"
    return text
