"""From YAML or JSON to a map's configuration, and from what is wrong with it to sentences that name file and field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from landcover_jobs.configuration.map_configuration import MapConfiguration
from landcover_jobs.configuration.wording import lines_of


class ConfigurationError(Exception):
    """A map's configuration is wrong; the text has a line for each wrong field."""


def read_map(path: Path) -> MapConfiguration:
    """Read one `maps/*.yaml`; `area.geojson` names a file beside it, which is taken in.

    Raises:
        ConfigurationError: the file cannot be read, or fields of it are wrong; all of them are named.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{path}: {error}") from error
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path}: a mapping of fields is wanted, beginning with `name:`")
    _take_in_area(content, path)
    return parse_map(content, str(path))


def parse_map(content: dict[str, Any], origin: str) -> MapConfiguration:
    """Check a configuration that has been read.

    Raises:
        ConfigurationError: fields are wrong; all of them are named, each with what was given.
    """
    try:
        return MapConfiguration.model_validate(content)
    except ValidationError as error:
        raise ConfigurationError("\n".join(f"{origin}: {line}" for line in lines_of(error))) from error


def _take_in_area(content: dict[str, Any], path: Path) -> None:
    area = content.get("area")
    if not isinstance(area, dict) or "geojson" not in area:
        return
    if "geometry" in area:
        raise ConfigurationError(f"{path}: area: give geojson or geometry, not both")
    file = path.parent / str(area.pop("geojson"))
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path}: area.geojson: {error}") from error
    area["geometry"] = _geometry(found, file, path)


def _geometry(found: Any, file: Path, path: Path) -> dict[str, Any]:
    if isinstance(found, dict) and found.get("type") == "FeatureCollection":
        features = found.get("features") or []
        if len(features) != 1:
            raise ConfigurationError(f"{path}: area.geojson: {file.name} has {len(features)} features; one is wanted")
        found = features[0]
    if isinstance(found, dict) and found.get("type") == "Feature":
        found = found.get("geometry")
    if not isinstance(found, dict):
        raise ConfigurationError(f"{path}: area.geojson: {file.name} is no GeoJSON")
    return found
