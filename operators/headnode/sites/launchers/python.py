"""One plain process, as one would start it by hand."""

from __future__ import annotations

from typing import ClassVar, Literal

from headnode.errors import JobSpecError
from headnode.sites.launchers.launcher import Launch, Launcher, Layout, Machine
from headnode.sites.launchers.shell import python_words


class Python(Launcher):
    """A program of one process on one node, which has all that was asked for; without ``srun``."""

    kind: Literal["python"] = "python"
    software: ClassVar[str] = "python"
    wants_gpus: ClassVar[bool] = False

    def tasks_per_node(self, machine: Machine, gpus: int) -> int:  # noqa: ARG002 - others look at the machine
        """Return 1."""
        return 1

    def start(self, machine: Machine, layout: Layout, command: list[str] | str) -> Launch:
        """Return Python where the command is a file of it. Raises JobSpecError for several nodes."""
        if layout.nodes > 1:
            raise JobSpecError(
                "launch", f"Python is one process on one node, not {layout.nodes}; take Mpi or Torchrun for several"
            )
        return Launch(prefix=python_words(machine, command))
