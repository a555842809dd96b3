"""Optuna over several workers, which share a study by a journal file."""

from __future__ import annotations

from typing import ClassVar, Literal

from headnode.errors import JobSpecError
from headnode.sites.launchers.launcher import Launch, Launcher, Layout, Machine
from headnode.sites.launchers.shell import joined, own_gpus_option, python_words, quoted, srun, step_lines
from headnode.slurm.jobspec import Count, Word


class OptunaWorkers(Launcher):
    """Workers that take their trials from one study; any of them may end without harm to the others.

    ``workers`` is their number over all nodes; one for each GPU where it is not given, and one a node where there are
    none. Each has its own share of the node's GPUs where they can be shared out. The study is ``OPTUNA_STUDY``, its
    journal the file ``OPTUNA_JOURNAL``: ``journal``, else one in the job's checkpoint where it has one, so that a later
    job goes on with the study, else in the folder where the job began::

        storage = JournalStorage(JournalFileBackend(os.environ["OPTUNA_JOURNAL"]))
        optuna.create_study(study_name=os.environ["OPTUNA_STUDY"], storage=storage, load_if_exists=True)

    A journal, for SQLite locks files in a way that network file systems don't bear (Optuna's documentation).
    """

    kind: Literal["optuna"] = "optuna"
    software: ClassVar[str] = "optuna"

    workers: Count | None = None
    study: Word = "study"
    journal: Word | None = None

    def tasks_per_node(self, machine: Machine, gpus: int) -> int:  # noqa: ARG002 - others look at the cores
        """Return the workers of a node. Raises JobSpecError where the nodes can't have equally many."""
        if self.workers is None:
            return max(gpus, 1)
        each, rest = divmod(self.workers, self.nodes)
        if rest or not each:
            raise JobSpecError("launch", f"{self.workers} workers can't be shared out evenly over {self.nodes} nodes")
        return each

    def start(self, machine: Machine, layout: Layout, command: list[str] | str) -> Launch:
        """Return srun of all workers."""
        journal = quoted(self.journal) if self.journal is not None else '"${HEADNODE_CHECKPOINT:-$PWD}/optuna.journal"'
        variables = {"OPTUNA_STUDY": quoted(self.study), "OPTUNA_JOURNAL": journal}
        exports = [f"export {name}={value}" for name, value in variables.items() if name not in machine.given]
        # Sites may have it otherwise (KillOnBadExit, WaitTime in slurm.conf).
        start = srun("--kill-on-bad-exit=0 --wait=0", own_gpus_option(machine, layout))
        return Launch(lines=(*exports, *step_lines(layout)), prefix=joined([start, python_words(machine, command)]))
