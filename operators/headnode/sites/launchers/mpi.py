"""Programs that find each other by MPI: plain ones, Horovod, Heat, and DeepHyper's search."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from headnode.errors import JobSpecError
from headnode.sites.launchers.launcher import Launch, Launcher, Layout, Machine
from headnode.sites.launchers.shell import (
    UNBOUND,
    all_gpus_option,
    joined,
    mpi_option,
    network_lines,
    own_gpus_option,
    python_words,
    srun,
    step_lines,
)
from headnode.slurm.jobspec import Count


class _Ranks(Launcher):
    """A task for each rank; ``ranks_per_node`` is the number of GPUs where it is not given.

    ``mpi`` is how srun lets ranks find each other (``pmi2``, ``pmix``; ``srun --mpi=list`` shows what there is), where
    the site's own way is not that of the program's MPI, as it may be in a container.
    """

    ranks_per_node: Count | None = None
    mpi: Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+$")] | None = None

    def tasks_per_node(self, machine: Machine, gpus: int) -> int:  # noqa: ARG002 - Mpi looks at the cores
        """Return the ranks of a node: one for each GPU, and one where there are none."""
        return self.ranks_per_node or max(gpus, 1)


class Horovod(_Ranks):
    """Horovod: a rank for each GPU, which pins its own by ``hvd.local_rank()``."""

    kind: Literal["horovod"] = "horovod"
    software: ClassVar[str] = "horovod"

    def start(self, machine: Machine, layout: Layout, command: list[str] | str) -> Launch:
        """Return srun of all ranks."""
        return Launch(
            lines=(*network_lines(machine), *step_lines(layout)),
            prefix=joined(
                [
                    srun(mpi_option(machine, self.mpi), UNBOUND, all_gpus_option(machine, layout)),
                    python_words(machine, command),
                ]
            ),
        )


class Heat(_Ranks):
    """Heat: a rank for each GPU, or ``ranks_per_node`` on CPUs, each with the threads of its share of the cores."""

    kind: Literal["heat"] = "heat"
    software: ClassVar[str] = "heat"

    def start(self, machine: Machine, layout: Layout, command: list[str] | str) -> Launch:
        """Return srun of all ranks."""
        threads = f"export OMP_NUM_THREADS={layout.cpus_per_task}"
        own = layout.cpus_per_task and "OMP_NUM_THREADS" not in machine.given
        return Launch(
            lines=(*network_lines(machine), *([threads] if own else []), *step_lines(layout)),
            prefix=joined(
                [
                    srun(mpi_option(machine, self.mpi), UNBOUND, all_gpus_option(machine, layout)),
                    python_words(machine, command),
                ]
            ),
        )


class Mpi(_Ranks):
    """Any MPI program: a rank for each GPU, on nodes without them one for each usable core.

    Which GPUs a rank sees is as the site has it: all of its node's, or one of its own where they are asked for by task.
    """

    kind: Literal["mpi", "deephyper"] = "mpi"
    software: ClassVar[str] = "mpi"
    wants_gpus: ClassVar[bool] = False

    def tasks_per_node(self, machine: Machine, gpus: int) -> int:
        """Return the ranks of a node. Raises JobSpecError where they can't be told."""
        ranks = self.ranks_per_node or gpus or machine.cores
        if ranks is None:
            raise JobSpecError(
                "launch", "how many cores a node has is unknown, and so how many ranks to start; give ranks_per_node="
            )
        return ranks

    def start(self, machine: Machine, layout: Layout, command: list[str] | str) -> Launch:
        """Return srun of all ranks, bound to their cores as the site does it."""
        return Launch(
            lines=(*network_lines(machine, collectives=False), *step_lines(layout)),
            prefix=joined(
                [srun(mpi_option(machine, self.mpi), *self.options(machine, layout)), python_words(machine, command)]
            ),
        )

    def options(self, machine: Machine, layout: Layout) -> list[str]:  # noqa: ARG002 - DeepHyper looks at them
        """Return further options of srun."""
        return []


class DeepHyper(Mpi):
    """DeepHyper's search by its MPI evaluator: rank 0 gives out the work, all others do it.

    Each rank has its own share of the node's GPUs; that of rank 0 stays without work.
    """

    kind: Literal["deephyper"] = "deephyper"
    software: ClassVar[str] = "deephyper"
    wants_gpus: ClassVar[bool] = True

    def layout(self, machine: Machine) -> Layout:
        """Return the layout. Raises JobSpecError where nobody would be left to do the work."""
        layout = super().layout(machine)
        if layout.nodes * layout.ntasks_per_node == 1:
            raise JobSpecError(
                "launch", "DeepHyper's rank 0 only gives out the work: give ranks_per_node=2 or more, or nodes="
            )
        return layout

    def options(self, machine: Machine, layout: Layout) -> list[str]:
        """Return what gives each rank GPUs of its own."""
        return [own_gpus_option(machine, layout)]
