"""The report of a version: one HTML file with its pictures inside, for readers without a network or a GIS."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import matplotlib as mpl

from landcover_jobs.product.layers import CHANGE_FILE, CLASSES_FILE, CONFIDENCE_FILE, OBSERVATIONS_FILE, UNCHANGED
from landcover_jobs.publishing import pictures, tables
from landcover_jobs.publishing.pictures import Colours, Picture
from landcover_jobs.publishing.sources import TEMPLATE, Product
from landcover_jobs.publishing.versions import Version
from landcover_jobs.publishing.wording import count, day, file_size, hectares, percent, points
from landcover_jobs.records import file_sha256

MOST_SCENES = 500
COARSE_PIXELS = 500  # below this width pixels are shown as squares
STEPS_OF_RAMP = 9


@dataclass(frozen=True, kw_only=True)
class Ramp:
    """The legend of a continuous layer."""

    low: str
    high: str
    name: str = "cividis"

    @property
    def css(self) -> str:
        """The colours from low to high."""
        shares = [step / (STEPS_OF_RAMP - 1) for step in range(STEPS_OF_RAMP)]
        colours = [mpl.colors.to_hex(mpl.colormaps[self.name](share)) for share in shares]
        return f"linear-gradient(90deg,{','.join(colours)})"


def report_page(product: Product, version: Version, folder: Path, provenance: Mapping[str, Any]) -> str:
    """Return the page about the files in `folder`.

    Raises:
        StepError: a layer cannot be read.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATE.parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    environment.filters |= {
        "percent": percent, "points": points, "hectares": hectares, "count": count, "bytes": file_size, "day": day,
    }  # fmt: skip
    configuration, scores = product.configuration, product.scores
    shown, shows_nothing = _pictures(product, folder)
    return environment.get_template(TEMPLATE.name).render(
        title=configuration.title,
        description=configuration.description,
        year=product.year,
        version=str(version),
        made=provenance["made"].replace("T", " ").replace("+00:00", " UTC"),
        licence=configuration.product.licence,
        attribution=configuration.product.attribution,
        lineage=product.lineage,
        classes=configuration.classes,
        unchanged=f"#{bytes(pictures.UNCHANGED).hex()}",
        shows_nothing=shows_nothing,
        shows_change=product.has_change,
        pictures=shown,
        headline=_headline(product, provenance),
        accuracy=tables.accuracy_table(scores, product),
        areas=tables.area_table(scores, product),
        change=tables.change_table(product),
        facts=_facts(product, provenance),
        inputs=_inputs(product, provenance),
        files=_files(folder),
    )


def _pictures(product: Product, folder: Path) -> tuple[list[dict[str, Any]], bool]:
    """Return what the template shows, and whether some pixels have no class."""
    classes, confidence, observations = (
        pictures.read_picture(folder / name) for name in (CLASSES_FILE, CONFIDENCE_FILE, OBSERVATIONS_FILE)
    )
    coloured = pictures.class_colours(classes.values, product.configuration.classes)
    nothing = bool((classes.values.filled(0) == 0).any())
    shown = [_shown("Classes", "Map of the land-cover classes", classes, coloured)]
    if product.has_change:
        shown.append(_shown_change(product, pictures.read_picture(folder / CHANGE_FILE), coloured))
    low = pictures.least_shown(confidence)
    ramp = Ramp(low=f"{low} %", high="100 %")
    picture = pictures.ramp_colours(confidence.values, low, 100)
    shown.append(_shown("Confidence", "Map of the confidence of the class", confidence, picture, ramp=ramp))
    most = max(int(observations.values.max()), 1)
    ramp = Ramp(low="0", high=str(most), name="viridis")
    picture = pictures.ramp_colours(observations.values, 0, most, "viridis")
    shown.append(_shown("Clear observations", "Map of the clear observations", observations, picture, ramp=ramp))
    return shown, nothing


def _shown_change(product: Product, change: Picture, coloured: Colours) -> dict[str, Any]:
    known = ~pictures.hidden(change.values)
    changed = known & (change.values.filled(UNCHANGED) != UNCHANGED)
    picture = pictures.change_colours(changed, coloured, known)
    previous = product.previous or {}
    return _shown(
        f"Change since {previous.get('year')}",
        "Map of what has changed",
        change,
        picture,
        note="in the colour of the new class",
    )


def _shown(
    title: str, alt: str, layer: Picture, colours: Colours, *, note: str = "", ramp: Ramp | None = None
) -> dict[str, Any]:
    share, words = pictures.scale_bar(layer.metres_of_width)
    height, width = layer.shape
    return {
        "title": title, "note": note, "alt": alt, "width": width, "height": height, "coarse": width < COARSE_PIXELS,
        "base64": base64.b64encode(pictures.png(colours)).decode(), "bar_percent": round(100 * share, 3),
        "bar_words": words, "ramp": ramp,
    }  # fmt: skip


def _headline(product: Product, provenance: Mapping[str, Any]) -> list[dict[str, str]]:
    scores, scenes = product.scores, provenance["scenes"][str(product.year)]
    margin = f"± {points(scores.overall_margin)} points (95 %), " if scores.overall_margin is not None else ""
    figures = [
        ("Overall accuracy", percent(scores.overall), margin + scores.basis),
        ("Macro F1", percent(scores.macro_f1), "mean of the classes' F1"),
        ("Mapped area", f"{hectares(sum(product.hectares.values()))} ha", _pixel(product)),
        ("Input scenes", count(len(scenes)), _between(scenes)),
        ("Classifier", product.model["kind"].replace("_", " "), ""),
    ]
    return [{"name": name, "value": value, "note": note} for name, value, note in figures]


def _pixel(product: Product) -> str:
    return f"pixels of {product.mosaic['pixel_metres']:.4g} m"


def _between(scenes: Sequence[Mapping[str, Any]]) -> str:
    days = sorted(day(str(scene["date"])) for scene in scenes)
    return f"{days[0]} to {days[-1]}" if days else ""


def _facts(product: Product, provenance: Mapping[str, Any]) -> list[dict[str, Any]]:
    environment, slurm = provenance["environment"], provenance["slurm"]
    lock = environment["lock"]
    packages = environment["packages"]
    main = ("numpy", "rasterio", "torch", "scikit-learn", "onnxruntime", "odc-stac")
    facts = [
        ("Map", product.configuration.name, True),
        ("Models", f"{product.model['kind']} {product.model['key']}", True),
        ("Code", f"{provenance['code']['package']} {provenance['code']['key']}", True),
        ("Python", f"{environment['python']}, {environment['platform']}", False),
        ("Packages", ", ".join(f"{name} {packages[name]}" for name in main if name in packages), False),
        ("Environment lock", f"{lock['name']} sha256 {lock['sha256']}" if lock else "not beside the jobs", bool(lock)),
        ("Slurm", ", ".join(f"{name} {value}" for name, value in slurm.items()) or "outside a job", False),
        ("Parameters", "the whole configuration is in provenance.json", False),
    ]
    return [{"name": name, "value": value, "code": code} for name, value, code in facts]


def _inputs(product: Product, provenance: Mapping[str, Any]) -> list[dict[str, Any]]:
    groups = []
    for year, scenes in provenance["scenes"].items():
        what = "mapped" if int(year) == product.year else "from which the models have learnt"
        title = f"Scenes of {year}, {what}: {len(scenes)}"
        groups.append({"title": title, "scenes": scenes[:MOST_SCENES], "more": max(len(scenes) - MOST_SCENES, 0)})
    return groups


def _files(folder: Path) -> list[dict[str, Any]]:
    return [
        {"name": path.name, "size": path.stat().st_size, "sha256": file_sha256(path)}
        for path in sorted(folder.iterdir())
    ]
