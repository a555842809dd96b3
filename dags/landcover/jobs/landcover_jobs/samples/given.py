"""Labelled points that somebody gives: a CSV with the columns lon, lat, class (and fold), or GeoJSON points."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from landcover_jobs.configuration.map_configuration import MapConfiguration
from landcover_jobs.job import StepError

COLUMNS = ("lon", "lat", "class")
NO_FOLD = -1
GEOJSON = (".geojson", ".json")
GREATEST_LON, GREATEST_LAT = 180, 90


@dataclass(frozen=True)
class Points:
    """n labelled points, in degrees (WGS 84)."""

    lon: npt.NDArray[np.float64]
    lat: npt.NDArray[np.float64]
    labels: npt.NDArray[np.int64]  # index into configuration.classes
    folds: npt.NDArray[np.int64]  # NO_FOLD where none is given

    def __len__(self) -> int:
        """Return n."""
        return len(self.labels)


def read_points(path: Path, configuration: MapConfiguration) -> Points:
    """Read a CSV or GeoJSON file; a class is given by its value in the map or by its name.

    Raises:
        StepError: the file is missing, is neither, or a row is wrong, which is named.
    """
    if not path.is_file():
        raise StepError(f"the points {path} are missing: put the file there, or correct its path in the map")
    rows = _geojson_rows(path) if path.suffix.lower() in GEOJSON else _csv_rows(path)
    classes = {str(each.value): index for index, each in enumerate(configuration.classes)}
    classes |= {each.name: index for index, each in enumerate(configuration.classes)}
    found = [_point(row, where, classes, configuration.validation.folds) for where, row in rows]
    if not found:
        raise StepError(f"{path} holds no points")
    lon, lat, labels, folds = zip(*found, strict=True)
    return Points(
        np.array(lon, dtype=np.float64), np.array(lat, dtype=np.float64),
        np.array(labels, dtype=np.int64), np.array(folds, dtype=np.int64),
    )  # fmt: skip


def _point(row: Mapping[str, Any], where: str, classes: Mapping[str, int], folds: int) -> tuple[float, float, int, int]:
    lon, lat = _number(row, "lon", where), _number(row, "lat", where)
    if abs(lon) > GREATEST_LON or abs(lat) > GREATEST_LAT:
        raise StepError(f"{where}: lon {lon:g}, lat {lat:g} is nowhere: degrees are wanted (WGS 84)")
    name = str(row["class"]).strip()
    if name not in classes:
        known = ", ".join(list(classes)[len(classes) // 2 :])
        raise StepError(f"{where}: {name!r} is neither value nor name of a class; there are {known}")
    given = row.get("fold")
    if given is None or not str(given).strip():
        return lon, lat, classes[name], NO_FOLD
    fold = _number(row, "fold", where)
    if fold not in range(folds):
        raise StepError(f"{where}: fold {given} is not one of 0 to {folds - 1} (validation.folds is {folds})")
    return lon, lat, classes[name], int(fold)


def _number(row: Mapping[str, Any], column: str, where: str) -> float:
    try:
        value = float(row[column])
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise StepError(f"{where}: {column} is {row[column]!r}, not a number")
    return value


def _csv_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        # Spreadsheets begin UTF-8 files with a byte order mark, which utf-8-sig takes away.
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise StepError(
                    f"{path}: the columns {', '.join(COLUMNS)} are wanted, with commas; {missing[0]} is missing "
                    f"(there are: {', '.join(reader.fieldnames or ()) or 'none'})"
                )
            for row in reader:
                if any(row[name] is None for name in COLUMNS):
                    raise StepError(f"{path}, line {reader.line_num}: the row ends too early")
                yield f"{path}, line {reader.line_num}", row
    except (UnicodeDecodeError, csv.Error) as error:
        raise StepError(f"{path} cannot be read as a CSV in UTF-8: {error}") from error


def _geojson_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        features = list(content["features"])
    except (ValueError, KeyError, TypeError) as error:
        raise StepError(f"{path} is no GeoJSON feature collection: {error!r}") from error
    for number, feature in enumerate(features, start=1):
        where = f"{path}, feature {number}"
        try:
            geometry, properties = feature["geometry"], feature.get("properties") or {}
            kind, (lon, lat, *_) = geometry["type"], geometry["coordinates"]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise StepError(f"{where} has no point geometry") from error
        if kind != "Point":
            raise StepError(f"{where} is a {kind}; only points are labelled samples")
        if "class" not in properties:
            raise StepError(f"{where} has no property `class`")
        yield where, {"lon": lon, "lat": lat, "class": properties["class"], "fold": properties.get("fold")}
