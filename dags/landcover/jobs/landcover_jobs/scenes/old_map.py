"""Where the old map is: on the cluster, or fetched into the map's folder."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from landcover_jobs.invocation import Invocation
from landcover_jobs.job import StepError
from landcover_jobs.scenes.fetched import Wanted, entries
from landcover_jobs.scenes.footprint import Bbox

REMOTE = ("http://", "https://", "s3://")


def wanted_old_map(given: Invocation, window: Bbox | None) -> Wanted | None:
    """Return the old map as a file to be fetched, None where there is none or it is on the cluster."""
    old_map = given.map.old_map
    if old_map is None or not old_map.path.startswith(REMOTE):
        return None
    name = PurePosixPath(urlsplit(old_map.path).path).stem or "old_map"
    return Wanted(f"old map of {old_map.year}", name, old_map.path, "", given.folder.old_map, window)


def old_map_file(given: Invocation) -> Path:
    """Return the file of the old map; a fetched one has its address's name, in `<map>/old_map`.

    Raises:
        StepError: the map has none, or it is not fetched.
    """
    if given.map.old_map is None:
        raise StepError(f"{given.map.name} has no old_map")
    wanted = wanted_old_map(given, None)
    if wanted is None:
        return given.cluster_path(given.map.old_map.path)
    entry = entries(wanted.folder).get(wanted.band)
    if entry is None or entry.address != wanted.address:
        raise StepError(f"the old map {wanted.address} is not fetched yet: run the step `fetch` first")
    return wanted.folder / entry.file
