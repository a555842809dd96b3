"""All maps' DAGs, and what is wrong with the files that have none."""

from __future__ import annotations

from dataclasses import dataclass

from airflow.sdk import DAG
from landcover_jobs.configuration.catalogue import ROLLBACK, read_maps

from headnode.errors import HeadnodeError
from landcover_dags.map_dag import PREFIX, build_map_dag, build_rollback_dag
from landcover_dags.settings import Settings

BUILDERS = ((build_map_dag, f"{PREFIX}{{}}"), (build_rollback_dag, f"{PREFIX}{{}}{ROLLBACK}"))


class MapsRefused(Exception):
    """Files of maps are wrong; the text has a line for each wrong field."""


@dataclass(frozen=True)
class Built:
    """The DAGs of the maps that are right, and a text for each problem of the others."""

    dags: tuple[DAG, ...]
    problems: tuple[str, ...]


def build(only: str | None = None) -> Built:
    """Read all maps and build their DAGs, or that of the id `only` alone; one that is wrong takes away no other.

    Raises:
        SettingsError: an environment variable of Airflow can't be read.
    """
    settings = Settings.from_environment()
    maps = read_maps(settings.folders)
    dags: list[DAG] = []
    problems = list(maps.problems)
    for path, configuration in maps.found.items():
        wanted = [make for make, dag_id in BUILDERS if only in (None, dag_id.format(configuration.name))]
        try:
            dags += [make(configuration, settings) for make in wanted]
        except HeadnodeError as error:
            problems.append(f"{path}: {error}")
    return Built(tuple(dags), tuple(problems))
