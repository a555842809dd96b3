"""What every environment is: shell lines that prepare a job, and what goes before what it runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from headnode.sites.system import System
from headnode.sites.templates import Templated


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What an environment knows of where it is used: the system and partition, None where no site is named.

    ``gpus`` tells that the job has GPUs, of ``gpu_vendor``; ``on_login_host`` that it is no job, but the login host
    itself. ``entered`` says what was entered before, by the keys of those environments.
    """

    system: System | None = None
    partition: str | None = None
    software: str | None = None
    gpus: bool = False
    gpu_vendor: Literal["nvidia", "amd", "intel"] | None = None
    on_login_host: bool = False
    entered: tuple[str, ...] = ()


class Environment(Templated):
    """What a program finds when it starts. Environments compose by ``+``, in the order in which they are entered.

    What is in local files is read once, by ``resolved``; all else are functions of what is given, without I/O.
    """

    def resolved(self, base: Path | None, *, on_worker: bool = True) -> Environment:  # noqa: ARG002 - what has files uses it
        """Return it with the content of the local files that it names; a relative path is beside ``base``, a folder.

        Without ``on_worker`` large files, which need not be where DAGs are parsed, are not looked for.

        Raises:
            JobSpecError: a file is not there, or is not what it must be.
        """
        return self

    def files(self) -> dict[str, bytes]:
        """Return what travels with the job into ``$HEADNODE_DIRECTORY``, by plain names. It must be resolved."""
        return {}

    def wheelhouses(self) -> dict[str, str]:
        """Return the local folders that must be on the cluster, by their names there, before the job is submitted.

        They belong into ``environments`` in the connection's work directory.
        """
        return {}

    def lines(self, surroundings: Surroundings) -> list[str]:
        """Return the shell lines that enter it, in the batch script. Raises JobSpecError where it can't be used."""
        raise NotImplementedError

    def key(self, surroundings: Surroundings) -> list[str]:
        """Return what tells it from other environments: what is built after it is built anew where this changes."""
        return self.lines(surroundings)

    def wrapper(self, surroundings: Surroundings) -> str:  # noqa: ARG002 - containers use it
        """Return shell text that goes before what runs on each node (``apptainer exec ...``); empty for none."""
        return ""

    def parts(self) -> tuple[Environment, ...]:
        """Return the environments that it is made of, in order."""
        return (self,)

    def __add__(self, other: Environment) -> Environment:
        from headnode.sites.environments import Environments  # noqa: PLC0415 - it is made of these

        return Environments(environments=(*self.parts(), *other.parts()))


def to_json(environment: Environment) -> dict[str, Any]:
    """Return the environment as a dict, which Airflow can render and store."""
    return environment.model_dump(mode="json", exclude_defaults=True, warnings=False) | {"kind": environment.kind}
