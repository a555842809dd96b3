"""How a layout's GPUs, memory and whole nodes are asked for at a site."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from headnode.sites.launchers.launcher import Layout
from headnode.sites.system import GpuRequest, Partition, System

_MEMORY: Final = ("mem", "mem-per-cpu", "mem-per-gpu")


def request_gpus(layout: Layout, system: System | None, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that ask for ``layout``'s GPUs the way the site wants it, in one form only.

    sbatch of 26.05 and later refuses ``--gpus-per-node`` together with ``--gres=gpu`` (src/common/slurm_opt.c).
    """
    options = dict(fields.get("sbatch_options") or {})
    if layout.whole_nodes and "exclusive" not in options:
        options["exclusive"] = None
    count = layout.gpus_per_node
    if not count or own_gpu_option(options) is not None:
        return {"sbatch_options": options, "gpus_per_node": fields.get("gpus_per_node")}
    request = (system.gpu_request if system is not None else None) or GpuRequest(form="gpus-per-node")
    kind = f"{request.type}:" if request.type else ""
    per_node = None
    match request.form:
        case "gres":
            options["gres"] = ",".join(filter(None, [options.get("gres"), f"gpu:{kind}{count}"]))
        case "gpus":
            options["gpus"] = f"{kind}{count * layout.nodes}"
        case "gpus-per-task" if count % layout.ntasks_per_node == 0:
            options["gpus-per-task"] = f"{kind}{count // layout.ntasks_per_node}"
        case "gpus-per-node" | "gpus-per-task" if kind:
            options["gpus-per-node"] = f"{kind}{count}"
        case "automatic":
            pass
        case "gpus-per-node" | "gpus-per-task":
            per_node = count
    return {"sbatch_options": options, "gpus_per_node": per_node}


def own_gpu_option(options: Mapping[str, Any]) -> str | None:
    """Return the option of sbatch by which a job asks for GPUs itself; ``gres`` may ask for something else."""
    if "gpu" in str(options.get("gres", "")):
        return "gres"
    return next((name for name in ("gpus", "gpus-per-task", "gpus-per-node") if name in options), None)


def request_memory(layout: Layout, partition: Partition | None, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the field that asks for all memory of nodes that the job has alone; else the site's default counts.

    It is as much as the site says that a job may have, where that is known, else 0: all of a node's memory as Slurm
    has it (sbatch.1, ``--mem``). What is given counts.
    """
    options = fields.get("sbatch_options") or {}
    given = fields.get("memory") is not None or any(name in options for name in _MEMORY)
    alone = layout.whole_nodes or "exclusive" in options or (partition is not None and bool(partition.exclusive))
    if given or not alone:
        return {}
    return {"memory": (partition.usable_memory if partition is not None else None) or "0"}
