"""Scenes that lie in a folder on the cluster already, found by a pattern of their files' names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import rasterio
from rasterio.errors import RasterioError
from rasterio.warp import transform_bounds

from landcover_jobs.configuration.images import FolderSource
from landcover_jobs.configuration.map_configuration import MapConfiguration
from landcover_jobs.job import StepError, say
from landcover_jobs.scenes.bands import asset_names, chosen, stated
from landcover_jobs.scenes.footprint import DEGREES, EDGE_POINTS, Bbox, touches
from landcover_jobs.scenes.inventory import Scene


def search(
    configuration: MapConfiguration, source: FolderSource, folder: Path, boxes: list[Bbox], year: int
) -> list[Scene]:
    """Return the scenes of a year that touch one of the boxes (degrees).

    `{date}` and `{band}` may be in the pattern more than once, and `*` or `?` stand for what else is in the names.
    Files belong to the same scene where all but the band is the same.

    Raises:
        StepError: there is no such folder or no such scene, a scene lacks a band, or a file is no raster with a CRS.
    """
    if not folder.is_dir():
        raise StepError(f"source.path: {folder} is no folder on this machine")
    files = _files(folder, source.pattern, asset_names(configuration), year)
    excluded = set(source.exclude)
    scenes = [
        _scene(scene, date, found, configuration) for (scene, date), found in sorted(files.items())
        if scene not in excluded
    ]  # fmt: skip
    wanted = [scene for scene in scenes if any(touches(scene.bbox, box) for box in boxes)]
    if not wanted:
        raise StepError(
            f"no scene of {year} in {folder} touches the area: {len(scenes)} of this year match {source.pattern!r}; "
            f"look at source.path, source.pattern (the date as YYYYMMDD) and area"
        )
    if len(wanted) < len(scenes):
        say(f"{len(scenes) - len(wanted)} of {len(scenes)} scenes of {year} lie elsewhere")
    return wanted


def _files(folder: Path, pattern: str, assets: Mapping[str, str], year: int) -> dict[tuple[str, str], dict[str, Path]]:
    """Return the files of each scene, (name, date) -> asset -> file."""
    expression = _expression(pattern, assets)
    glob = pattern.replace("{date}", f"{year}[0-1][0-9][0-3][0-9]").replace("{band}", "*")
    found: dict[tuple[str, str], dict[str, Path]] = {}
    for path in folder.glob(glob):
        relative = path.relative_to(folder).as_posix()
        match = expression.fullmatch(relative)
        if match is None:
            continue
        name = _without(relative, [match.span(group) for group in match.groupdict() if group.startswith("band")])
        found.setdefault((name, match["date"]), {})[match["band"]] = path
    return found


def _expression(pattern: str, assets: Mapping[str, str]) -> re.Pattern[str]:
    """Return the pattern as a regular expression with the groups `date`, `band`, and `band2`, ... for repetitions."""
    known = "|".join(sorted(map(re.escape, assets.values()), key=len, reverse=True))
    parts, dates, bands = [], 0, 0
    for part in re.split(r"(\{date\}|\{band\}|\*|\?)", pattern):
        if part == "{date}":
            dates += 1
            parts.append(r"(?P<date>\d{8})" if dates == 1 else "(?P=date)")
        elif part == "{band}":
            bands += 1
            parts.append(f"(?P<band>{known})" if bands == 1 else f"(?P<band{bands}>(?P=band))")
        else:
            parts.append({"*": "[^/]*", "?": "[^/]"}.get(part, re.escape(part)))
    return re.compile("".join(parts))


def _without(text: str, spans: list[tuple[int, int]]) -> str:
    """Return a scene's name: the path without the band and without the file's ending."""
    for begin, end in sorted(spans, reverse=True):
        text = text[:begin] + text[end:]
    return re.sub(r"[^A-Za-z0-9.-]+", "_", text.rpartition(".")[0]).strip("_-.")


def _scene(name: str, date: str, files: Mapping[str, Path], configuration: MapConfiguration) -> Scene:
    names = chosen(configuration, files, name)
    try:
        time = datetime.strptime(date, "%Y%m%d").replace(tzinfo=UTC)
    except ValueError as error:
        raise StepError(
            f"scene {name}: {date} is no date (YYYYMMDD): rename the file or mend source.pattern"
        ) from error
    return Scene(
        name,
        time.isoformat(),
        _bbox(next(iter(files.values()))),
        {band: str(files[asset]) for band, asset in names.items()},
        {band: _content(files[asset]) for band, asset in names.items()},
    )


def _content(path: Path) -> str:
    found = path.stat()
    return stated(size=found.st_size, modified=found.st_mtime_ns)


def _bbox(path: Path) -> Bbox:
    try:
        with rasterio.open(path) as raster:
            if raster.crs is None:
                raise StepError(f"{path} has no CRS: where it lies cannot be told")
            west, south, east, north = transform_bounds(raster.crs, DEGREES, *raster.bounds, densify_pts=EDGE_POINTS)
    except RasterioError as error:
        raise StepError(f"{path} is no raster that GDAL can read: {error}") from error
    return west, south, east, north
