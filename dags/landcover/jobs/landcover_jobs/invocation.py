"""How a step learns its map: `--map FILE`, or the variable LANDCOVER_MAP, which the DAG sets to the whole of it."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from landcover_jobs.configuration.map_configuration import MapConfiguration
from landcover_jobs.configuration.reading import ConfigurationError, parse_map, read_map
from landcover_jobs.folder import MapFolder
from landcover_jobs.job import StepError

MAP_VARIABLE = "LANDCOVER_MAP"


@dataclass(frozen=True)
class Invocation:
    """What a step was started with."""

    map: MapConfiguration
    folder: MapFolder
    arguments: argparse.Namespace

    @property
    def year(self) -> int:
        """The year to map, which the configuration has."""
        year = int(self.arguments.year)
        if not self.map.years.holds(year):
            years = self.map.years
            raise StepError(f"{self.map.name} is mapped for {years.first} to {years.last or 'now'}, not for {year}")
        return year

    def cluster_path(self, text: str) -> Path:
        """Return a path of the configuration: `{data}` is the map's data folder, `~` the home directory."""
        return Path(text.replace("{data}", str(self.folder.root))).expanduser()


def invoked(step: str, *, year: bool = True, flags: Mapping[str, str] | None = None, **more: str) -> Invocation:
    """Parse `--data`, `--map`, `--year` where wanted, further text arguments (name=help) and flags (name: help).

    Raises:
        StepError: the map's configuration is missing or wrong.
    """
    parser = argparse.ArgumentParser(prog=f"python -m landcover_jobs.steps.{step}")
    parser.add_argument("--data", required=True, help="the folder that holds a folder for each map")
    parser.add_argument("--map", type=Path, help=f"the map's YAML file; ${MAP_VARIABLE} where not given")
    if year:
        parser.add_argument("--year", required=True, type=int, help="the year to map")
    for name, text in more.items():
        parser.add_argument(f"--{name.replace('_', '-')}", required=True, help=text)
    for name, text in (flags or {}).items():
        parser.add_argument(f"--{name.replace('_', '-')}", action="store_true", help=text)
    given = parser.parse_args()
    configuration = _configuration(given.map)
    root = Path(given.data).expanduser().resolve() / configuration.name
    return Invocation(configuration, MapFolder(root), given)


def _configuration(path: Path | None) -> MapConfiguration:
    try:
        if path is not None:
            return read_map(path)
        text = os.environ.get(MAP_VARIABLE)
        if text is None:
            raise StepError(f"name the map: --map FILE, or its JSON in ${MAP_VARIABLE}")
        return parse_map(json.loads(text), f"${MAP_VARIABLE}")
    except (ConfigurationError, ValueError) as error:
        raise StepError(str(error)) from error


def element_of(names: Sequence[str], element: int) -> str:
    """Return the name (of a tile, say) that an array's element works on."""
    if not 0 <= element < len(names):
        raise StepError(f"element {element} has nothing to do: there are {len(names)}, from {names[0]} to {names[-1]}")
    return names[element]
