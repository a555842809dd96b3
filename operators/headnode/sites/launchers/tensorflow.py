"""TensorFlow's MultiWorkerMirroredStrategy, whose workers Slurm starts."""

from __future__ import annotations

from typing import ClassVar, Literal

from headnode.sites.launchers.launcher import Launch, Launcher, Layout, Machine
from headnode.sites.launchers.shell import (
    PORT,
    UNBOUND,
    all_gpus_option,
    joined,
    network_lines,
    python_words,
    srun,
    step_lines,
)


class TensorFlowMultiWorker(Launcher):
    """TensorFlow over several workers: one for each node, which has all its GPUs, or one for each ``gpu``.

    The program makes its cluster of what Slurm says of the step (``SlurmClusterResolver`` in TensorFlow's
    ``slurm_cluster_resolver.py``), with a port of the job's own from ``TF_PORT_BASE``:
    ``SlurmClusterResolver(port_base=int(os.environ["TF_PORT_BASE"]))``.
    """

    kind: Literal["tensorflow"] = "tensorflow"
    software: ClassVar[str] = "tensorflow"

    workers: Literal["node", "gpu"] = "node"

    def tasks_per_node(self, machine: Machine, gpus: int) -> int:  # noqa: ARG002 - others look at the cores
        """Return 1, or the number of GPUs."""
        return max(gpus, 1) if self.workers == "gpu" else 1

    def start(self, machine: Machine, layout: Layout, command: list[str] | str) -> Launch:
        """Return srun of all workers. The resolver itself gives each its GPUs, so that all must see all of them."""
        port = [] if "TF_PORT_BASE" in machine.given else [f"export TF_PORT_BASE={PORT}"]
        start = srun(UNBOUND, all_gpus_option(machine, layout))
        return Launch(
            lines=(*port, *network_lines(machine), *step_lines(layout)),
            prefix=joined([start, python_words(machine, command)]),
        )
