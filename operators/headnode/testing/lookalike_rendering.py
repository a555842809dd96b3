"""The configuration of a slurmctld that has a site's partitions and nodes, as text. Pure: facts in, text out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from headnode.sites.system import Partition, System
from headnode.slurm.policy import parse_mebibytes
from headnode.slurm.time_limits import render_time_limit

# Of what is unknown there is more than anybody asks for.
_MANY_NODES: Final = 64
_MANY_CORES: Final = 256
_MANY_GPUS: Final = 64
_MUCH_MEBIBYTES: Final = 8 * 1024 * 1024
_MEBIBYTES_OF_GB: Final = 10**9 / 2**20


def render_lookalike_conf(
    system: System, *, directory: Path, munge_socket: Path, host: str, user: str, port: int
) -> str:
    """Return a slurm.conf with the site's partitions and as many nodes as it has.

    The nodes are of the cloud's kind: Slurm takes them for usable without ever having heard of them (slurm.conf(5),
    ``State=CLOUD``), so that no slurmd runs. A node has the cores that jobs may ask for and no other, so that a job
    which asks for more is refused.
    """
    return "\n".join(
        [
            "ClusterName=lookalike",
            f"SlurmctldHost={host}(127.0.0.1)",
            f"SlurmctldPort={port}",
            f"SlurmUser={user}",
            "AuthType=auth/munge",
            f"AuthInfo=socket={munge_socket}",
            "CredType=cred/munge",
            f"StateSaveLocation={directory}/state",
            f"SlurmctldPidFile={directory}/run/slurmctld.own.pid",
            f"SlurmctldLogFile={directory}/log/slurmctld.log",
            "ProctrackType=proctrack/linuxproc",
            "TaskPlugin=task/none",
            "SelectType=select/cons_tres",
            "SelectTypeParameters=CR_Core_Memory",
            "GresTypes=gpu",
            "AccountingStorageType=accounting_storage/none",
            "JobSubmitPlugins=lua",
            "EnforcePartLimits=ALL",
            "SuspendProgram=/bin/true",
            "ResumeProgram=/bin/true",
            "SuspendTime=-1",
            *_nodes_and_partitions(system),
            "",
        ]
    )


def _nodes_and_partitions(system: System) -> Iterator[str]:
    unnamed = []
    for number, (name, partition) in enumerate(_partitions(system), start=1):
        count = max(partition.nodes or partition.max_nodes or _MANY_NODES, partition.min_nodes or 1)
        nodes = f"p{number}n[1-{count}]"
        yield f"NodeName={nodes} {_hardware(partition)} State=CLOUD"
        if partition.is_partition and name:
            yield f"PartitionName={name} Nodes={nodes} {_limits(partition)} State=UP"
        else:
            unnamed.append(nodes)
    if unnamed:
        yield f"PartitionName=unnamed Nodes={','.join(unnamed)} Default=YES MaxTime=UNLIMITED State=UP"


def _partitions(system: System) -> list[tuple[str, Partition]]:
    return list(system.partitions.items()) or [("", Partition())]


def _hardware(partition: Partition) -> str:
    cores, sockets = partition.cores_for_jobs or _MANY_CORES, partition.sockets or 1
    if cores % sockets:
        sockets = 1
    memory = parse_mebibytes(partition.usable_memory) if partition.usable_memory else None
    if memory is None:
        memory = int(partition.memory_gb * _MEBIBYTES_OF_GB) if partition.memory_gb else _MUCH_MEBIBYTES
    gpus = _MANY_GPUS if partition.gpus is None else partition.gpus
    words = [f"Sockets={sockets} CoresPerSocket={cores // sockets} ThreadsPerCore=1 RealMemory={memory}"]
    if gpus:
        words.append(f"Gres=gpu:{gpus}")
    named = re.findall(r"[A-Za-z0-9_]+", partition.constraint or "")
    if features := list(dict.fromkeys([*partition.features, *named])):
        words.append(f"Feature={','.join(features)}")
    return " ".join(words)


def _limits(partition: Partition) -> str:
    longest = max(
        [*partition.max_time_from_nodes.values(), *([partition.max_time] if partition.max_time else [])], default=None
    )
    words = [f"MaxTime={render_time_limit(longest) if longest is not None else 'UNLIMITED'}"]
    if partition.max_nodes is not None:
        words.append(f"MaxNodes={partition.max_nodes}")
    if partition.min_nodes is not None:
        words.append(f"MinNodes={partition.min_nodes}")
    if partition.exclusive:
        words.append("OverSubscribe=EXCLUSIVE")
    return " ".join(words)


def render_lookalike_policy(system: System) -> str:
    """Return a job_submit.lua that refuses what the site refuses: no account, no QOS, a wrong ratio of CPUs to GPUs."""
    ratios = ", ".join(
        f'["{name}"] = {partition.cpus_per_gpu}'
        for name, partition in system.partitions.items()
        if partition.exact_cpus_per_gpu and partition.cpus_per_gpu
    )
    return f"""\
local wants_account = {_lua(system.mandatory.account)}
local wants_qos = {_lua(system.mandatory.qos)}
local cpus_per_gpu = {{{ratios}}}

local function refuse(why)
  slurm.log_user("%s", why)
  return slurm.ERROR
end

function slurm_job_submit(job, partitions, uid)
  if wants_account and job.account == nil then return refuse("this site wants an account for each job") end
  if wants_qos and job.qos == nil then return refuse("this site wants a QOS for each job") end
  local ratio = cpus_per_gpu[job.partition or ""]
  if ratio ~= nil then
    local gpus = tonumber(string.match(job.tres_per_node or "", "(%d+)$") or "0")
    local cpus = job.cpus_per_task * job.ntasks_per_node
    if cpus ~= ratio * gpus then
      return refuse(string.format("%d CPUs for %d GPUs, where it must be %d for each", cpus, gpus, ratio))
    end
  end
  return slurm.SUCCESS
end

function slurm_job_modify(job, record, partitions, uid)
  return slurm.SUCCESS
end
"""


def _lua(wanted: bool | None) -> str:  # noqa: FBT001 - a value of the facts
    return "true" if wanted else "false"
