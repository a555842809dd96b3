"""The STAC item of a version: what the layers are, where, when, how good, and from what they were made.

Extensions: projection 2.0, raster 2.0, classification 2.0, file 2.1, version 1.2, processing 1.2, on STAC 1.1. What
none of them has a field for begins with `landcover:`. The links to other versions, and whether the version is
deprecated, change when others appear: `related` adds them.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pystac
import rasterio
from pystac.validation import validate_dict
from rasterio.warp import transform_geom

from landcover_jobs.configuration.legend import LandCoverClass
from landcover_jobs.configuration.map_configuration import NO_DATA, MapConfiguration
from landcover_jobs.product.layers import CHANGE_FILE, CLASSES_FILE, CONFIDENCE_FILE, OBSERVATIONS_FILE, UNCHANGED
from landcover_jobs.publishing.sources import Product
from landcover_jobs.publishing.versions import Version
from landcover_jobs.records import file_sha256

ITEM = "item.json"
COLLECTION = "collection.json"
SCHEMA = "https://stac-extensions.github.io/{}/schema.json"
PROJECTION, RASTER, CLASSIFICATION, FILE, VERSION, PROCESSING = (
    SCHEMA.format(name)
    for name in (
        "projection/v2.0.0", "raster/v2.0.0", "classification/v2.0.0", "file/v2.1.0", "version/v1.2.0",
        "processing/v1.2.0",
    )
)  # fmt: skip
SHA256_MULTIHASH = "1220"  # hash function 0x12, 0x20 bytes: see multiformats.io/multihash
MOST_SCENE_LINKS = 500
BETWEEN_VERSIONS = ("predecessor-version", "successor-version", "latest-version")
UPWARDS = ("root", "parent", "collection")
TO_THE_COLLECTION = f"../../{COLLECTION}"
COG = str(pystac.MediaType.COG)
JSON = "application/json"
GEOJSON = "application/geo+json"
DIGITS_OF_DEGREE = 7


@dataclass(frozen=True)
class AssetKind:
    """What one file of a version is."""

    name: str
    title: str
    media_type: str
    roles: tuple[str, ...]
    unit: str | None = None


ASSETS = {
    CLASSES_FILE: AssetKind("classes", "Land cover classes", COG, ("data",)),
    CONFIDENCE_FILE: AssetKind("confidence", "Confidence of the class", COG, ("data",), "%"),
    OBSERVATIONS_FILE: AssetKind("observations", "Clear observations in the year", COG, ("data",)),
    CHANGE_FILE: AssetKind("change", "Change since the map before", COG, ("data",)),
    "quicklook.png": AssetKind("thumbnail", "Quicklook", "image/png", ("thumbnail", "overview")),
    "report.html": AssetKind("report", "Report for readers", "text/html", ("overview",)),
    "metrics.json": AssetKind("metrics", "Accuracy and areas", JSON, ("metadata",)),
    "provenance.json": AssetKind("provenance", "Inputs, code, environment, parameters", JSON, ("metadata",)),
    "legend.json": AssetKind("legend", "Legend", JSON, ("metadata",)),
    "classes.qml": AssetKind("style_qgis", "Style for QGIS", "application/xml", ("metadata", "style")),
    "classes.sld": AssetKind("style_sld", "Style for map servers", "application/xml", ("metadata", "style")),
}


def item_name(configuration: MapConfiguration, year: int, version: Version) -> str:
    """Return the item's id."""
    return f"{configuration.name}-{year}-{version}"


def build_item(
    folder: Path, product: Product, version: Version, provenance: Mapping[str, Any], software: Mapping[str, str]
) -> dict[str, Any]:
    """Return the item of the files in `folder`, without relations to other versions.

    Raises:
        pystac.STACValidationError: it breaks the rules of STAC's core.
    """
    configuration, year = product.configuration, product.year
    geometry, bbox, projection = _place(folder / CLASSES_FILE)
    now = datetime.now(tz=UTC).replace(microsecond=0)
    item = pystac.Item(
        id=item_name(configuration, year, version),
        geometry=geometry,
        bbox=bbox,
        datetime=None,
        start_datetime=datetime(year, 1, 1, tzinfo=UTC),
        end_datetime=datetime(year, 12, 31, 23, 59, 59, tzinfo=UTC),
        properties=projection | _properties(product, version, provenance, software, now),
        stac_extensions=[PROJECTION, RASTER, CLASSIFICATION, FILE, VERSION, PROCESSING],
        collection=configuration.name,
    )
    for path in sorted(folder.iterdir()):
        kind = ASSETS[path.name]
        item.add_asset(kind.name, _asset(path, kind, configuration.classes))
    _add_scene_links(item, provenance["scenes"][str(year)])
    content = related(item.to_dict(include_self_link=False, transform_hrefs=False), {}, deprecated=False)
    validate_dict(content, extensions=[])
    return content


def related(item: Mapping[str, Any], others: Mapping[str, str | None], *, deprecated: bool) -> dict[str, Any]:
    """Return an item with links to the collection and to the other versions of its year (relation: name, or None)."""
    upwards = [{"rel": rel, "href": TO_THE_COLLECTION, "type": JSON} for rel in UPWARDS]
    sideways = [
        {"rel": rel, "href": f"../{name}/{ITEM}", "type": GEOJSON} for rel, name in others.items() if name is not None
    ]
    kept = [link for link in item["links"] if link["rel"] not in (*BETWEEN_VERSIONS, *UPWARDS)]
    properties = {**item["properties"], "deprecated": deprecated}
    return {**item, "properties": properties, "links": [*upwards, *sideways, *kept]}


def class_fields(file: str, classes: Sequence[LandCoverClass]) -> dict[str, Any]:
    """Return the legend as the classification extension has it, for the layers that have one."""
    if file == CLASSES_FILE:
        zero: dict[str, Any] = {"value": NO_DATA, "name": "no_data", "title": "No data", "nodata": True}
    elif file == CHANGE_FILE:
        zero = {"value": UNCHANGED, "name": "unchanged", "title": "Not changed"}
    else:
        return {}
    objects, taken = [zero], {zero["name"]}
    for each in classes:
        short = re.sub(r"[^0-9A-Za-z_-]+", "_", each.name).strip("_").lower() or "class"
        name = short if short not in taken else f"{short}_{each.value}"  # names there: letters, digits, - and _ only
        taken.add(name)
        objects.append({"value": each.value, "name": name, "title": each.name, "color_hint": each.colour[1:].upper()})
    return {"classification:classes": objects}


def spdx_licence(licence: str) -> str:
    """Return what STAC accepts: the SPDX identifier, `other` where the licence is described in words."""
    return licence if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.+-]*-[A-Za-z0-9.+-]+", licence) else "other"


def _properties(
    product: Product, version: Version, provenance: Mapping[str, Any], software: Mapping[str, str], now: datetime
) -> dict[str, Any]:
    configuration = product.configuration
    time = now.isoformat().replace("+00:00", "Z")
    lock = provenance["environment"]["lock"]
    properties: dict[str, Any] = {
        "title": f"{configuration.title} {product.year}, version {version}",
        "created": time,
        "license": spdx_licence(configuration.product.licence),
        "gsd": product.mosaic["pixel_metres"],
        "version": str(version),
        "deprecated": False,
        "processing:level": "L4",
        "processing:datetime": time,
        "processing:software": dict(software),
        "processing:lineage": product.lineage,
        "landcover:year": product.year,
        "landcover:attribution": configuration.product.attribution,
        "landcover:licence": configuration.product.licence,
        "landcover:model": product.model,
        "landcover:accuracy": product.scores.headline(),
        "landcover:hectares": product.hectares,
        "landcover:scenes": len(provenance["scenes"][str(product.year)]),
        "landcover:code_key": provenance["code"]["key"],
        "landcover:lock_sha256": lock["sha256"] if lock else None,
        "landcover:previous": product.previous,
        "landcover:slurm": provenance["slurm"],
    }
    cluster = provenance["slurm"].get("cluster")
    properties = {name: value for name, value in properties.items() if value not in (None, {})}
    return properties | ({"processing:facility": cluster} if cluster else {})


def _place(path: Path) -> tuple[dict[str, Any], list[float], dict[str, Any]]:
    """Return the outline in degrees, its box, and the fields of the projection extension."""
    with rasterio.open(path) as file:
        left, bottom, right, top = file.bounds
        corners = [[left, bottom], [right, bottom], [right, top], [left, top], [left, bottom]]
        outline = {"type": "Polygon", "coordinates": [_denser(corners)]}
        degrees = transform_geom(file.crs, "EPSG:4326", outline, precision=DIGITS_OF_DEGREE)
        code = file.crs.to_epsg()
        projection: dict[str, Any] = {
            "proj:code": f"EPSG:{code}" if code else None,
            "proj:shape": [file.height, file.width],
            "proj:transform": list(file.transform)[:6],
            "proj:bbox": [left, bottom, right, top],
        }
        if code is None:
            projection["proj:wkt2"] = file.crs.to_wkt(version="WKT2_2019")
    points = [list(point) for point in degrees["coordinates"][0]]
    xs, ys = zip(*points, strict=True)
    return {"type": "Polygon", "coordinates": [points]}, [min(xs), min(ys), max(xs), max(ys)], projection


def _denser(corners: Sequence[Sequence[float]], parts: int = 8) -> list[list[float]]:
    """Return an outline with points between the corners, for straight edges are curved in other projections."""
    points = [
        [first + (last - first) * step / parts for first, last in zip(start, end, strict=True)]
        for start, end in itertools.pairwise(corners)
        for step in range(parts)
    ]
    return [*points, list(corners[-1])]


def _asset(path: Path, kind: AssetKind, classes: Sequence[LandCoverClass]) -> pystac.Asset:
    fields: dict[str, Any] = {
        "file:size": path.stat().st_size,
        "file:checksum": SHA256_MULTIHASH + file_sha256(path),
    }
    if kind.media_type == COG:
        fields |= _raster_fields(path, kind)
    fields |= class_fields(path.name, classes)
    return pystac.Asset(
        f"./{path.name}", kind.title, media_type=kind.media_type, roles=list(kind.roles), extra_fields=fields
    )


def _raster_fields(path: Path, kind: AssetKind) -> dict[str, Any]:
    with rasterio.open(path) as file:
        common: dict[str, Any] = {"data_type": file.dtypes[0]}
        if file.nodata is not None:
            common["nodata"] = int(file.nodata)
        if kind.unit is not None:
            common["unit"] = kind.unit
        names = [kind.name] if file.count == 1 else [name.replace(" ", "_") for name in file.descriptions]
        resolution = {"raster:spatial_resolution": abs(file.transform.a), "raster:sampling": "area"}
        return {"bands": [{"name": name} for name in names]} | common | resolution


def _add_scene_links(item: pystac.Item, scenes: Sequence[Mapping[str, Any]]) -> None:
    """Link the scenes whose item has an address; all of them are in provenance.json, these are the first hundreds."""
    for scene in scenes[:MOST_SCENE_LINKS]:
        if scene["item"] is not None:
            item.add_link(pystac.Link("derived_from", scene["item"], media_type=GEOJSON, title=scene["id"]))
