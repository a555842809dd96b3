"""PyTorch's own launcher: one task on each node, one process for each GPU."""

from __future__ import annotations

from typing import ClassVar, Literal

from headnode.sites.launchers.launcher import Launch, Launcher, Layout, Machine, is_python
from headnode.sites.launchers.shell import joined, master_lines, network_lines, on_each_node, srun, step_lines
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

    def launch(self, machine: Machine, layout: Layout, *, command: list[str] | str) -> Launch:
        """Return srun of one torchrun a node, which meet at the first node."""
        # python3 -m, since torchrun itself may belong to a module's Python, which knows nothing of an environment.
        # is_host, since torchrun does not recognise the first node under its name on the fast network.
        text = joined(
            [
                "exec",
                machine.wrapper,
                "python3 -u -m torch.distributed.run",
                '--nnodes="$SLURM_JOB_NUM_NODES"',
                f"--nproc-per-node={self.processes_per_node or layout.gpus_per_node or 1}",
                '--rdzv-id="$SLURM_JOB_ID" --rdzv-backend=c10d --rdzv-endpoint="$MASTER_ADDR:$MASTER_PORT"',
                '--rdzv-conf="is_host=$((SLURM_NODEID == 0 ? 1 : 0))"',
                "" if is_python(command) else "--no-python",
                '"$@"',
            ]
        )
        return Launch(
            lines=(*master_lines(machine), *network_lines(machine), *step_lines(layout)),
            prefix=f"{srun(machine, '--cpu-bind=none')} {on_each_node(text)}",
        )
