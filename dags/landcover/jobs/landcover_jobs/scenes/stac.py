"""Searching a STAC API, or walking a static catalogue: from an area and a year to scenes.

Both are asked in the same way and both answers are looked through again, for there are servers that overlook a
condition: what counts is the date, the footprint, the cloud cover and the further conditions of `source.query`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pystac import Asset, Catalog, Item, STACError, STACObject, STACTypeError
from pystac_client import Client, ConformanceClasses
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO
from shapely.geometry import shape

from landcover_jobs.configuration.images import StacSource
from landcover_jobs.configuration.map_configuration import MapConfiguration
from landcover_jobs.job import StepError, say
from landcover_jobs.scenes.bands import chosen, stated
from landcover_jobs.scenes.checksum import parsed
from landcover_jobs.scenes.conditions import conditions_of, holds
from landcover_jobs.scenes.footprint import Bbox, around, touches
from landcover_jobs.scenes.inventory import Scene
from landcover_jobs.scenes.patience import PatientSession

ITEMS_A_PAGE = 100
# pystac takes what it wants out of a JSON without looking whether it is there.
UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, STACError, STACTypeError)
CHECKSUMS = ("file:checksum", "checksum:multihash")


def search(
    configuration: MapConfiguration, source: StacSource, address: str, boxes: Sequence[Bbox], year: int
) -> list[Scene]:
    """Return the scenes of a year that touch one of the boxes (the tiles' footprints, in degrees).

    Args:
        configuration: the bands that are needed.
        source: collection and conditions.
        address: of the API or of the catalogue's first file; an URL, or a path.
        boxes: one or more; the search asks for the rectangle around them.
        year: of the acquisition, in UTC.

    Raises:
        StepError: the source cannot be read, has no such scene, or a scene lacks a band.
    """
    reader = _reader(source)
    try:
        root = _read(reader, _first_file(address))
        if not isinstance(root, Catalog):
            raise StepError(f"{address} is a STAC {type(root).__name__}, no catalogue")
        items = list(_items(root, reader, source, box=around(boxes), year=year))
    except APIError as error:
        raise StepError(f"{address} could not be searched: {error}; is the address right, the service up?") from error
    except UNREADABLE as error:
        raise StepError(f"{address} answers with no STAC items: {type(error).__name__}: {error}") from error
    wanted = {item.id: item for item in items if _is_wanted(item, source, boxes, year)}
    if not wanted:
        raise _nothing(source, address, around(boxes), year, len(items))
    return [_scene(item, configuration) for item in wanted.values()]


def _read(reader: StacApiIO, address: str) -> STACObject:
    try:
        return reader.read_stac_object(address)
    except UNREADABLE as error:
        raise StepError(f"{address} is no STAC that can be read: {type(error).__name__}: {error}") from error


def _reader(source: StacSource) -> StacApiIO:
    """Return pystac-client's reader, over a session that has the patience of `source.transfer`."""
    reader = StacApiIO(max_retries=None)
    reader.session = PatientSession(source.transfer)
    return reader


def _first_file(address: str) -> str:
    if address.startswith(("http://", "https://")):
        return address
    path = Path(address.removeprefix("file://")).expanduser()
    return str(path / "catalog.json" if path.is_dir() else path)


def _items(root: Catalog, reader: StacApiIO, source: StacSource, *, box: Bbox, year: int) -> Iterator[Item]:
    if root.get_single_link("search") is None:
        yield from _walk(root, reader, source)
        return
    address = str(root.get_self_href())
    client = Client.open(address, stac_io=reader)
    conditions = conditions_of(source)
    if conditions and not client.conforms_to(ConformanceClasses.QUERY):
        say(f"{address} has not the extension `query`: asking for all scenes of the year, and choosing here")
        conditions = {}
    dates = f"{year}-01-01T00:00:00Z/{year}-12-31T23:59:59.999Z"
    found = client.search(
        collections=[source.collection], bbox=box, datetime=dates, query=conditions or None, limit=ITEMS_A_PAGE
    )
    yield from found.items()


def _walk(root: Catalog, reader: StacApiIO, source: StacSource) -> Iterator[Item]:
    """Yield all items of a collection of a static catalogue; the files are read several at a time."""
    names: list[str] = []
    top = _find(root, reader, source.collection, names)
    if top is None:
        there = ", ".join(names) or "none"
        raise StepError(f"{root.get_self_href()} has no collection {source.collection!r}; there are: {there}")
    with ThreadPoolExecutor(source.transfer.at_once) as pool:
        catalogues = [top]
        while catalogues:
            one = catalogues.pop()
            for item in pool.map(lambda address: _read(reader, address), _addresses(one, "item")):
                if isinstance(item, Item):
                    yield item
            catalogues.extend(_children(one, reader))


def _find(root: Catalog, reader: StacApiIO, name: str, seen: list[str]) -> Catalog | None:
    """Return the catalogue or collection of this name; the names of the others are appended to `seen`."""
    left = [root]
    while left:
        one = left.pop(0)
        if one.id == name:
            return one
        seen.append(one.id)
        left.extend(_children(one, reader))
    return None


def _children(catalog: Catalog, reader: StacApiIO) -> list[Catalog]:
    found = [_read(reader, address) for address in _addresses(catalog, "child")]
    return [child for child in found if isinstance(child, Catalog)]


def _addresses(catalog: Catalog, relation: str) -> list[str]:
    links = (link.get_absolute_href() for link in catalog.get_links(relation))
    return [address for address in links if address is not None]


def _is_wanted(item: Item, source: StacSource, boxes: Sequence[Bbox], year: int) -> bool:
    box = _bbox(item)
    return (
        _date(item)[:4] == str(year)
        and item.id not in source.exclude
        and any(touches(box, each) for each in boxes)
        and holds(item.properties, conditions_of(source))
    )


def _nothing(source: StacSource, address: str, box: Bbox, year: int, seen: int) -> StepError:
    west, south, east, north = (round(each, 4) for each in box)
    conditions = json.dumps(conditions_of(source)) if conditions_of(source) else "no further condition"
    return StepError(
        f"no scene of the collection {source.collection!r} at {address} in {year} touches the area "
        f"{west}, {south}, {east}, {north} (west, south, east, north) with {conditions}; {seen} were looked at. "
        f"Look at area, source.collection, source.max_cloud_percent and source.query"
    )


def _scene(item: Item, configuration: MapConfiguration) -> Scene:
    names = chosen(configuration, item.assets, item.id)
    updated = item.properties.get("updated")
    addresses = {band: _address(item.assets[asset], item) for band, asset in names.items()}
    content = {band: _content(item.assets[asset], updated, item.id) for band, asset in names.items()}
    return Scene(item.id, _date(item), _bbox(item), addresses, content)


def _address(asset: Asset, item: Item) -> str:
    address = asset.get_absolute_href()
    if address is None:
        raise StepError(f"scene {item.id}: the address {asset.href!r} is relative, and the item does not say its own")
    return address


def _content(asset: Asset, updated: Any, scene: str) -> str:
    """Return what an asset states: checksum and size, or else when it was updated."""
    fields = asset.extra_fields
    checksum = next((fields[name] for name in CHECKSUMS if name in fields), None)
    size = fields.get("file:size")
    if checksum is None:
        return stated(size=size, updated=fields.get("updated", updated))
    try:
        parsed(checksum)
    except (ValueError, TypeError) as error:
        say(f"scene {scene}: {asset.href}: its checksum is not looked at: {error}")
        return stated(size=size, other_checksum=str(checksum))
    return stated(size=size, checksum=checksum)


def _date(item: Item) -> str:
    date = item.datetime or item.common_metadata.start_datetime
    if date is None:
        raise StepError(f"scene {item.id} has neither datetime nor start_datetime: leave it out with source.exclude")
    return date.isoformat()


def _bbox(item: Item) -> Bbox:
    box = item.bbox if item.bbox is not None else list(shape(item.geometry).bounds) if item.geometry else None
    if box is None:
        raise StepError(f"scene {item.id} does not say where it lies: leave it out with source.exclude")
    dimensions = len(box) // 2
    (west, south), (east, north) = box[:2], box[dimensions : dimensions + 2]
    return float(west), float(south), float(east), float(north)
