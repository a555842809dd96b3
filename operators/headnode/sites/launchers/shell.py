"""Pieces of shell text that launchers share: the first node's name, a port, the network, ``srun``."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from typing import Final

from headnode.sites.launchers.launcher import Layout, Machine, is_python

#: Ports of jobs: 20000 to 39999, by the job's id, so that two jobs on one node do not meet (as a rule).
PORT: Final = "$((20000 + SLURM_JOB_ID % 20000))"
PYTHON: Final = "python3 -u"
#: MPI and frameworks bind their own threads; LAMEC and itwinai start all of theirs so.
UNBOUND: Final = "--cpu-bind=none"
#: Of the warning before the time is up only the program itself need know, not what starts it: to be ignored is
#: inherited, and a program that sets a handler gets the signal all the same.
KEEP_STARTERS: Final = 'trap "" USR1  # the warning before the end is for the program, not for what starts it'

_INTERFACE_VARIABLES = ("NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME")
# In single quotes on purpose, which shellcheck doubts of programs that it does not know (SC2016).
_BY_EACH_NODE = "# shellcheck disable=SC2016  # each node fills in its own variables"


def master_lines(machine: Machine) -> list[str]:
    """Return lines that export MASTER_ADDR, the job's first node on the fast network, and MASTER_PORT.

    What the job's own environment gives is left as it is.
    """
    lines, exported = [], []
    if "MASTER_ADDR" not in machine.given:
        first = '$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)'
        lines.append(f'MASTER_ADDR="{first}{machine.host_suffix}"')
        exported.append("MASTER_ADDR")
    if "MASTER_PORT" not in machine.given:
        exported.append(f"MASTER_PORT={PORT}")
    return [*lines, f"export {' '.join(exported)}"] if exported else []


def network_lines(machine: Machine, *, collectives: bool = True) -> list[str]:
    """Return lines that export the machine's own variables; the job's own win.

    For programs that use NCCL or Gloo (``collectives``) they name the interfaces of the fast network, too.
    """
    variables = dict(machine.environment)
    if not collectives:
        variables = {name: value for name, value in variables.items() if not name.startswith(("NCCL_", "GLOO_"))}
    elif machine.interfaces:
        # NCCL takes a list; Gloo takes one or, from PyTorch 1.x on, a list too.
        variables = {name: ",".join(machine.interfaces) for name in _INTERFACE_VARIABLES} | variables
    return [f'export {name}="${{{name}:-{value}}}"' for name, value in variables.items() if name not in machine.given]


def step_lines(layout: Layout) -> list[str]:
    """Return lines that every use of ``srun`` needs.

    srun of 22.05 and 23.02 does not take over sbatch's --cpus-per-task (Slurm's RELEASE_NOTES of 22.05).
    """
    return ['export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"'] if layout.cpus_per_task else []


def srun(*options: str) -> str:
    """Return ``srun`` with those ``options`` that are not empty."""
    return joined(["srun", *options])


def mpi_option(machine: Machine, own: str | None = None) -> str:
    """Return how srun starts MPI: the job's ``own`` way, else the site's; empty where Slurm's default will do."""
    way = own or machine.srun_mpi
    return f"--mpi={shlex.quote(way)}" if way else ""


def all_gpus_option(machine: Machine, layout: Layout) -> str:
    """Return what lets each of several tasks see all GPUs of its node, as programs that go by their local rank want.

    Where GPUs are asked for by task, Slurm shows each task its own alone, as number 0.
    """
    alone = machine.gpus_by_task and layout.gpus_per_node > 1 and layout.ntasks_per_node > 1
    return "--gpu-bind=none" if alone else ""


def own_gpus_option(machine: Machine, layout: Layout) -> str:
    """Return what gives each of several tasks its own share of the node's GPUs, where they can be shared out."""
    share, rest = divmod(layout.gpus_per_node, layout.ntasks_per_node)
    if layout.ntasks_per_node == 1 or rest or not share or machine.gpus_by_task:
        return ""
    return f"--gpus-per-task={share}"


def on_each_node(start: str, *lines: str) -> str:
    """Return a command whose ``lines`` of shell text see the variables of each task; ``start`` is ``srun ...``.

    The words of the command follow as ``"$@"``.
    """
    text = "\n".join(["", *(f"  {line}" for line in "\n".join(lines).split("\n")), ""])
    return f"{_BY_EACH_NODE}\n{start} bash -c {shlex.quote(text)} headnode"


def continued(first: str, *parts: str) -> str:
    """Return a command over several lines, each part but the first on one of its own."""
    return " \\\n  ".join([first, *(part for part in parts if part)])


def python_words(machine: Machine, command: list[str] | str) -> str:
    """Return what goes before ``command``: the machine's wrapper, and Python where the command is a file of it."""
    return joined([machine.wrapper, PYTHON if is_python(command) else ""])


def quoted(value: str) -> str:
    """Return a value as one word of the shell."""
    return shlex.quote(value)


def joined(parts: Iterable[str]) -> str:
    """Return the parts that are not empty, with blanks between them."""
    return " ".join(part for part in parts if part)
