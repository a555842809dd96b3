"""The STAC catalogue of a map: a collection that names the items of all years and versions, by relative links.

Everything here is drawn from the folders: `settle` may run at any time, after a crash too, and changes only what is not
as it must be. The collection is written last and whole, and never names a version that is about to be removed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pystac
from pystac.validation import validate_dict

from landcover_jobs.configuration.map_configuration import MapConfiguration
from landcover_jobs.job import StepError, write_json
from landcover_jobs.publishing.history import FILE as HISTORY
from landcover_jobs.publishing.history import add_to_history
from landcover_jobs.publishing.item import (
    ASSETS,
    CLASSIFICATION,
    COLLECTION,
    GEOJSON,
    ITEM,
    JSON,
    class_fields,
    related,
    spdx_licence,
)  # fmt: skip
from landcover_jobs.publishing.versions import Version, current_version, remove, versions_in, years_in


@dataclass(frozen=True)
class Published:
    """One version as it is stored."""

    year: int
    version: Version
    item: dict[str, Any]

    @property
    def previous(self) -> tuple[int, str] | None:
        """Year and version of the map that its change layer is against."""
        named = self.item["properties"].get("landcover:previous")
        return (int(named["year"]), str(named["version"])) if named else None


def settle(published: Path, configuration: MapConfiguration) -> None:
    """Make items, collection and folders agree with what `current` names in each year.

    Raises:
        StepError: an item cannot be read.
    """
    found = all_published(published)
    doomed = superfluous(found, published, configuration.product.keep_versions)
    kept = [each for each in found if each not in doomed]
    for year in years_in(published):
        of_year = [each for each in kept if each.year == year]
        _relate(published / str(year), of_year)
    _write_where_changed(published / COLLECTION, collection_of(kept, configuration))
    for each in doomed:
        remove(published / str(each.year), each.version)
        add_to_history(published, "remove", each.year, str(each.version))


def all_published(published: Path) -> list[Published]:
    """Return all versions of all years, in their order.

    Raises:
        StepError: an item cannot be read.
    """
    found = []
    for year in years_in(published):
        home = published / str(year)
        found += [Published(year, version, _read_item(home / str(version) / ITEM)) for version in versions_in(home)]
    return found


def superfluous(found: Sequence[Published], published: Path, keep: int | None) -> list[Published]:
    """Return what `keep_versions` leaves out: the oldest of a year, but never a version that counts.

    A version counts where `current` names it, or where the change layer of one that `current` names is against it.
    """
    if keep is None:
        return []
    current = {year: current_version(published / str(year)) for year in {each.year for each in found}}
    counting = [each for each in found if current[each.year] == each.version]
    needed = {each.previous for each in counting} | {(each.year, str(each.version)) for each in counting}
    doomed = []
    for year in current:
        versions = [each for each in found if each.year == year]
        oldest = versions[: max(len(versions) - keep, 0)]
        doomed += [each for each in oldest if (each.year, str(each.version)) not in needed]
    return doomed


def collection_of(kept: Sequence[Published], configuration: MapConfiguration) -> dict[str, Any]:
    """Return the collection; its extent is that of all items."""
    boxes = [each.item["bbox"] for each in kept]
    west, south, east, north = (list(column) for column in zip(*boxes, strict=True))
    years = sorted({each.year for each in kept})
    starts = [each.item["properties"]["start_datetime"] for each in kept]
    ends = [each.item["properties"]["end_datetime"] for each in kept]
    extent = pystac.Extent(
        pystac.SpatialExtent([[min(west), min(south), max(east), max(north)]]),
        pystac.TemporalExtent([[_time(min(starts)), _time(max(ends))]]),
    )
    licence = spdx_licence(configuration.product.licence)
    collection = pystac.Collection(
        id=configuration.name,
        title=configuration.title,
        description=_description(configuration),
        extent=extent,
        license=licence,
        keywords=["land cover", "map", *configuration.class_names],
        stac_extensions=[CLASSIFICATION],
        extra_fields={"item_assets": _item_assets(kept, configuration)},
        summaries=pystac.Summaries({"landcover:year": years}),
    )
    if licence != "other":
        collection.add_link(pystac.Link("license", f"https://spdx.org/licenses/{licence}.html", media_type="text/html"))
    collection.add_link(pystac.Link("version-history", f"./{HISTORY}", media_type="application/jsonl"))
    for each in kept:
        href = f"./{each.year}/{each.version}/{ITEM}"
        collection.add_link(pystac.Link("item", href, media_type=GEOJSON, title=each.item["properties"]["title"]))
    collection.set_root(None)
    content: dict[str, Any] = collection.to_dict(include_self_link=False, transform_hrefs=False)
    content["links"].insert(0, {"rel": "root", "href": f"./{COLLECTION}", "type": JSON})
    validate_dict(content, extensions=[])
    return content


def _description(configuration: MapConfiguration) -> str:
    texts = (configuration.description or configuration.title, configuration.product.attribution)
    licence = f"Licence: {configuration.product.licence}."
    return "\n\n".join([*(text for text in texts if text), licence])


def _item_assets(kept: Iterable[Published], configuration: MapConfiguration) -> dict[str, Any]:
    names = {name for each in kept for name in each.item["assets"]}
    definitions: dict[str, Any] = {}
    for file, kind in ASSETS.items():
        if kind.name not in names:
            continue
        definition: dict[str, Any] = {"title": kind.title, "type": kind.media_type, "roles": list(kind.roles)}
        definition |= class_fields(file, configuration.classes)
        definitions[kind.name] = definition
    return definitions


def _relate(home: Path, of_year: Sequence[Published]) -> None:
    """Write into each item which versions come before and after it, and whether another one counts."""
    current = current_version(home)
    names = [str(each.version) for each in of_year]
    for place, each in enumerate(of_year):
        others = {
            "predecessor-version": names[place - 1] if place else None,
            "successor-version": names[place + 1] if place + 1 < len(names) else None,
            "latest-version": str(current) if current is not None and current != each.version else None,
        }
        content = related(each.item, others, deprecated=each.version != current)
        _write_where_changed(home / str(each.version) / ITEM, content)


def _read_item(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StepError(f"{path} cannot be read ({error}): move its folder away and publish again") from error
    return content


def _write_where_changed(path: Path, content: Mapping[str, Any]) -> None:
    if not path.is_file() or path.read_text(encoding="utf-8") != json.dumps(content, indent=1, sort_keys=True) + "\n":
        write_json(path, content)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
