"""Shell text of the author's own."""

from __future__ import annotations

from typing import Any, Literal

from headnode.sites.environments.environment import Environment, Surroundings
from headnode.slurm.jobspec import Text


class Commands(Environment):
    """Lines of shell text, taken as they are: ``Commands("export OMP_PROC_BIND=true", "ulimit -s unlimited")``."""

    kind: Literal["commands"] = "commands"

    text: tuple[Text, ...] = ()

    def __init__(self, *text: str, **fields: Any) -> None:
        super().__init__(**({"text": text, **fields} if text else fields))

    def lines(self, surroundings: Surroundings) -> list[str]:  # noqa: ARG002 - the same everywhere
        """Return the text."""
        return [line for each in self.text for line in each.rstrip("\n").split("\n")]
