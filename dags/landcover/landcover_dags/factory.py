"""All maps' DAGs, and what is wrong with the files that have none."""

from __future__ import annotations

from dataclasses import dataclass

from airflow.sdk import DAG
from landcover_jobs.configuration.catalogue import read_maps

from headnode.errors import HeadnodeError
from landcover_dags.map_dag import build_map_dag, build_rollback_dag
from landcover_dags.settings import Settings


class MapsRefused(Exception):
    """Files of maps are wrong; the text has a line for each wrong field."""


@dataclass(frozen=True)
class Built:
    """The DAGs of the maps that are right, and a text for each problem of the others."""

    dags: tuple[DAG, ...]
    problems: tuple[str, ...]


def build() -> Built:
    """Read all maps and build their DAGs; one that is wrong takes away no other.

    Raises:
        SettingsError: an environment variable of Airflow can't be read.
    """
    settings = Settings.from_environment()
    maps = read_maps(settings.folders)
    dags: list[DAG] = []
    problems = list(maps.problems)
    for path, configuration in maps.found.items():
        try:
            dags += [build_map_dag(configuration, settings), build_rollback_dag(configuration, settings)]
        except HeadnodeError as error:
            problems.append(f"{path}: {error}")
    return Built(tuple(dags), tuple(problems))
