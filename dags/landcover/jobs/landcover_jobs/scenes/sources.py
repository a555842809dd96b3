"""From a map's configured source to the scenes of a year, whichever kind of source it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from filelock import FileLock, Timeout

from landcover_jobs.configuration.images import FolderSource, StacSource
from landcover_jobs.folder import MapFolder
from landcover_jobs.grid.frame import Tile
from landcover_jobs.invocation import Invocation
from landcover_jobs.job import say
from landcover_jobs.scenes import folder, stac
from landcover_jobs.scenes.footprint import footprint
from landcover_jobs.scenes.inventory import Scene


def find_scenes(given: Invocation, tiles: Sequence[Tile], year: int) -> list[Scene]:
    """Ask a map's source for the scenes of a year that touch one of the tiles.

    Raises:
        StepError: it cannot be asked, or has none; the sentence says of what area, year and source.
    """
    source, boxes = given.map.source, [footprint(tile.frame) for tile in tiles]
    if isinstance(source, StacSource):
        remote = source.url.startswith(("http://", "https://"))
        address = source.url if remote else str(given.cluster_path(source.url))
        return stac.search(given.map, source, address, boxes, year)
    if isinstance(source, FolderSource):
        return folder.search(given.map, source, given.cluster_path(source.path), boxes, year)
    from landcover_jobs.scenes import romania  # noqa: PLC0415 - xarray takes its time, and other sources need it not

    with alone(given.folder):
        return romania.search(given.map, given.folder, boxes, year)


@contextmanager
def alone(place: MapFolder) -> Iterator[None]:
    """Let no other process change the scenes of a map meanwhile; two runs of different years share them."""
    place.root.mkdir(parents=True, exist_ok=True)
    lock = FileLock(place.root / ".scenes.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(f"another run is fetching scenes of this map ({lock.lock_file}): waiting for it")
        lock.acquire()
    except NotImplementedError:
        say(f"{place.root} is on a file system without locks: do not fetch two years at the same time")
    try:
        yield
    finally:
        lock.release()
