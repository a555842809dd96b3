"""What this Airflow has set for all maps: the connection, the jobs' Python, the data folder, the folders of maps."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

HOME = Path(__file__).resolve().parents[1]  # the folder of the DAG files, of `jobs` and of `maps`
CODE = "jobs"


class SettingsError(Exception):
    """An environment variable of Airflow can't be read; the text says which and why."""


@dataclass(frozen=True)
class Settings:
    """The environment variables of Airflow's own processes, read when the DAGs are parsed."""

    connection: str = "slurm_default"
    python: str = "python3"
    data: str = "~/headnode-landcover"
    on_schedule: bool = True
    variables: Mapping[str, str] = field(default_factory=dict)
    folders: tuple[Path, ...] = (HOME / "maps",)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read the variables HEADNODE_LANDCOVER_... and HEADNODE_JOBS_PYTHON.

        Raises:
            SettingsError: HEADNODE_LANDCOVER_ENV is no JSON object of texts.
        """
        default = cls()
        named = environment.get("HEADNODE_LANDCOVER_MAPS", "")
        folders = tuple(Path(each).expanduser() for each in named.split(":") if each)
        return cls(
            connection=environment.get("HEADNODE_LANDCOVER_CONNECTION", default.connection),
            python=environment.get("HEADNODE_JOBS_PYTHON", default.python),
            data=environment.get("HEADNODE_LANDCOVER_DATA", default.data),
            on_schedule=environment.get("HEADNODE_LANDCOVER_SCHEDULE", "") != "none",
            variables=_variables(environment.get("HEADNODE_LANDCOVER_ENV", "{}")),
            folders=folders or default.folders,
        )

    @property
    def setup(self) -> str | None:
        """Shell lines that let `python3`, by which torchrun is started, be the jobs' own Python."""
        folder = os.path.dirname(self.python)  # noqa: PTH120 - a path of the cluster, whose last part may be anything
        return f'export PATH={shlex.quote(folder)}:"$PATH"' if folder else None


def _variables(text: str) -> dict[str, str]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise SettingsError(f"HEADNODE_LANDCOVER_ENV is no JSON: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise SettingsError('HEADNODE_LANDCOVER_ENV must be a JSON object of texts, such as {"HTTPS_PROXY": "..."}')
    return found
