"""Pieces of shell text that launchers share: the first node's name, a port, the network, ``srun``."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from headnode.sites.launchers.launcher import Layout, Machine, is_python

#: Ports of jobs: 20000 to 39999, by the job's id, so that two jobs on one node do not meet (as a rule).
_PORT = "$((20000 + SLURM_JOB_ID % 20000))"


def master_lines(machine: Machine) -> list[str]:
    """Return lines that export MASTER_ADDR, the job's first node on the fast network, and MASTER_PORT."""
    return [
        'MASTER_ADDR="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)' + machine.host_suffix + '"',
        f"export MASTER_ADDR MASTER_PORT={_PORT}",
    ]


def network_lines(machine: Machine) -> list[str]:
    """Return lines that name the network for NCCL and Gloo, and the machine's own variables; the job's own win."""
    variables = dict(machine.environment)
    if machine.interfaces:
        # NCCL takes a list; Gloo takes one or, from PyTorch 1.x on, a list too.
        variables = {name: ",".join(machine.interfaces) for name in _INTERFACE_VARIABLES} | variables
    return [f'export {name}="${{{name}:-{value}}}"' for name, value in variables.items()]


def step_lines(layout: Layout) -> list[str]:
    """Return lines that every use of ``srun`` needs.

    srun of 22.05 and 23.02 does not take over sbatch's --cpus-per-task (Slurm's RELEASE_NOTES of 22.05).
    """
    return ['export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"'] if layout.cpus_per_task else []


def srun(machine: Machine, *options: str) -> str:
    """Return ``srun`` with the site's way of MPI and ``options``."""
    mpi = [f"--mpi={machine.srun_mpi}"] if machine.srun_mpi else []
    return " ".join(["srun", *mpi, *options])


def on_each_node(text: str) -> str:
    """Return shell text whose variables are those of the node where it runs; the command's words follow as "$@"."""
    return f"bash -c {shlex.quote(text)} headnode"


def python_words(machine: Machine, command: list[str] | str) -> str:
    """Return what goes before ``command``: the machine's wrapper, and Python where the command is a file of it."""
    return " ".join(each for each in (machine.wrapper, "python3 -u" if is_python(command) else "") if each)


def joined(parts: Iterable[str]) -> str:
    """Return the parts that are not empty, with blanks between them."""
    return " ".join(part for part in parts if part)


_INTERFACE_VARIABLES = ("NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME")
