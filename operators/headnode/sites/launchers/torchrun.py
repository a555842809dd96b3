"""PyTorch's own launcher: one task on each node, one process for each GPU."""

from __future__ import annotations

from typing import ClassVar, Literal

from headnode.sites.launchers.launcher import Launch, Launcher, Layout, Machine, is_python
from headnode.sites.launchers.shell import (
    KEEP_STARTERS,
    PYTHON,
    UNBOUND,
    continued,
    joined,
    master_lines,
    network_lines,
    on_each_node,
    srun,
    step_lines,
)
from headnode.slurm.jobspec import Count


class Torchrun(Launcher):
    """PyTorch DDP by ``torchrun``.

    ``processes_per_node`` is a process for each GPU; without GPUs one, where it is not given.
    """

    kind: Literal["torchrun"] = "torchrun"
    software: ClassVar[str] = "pytorch"

    processes_per_node: Count | None = None

    def tasks_per_node(self, machine: Machine, gpus: int) -> int:  # noqa: ARG002 - others divide by them
        """Return 1: torchrun starts the processes of a node."""
        return 1

    def start(self, machine: Machine, layout: Layout, command: list[str] | str) -> Launch:
        """Return srun of one torchrun a node, which meet at the first node."""
        processes = self.processes_per_node or layout.gpus_per_node or 1
        return Launch(
            lines=(*master_lines(machine), *network_lines(machine), *step_lines(layout)),
            prefix=on_each_node(srun(UNBOUND), KEEP_STARTERS, torchrun_text(machine, command, processes=processes)),
        )


def torchrun_text(machine: Machine, command: list[str] | str, *, processes: int) -> str:
    """Return the shell text that becomes the torchrun of a node.

    It is ``python3 -m``, since ``torchrun`` itself may belong to a module's Python, which knows nothing of an
    environment. ``is_host`` is said, since torchrun does not recognise the first node under its name on the fast
    network (pytorch issue 73656), and for that network each node says its own address (torchrun_jsc does both).
    """
    local = f'--local-addr="${{SLURMD_NODENAME}}{machine.host_suffix}"' if machine.host_suffix else ""
    return continued(
        joined(["exec", machine.wrapper, PYTHON, "-m torch.distributed.run"]),
        f'--nnodes="$SLURM_JOB_NUM_NODES" --nproc-per-node={processes}',
        '--rdzv-id="$SLURM_JOB_ID" --rdzv-backend=c10d --rdzv-endpoint="$MASTER_ADDR:$MASTER_PORT"',
        joined(['--rdzv-conf="is_host=$((SLURM_NODEID == 0 ? 1 : 0))"', local]),
        joined(["" if is_python(command) else "--no-python", '"$@"']),
    )
