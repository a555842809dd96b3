"""All maps of some folders: those that can be read, and what is wrong with the others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from landcover_jobs.configuration.map_configuration import MapConfiguration
from landcover_jobs.configuration.reading import ConfigurationError, read_map

ROLLBACK = "_rollback"  # how the name of the DAG ends that goes back to an older version
# Linux refuses to start a program with a variable of 128 KiB or more; the name and quotes need some.
MOST_BYTES = 120 * 1024


@dataclass(frozen=True)
class Maps:
    """What the folders hold: each file's configuration, and a text for each problem, which begins with its file."""

    found: dict[Path, MapConfiguration]
    problems: tuple[str, ...]


def read_maps(folders: Sequence[Path]) -> Maps:
    """Read `*.yaml` and `*.yml` of all folders, in the order of folders and names.

    Nothing is raised: a file that is wrong must not take away the maps of the others. Of two maps of one name the first
    counts, the other one is a problem.
    """
    found: dict[Path, MapConfiguration] = {}
    problems: list[str] = []
    for folder in folders:
        if not folder.is_dir():
            problems.append(f"{folder}: there is no such folder of maps")
        for path in sorted(each for each in folder.glob("*.y*ml") if each.suffix in (".yaml", ".yml")):
            try:
                configuration = read_map(path)
                _check(configuration, path, found)
            except ConfigurationError as error:
                problems.append(str(error))
            else:
                found[path] = configuration
    return Maps(found, tuple(problems))


def as_variable(configuration: MapConfiguration) -> str:
    """Return the whole configuration as JSON, the value of $LANDCOVER_MAP, in which no template can begin.

    An operator's variables are templates. In JSON, two braces in a row (or a brace and a per cent or number sign) can
    stand in texts alone, where the second character may as well be written by its number.
    """
    text = json.dumps(configuration.model_dump(mode="json"), separators=(",", ":"), ensure_ascii=True)
    for sign in "{%#":
        text = text.replace("{" + sign, "{" + f"\\u{ord(sign):04x}")
    return text


def _check(configuration: MapConfiguration, path: Path, found: dict[Path, MapConfiguration]) -> None:
    if configuration.name.endswith(ROLLBACK):
        raise ConfigurationError(f"{path}: name: a map's name can't end in {ROLLBACK}, as the DAGs do that go back")
    for other, known in found.items():
        if known.name == configuration.name:
            raise ConfigurationError(f"{path}: name: {configuration.name!r} is the map of {other} already")
    size = len(as_variable(configuration))
    if size > MOST_BYTES:
        raise ConfigurationError(
            f"{path}: area: the configuration has {size // 1024} KiB, and at most {MOST_BYTES // 1024} KiB go with a"
            " job; leave corners out of the polygon"
        )
