"""What a worker is told: the study's description, which travels with the job, and the job's variables."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: The exit codes of a job that raised (EX_SOFTWARE), of one that is to be run again (EX_TEMPFAIL), and of ``end`` where
#: the workers are to be started once more in the same job.
RAISED = 70
RUN_AGAIN = 75
ONCE_MORE = 79


@dataclass(frozen=True)
class Study:
    """A study as the DAG describes it; ``sampler`` and ``pruner`` are a ``kind`` with Optuna's own arguments.

    ``grid`` holds the points of a grid, empty for other samplers. ``lost_seconds`` is how long a worker may be silent.
    """

    objective: str
    trials: int
    workers: int
    maximize: bool
    sampler: dict[str, Any]
    pruner: dict[str, Any]
    seed: int | None = None
    max_failures: int = 3
    lost_seconds: float = 60.0
    grid: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> Study:
        """Return the study that a file describes."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))

    def better(self, value: float, than: float) -> bool:
        """Whether one value is better than another."""
        return value > than if self.maximize else value < than


@dataclass(frozen=True)
class Place:
    """Where a job of the study is: its own directory, and the one that all submissions of a try share."""

    job: Path
    shared: Path
    code: Path
    result: Path

    @classmethod
    def of_this_job(cls) -> Place:
        """Return what the batch script has exported."""
        names = ("HEADNODE_DIRECTORY", "HEADNODE_CHECKPOINT", "HEADNODE_CODE", "HEADNODE_RESULT")
        return cls(*(Path(os.environ[name]) for name in names))

    @property
    def journal(self) -> Path:
        """Optuna's own file, which its dashboard can read."""
        return self.shared / "journal.log"

    @property
    def exception(self) -> Path:
        """What the job leaves for Airflow when it can't go on (see ``headnode.cluster.functions``)."""
        return self.job / "exception.json"

    @property
    def broken(self) -> Path:
        """What a worker leaves for ``end`` when no worker can go on."""
        return self.job / "broken.json"

    def trial_directory(self, slot: int) -> Path:
        """Return the directory that all attempts at a trial share."""
        return self.shared / "trials" / f"{slot + 1:04d}"


@dataclass
class EndWarning:
    """Whether the job was warned of its end. It is looked at between steps, never in the middle of one."""

    given: bool = False

    def listen(self) -> None:
        """Have USR1 heard."""
        signal.signal(signal.SIGUSR1, self._hear)

    def _hear(self, number: int, frame: object) -> None:  # noqa: ARG002 - as Python calls it
        self.given = True
