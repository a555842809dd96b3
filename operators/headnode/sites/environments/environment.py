"""What every environment is: shell lines that prepare a job, and what goes before what it runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from headnode.sites.system import System


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What an environment knows of where it is used: the system and partition, None where no site is named.

    ``folder`` is where environments are built: shell text, which may hold variables of the cluster
    (``$HOME/headnode/environments``). ``gpus`` tells that the job has GPUs, of ``gpu_vendor``.
    """

    system: System | None = None
    partition: str | None = None
    software: str | None = None
    gpus: bool = False
    gpu_vendor: Literal["nvidia", "amd", "intel"] | None = None
    folder: str = "$HOME/headnode/environments"


@dataclass(frozen=True, kw_only=True)
class Build:
    """How something is built on the cluster, once for each content.

    ``name`` (``venv-<digest>``) is that of its folder; ``script`` is shell text that builds it where it is not there,
    may be broken off and run again, and runs in a folder with ``files`` (local paths, by the names they have there).
    """

    name: str
    script: str
    files: dict[str, PurePosixPath] = field(default_factory=dict)
    needs_internet: bool = False


class Environment(BaseModel):
    """What a program finds when it starts. Environments compose by ``+``, in the order in which they are entered."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str

    def lines(self, surroundings: Surroundings) -> list[str]:
        """Return the shell lines that enter it, in the batch script. Raises JobSpecError where it can't be used."""
        raise NotImplementedError

    def wrapper(self, surroundings: Surroundings) -> str:  # noqa: ARG002 - containers use it
        """Return shell text that goes before what runs on each node (``apptainer exec ...``); empty for none."""
        return ""

    def build(self, surroundings: Surroundings) -> Build | None:  # noqa: ARG002 - what is built uses it
        """Return how it is built on the cluster, None where there is nothing to build."""
        return None

    def parts(self) -> tuple[Environment, ...]:
        """Return the environments that it is made of, in order."""
        return (self,)

    def __add__(self, other: Environment) -> Environment:
        from headnode.sites.environments import Environments  # noqa: PLC0415 - it is made of these

        return Environments(environments=(*self.parts(), *other.parts()))


def to_json(environment: Environment) -> dict[str, Any]:
    """Return the environment as a dict, which Airflow can render and store."""
    return environment.model_dump(mode="json", exclude_defaults=True) | {"kind": environment.kind}
