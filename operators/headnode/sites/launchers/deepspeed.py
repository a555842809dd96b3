"""DeepSpeed: by torchrun on each node, or a task for each GPU."""

from __future__ import annotations

from typing import ClassVar, Literal

from headnode.sites.launchers.launcher import Launch, Launcher, Layout, Machine
from headnode.sites.launchers.shell import (
    KEEP_STARTERS,
    UNBOUND,
    all_gpus_option,
    joined,
    master_lines,
    network_lines,
    on_each_node,
    python_words,
    srun,
    step_lines,
)
from headnode.sites.launchers.torchrun import torchrun_text


class DeepSpeed(Launcher):
    """DeepSpeed, whose ``deepspeed.init_distributed()`` finds the others by environment variables.

    With ``tasks`` ``node`` torchrun starts the processes of each node; with ``gpu`` Slurm starts one for each GPU.
    DeepSpeed's own launcher is not used: it logs in from node to node, which many sites don't let jobs do.
    """

    kind: Literal["deepspeed"] = "deepspeed"
    software: ClassVar[str] = "deepspeed"

    tasks: Literal["node", "gpu"] = "node"

    def tasks_per_node(self, machine: Machine, gpus: int) -> int:  # noqa: ARG002 - others look at the cores
        """Return 1, or the number of GPUs."""
        return max(gpus, 1) if self.tasks == "gpu" else 1

    def start(self, machine: Machine, layout: Layout, command: list[str] | str) -> Launch:
        """Return srun of torchrun, or of the program with its rank, local rank and the number of all."""
        lines = (*master_lines(machine), *network_lines(machine), *step_lines(layout))
        if self.tasks == "node":
            text = torchrun_text(machine, command, processes=layout.gpus_per_node or 1)
            return Launch(lines=lines, prefix=on_each_node(srun(UNBOUND), KEEP_STARTERS, text))
        start = srun(UNBOUND, all_gpus_option(machine, layout))
        ranks = 'export RANK="$SLURM_PROCID" LOCAL_RANK="$SLURM_LOCALID" WORLD_SIZE="$SLURM_NTASKS"'
        text = joined(["exec", python_words(machine, command), '"$@"'])
        return Launch(lines=lines, prefix=on_each_node(start, ranks, text))
