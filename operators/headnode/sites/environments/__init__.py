"""Environments: what a program finds when it starts.

environment    what every environment is
modules        the site's modules, from the catalogue
virtual_env    a virtual environment from a lock file; build_venv.sh builds it, on the cluster, once
apptainer      a container
conda          a Conda environment that is there
commands       shell text of the author's own
shell_words    paths with the site's variables as words of shell text
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import SerializeAsAny, field_validator, model_validator

from headnode.sites.environments.apptainer import Apptainer
from headnode.sites.environments.commands import Commands
from headnode.sites.environments.conda import Conda
from headnode.sites.environments.environment import Environment, Surroundings
from headnode.sites.environments.modules import Modules
from headnode.sites.environments.virtual_env import RESTORE_PYTHON_PATH, VirtualEnv
from headnode.sites.templates import described

__all__ = [
    "ENVIRONMENTS",
    "Apptainer",
    "Commands",
    "Conda",
    "Environments",
    "Modules",
    "VirtualEnv",
    "parse_environment",
]


class Environments(Environment):
    """Several environments, entered one after the other."""

    kind: Literal["environments"] = "environments"

    environments: tuple[SerializeAsAny[Environment], ...]

    @field_validator("environments", mode="before")
    @classmethod
    def _parsed(cls, value: Any) -> tuple[Environment, ...]:
        return tuple(part for each in value for part in parse_environment(each).parts())

    @model_validator(mode="after")
    def _go_together(self) -> Environments:
        kinds = [type(each) for each in self.environments]
        for kind in (VirtualEnv, Apptainer):
            if kinds.count(kind) > 1:
                raise ValueError(f"{kind.__name__} is given twice; a program runs in one")
        if VirtualEnv in kinds and Apptainer in kinds:
            raise ValueError(
                "a VirtualEnv can't be seen in an Apptainer's container, which has a Python of its own; install its"
                " packages into the image, or leave one of them out"
            )
        return self

    def resolved(self, base: Path | None, *, on_worker: bool = True) -> Environments:
        """Return each with the content of its files."""
        return Environments(environments=tuple(each.resolved(base, on_worker=on_worker) for each in self.environments))

    def wheelhouses(self) -> dict[str, str]:
        """Return the wheelhouses of all."""
        return {name: folder for each in self.environments for name, folder in each.wheelhouses().items()}

    def files(self) -> dict[str, bytes]:
        """Return the files of all."""
        return {name: content for each in self.environments for name, content in each.files().items()}

    def lines(self, surroundings: Surroundings) -> list[str]:
        """Return the lines of each, in order."""
        lines = [line for each, where in self._entering(surroundings) for line in each.lines(where)]
        # A virtual environment takes back what modules make of PYTHONPATH, and leaves what the job's own is.
        return ['headnode_python_path="${PYTHONPATH:-}"', *lines] if RESTORE_PYTHON_PATH in lines else lines

    def key(self, surroundings: Surroundings) -> list[str]:
        """Return the keys of each, in order."""
        return [line for each, where in self._entering(surroundings) for line in each.key(where)]

    def wrapper(self, surroundings: Surroundings) -> str:
        """Return the wrapper of the container, where there is one."""
        return " ".join(filter(None, (each.wrapper(surroundings) for each in self.environments)))

    def _entering(self, surroundings: Surroundings) -> Iterator[tuple[Environment, Surroundings]]:
        """Yield each with what it finds when it is entered."""
        for each in self.environments:
            yield each, surroundings
            surroundings = replace(surroundings, entered=(*surroundings.entered, *each.key(surroundings)))

    def parts(self) -> tuple[Environment, ...]:
        """Return what they are."""
        return self.environments


ENVIRONMENTS: Final[dict[str, type[Environment]]] = {
    "apptainer": Apptainer,
    "commands": Commands,
    "conda": Conda,
    "environments": Environments,
    "modules": Modules,
    "virtualenv": VirtualEnv,
}


def parse_environment(value: Any) -> Environment:
    """Return the environment that ``value`` is or describes (a dict with its ``kind``).

    Raises:
        JobSpecError: there is no such environment, or a value of it can't be right.
    """
    if isinstance(value, Environment):
        return value
    names = ", ".join(each.__name__ for each in ENVIRONMENTS.values() if each is not Environments)
    return described("environment", value, ENVIRONMENTS, what="environment", there_are=names)
