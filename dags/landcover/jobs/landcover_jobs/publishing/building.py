"""Everything that a version consists of, put into a folder that nobody reads yet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from landcover_jobs.folder import MapFolder
from landcover_jobs.job import say, write_json
from landcover_jobs.product.layers import CHANGE_FILE, CLASSES_FILE, CONFIDENCE_FILE, UNCHANGED
from landcover_jobs.publishing import pictures
from landcover_jobs.publishing.item import ITEM, build_item
from landcover_jobs.publishing.provenance import provenance, software
from landcover_jobs.publishing.quicklook import Caption, Sheet, draw_quicklook
from landcover_jobs.publishing.report import report_page
from landcover_jobs.publishing.sources import Product, copy_checked
from landcover_jobs.publishing.styles import legend_json, qgis_style, sld_style
from landcover_jobs.publishing.versions import Version
from landcover_jobs.publishing.wording import hectares, percent

QUICKLOOK, REPORT, METRICS, PROVENANCE = "quicklook.png", "report.html", "metrics.json", "provenance.json"


def build(folder: Path, product: Product, data: MapFolder, version: Version) -> None:
    """Fill an empty folder with a version, its item last.

    Raises:
        StepError: a layer or a year's list of scenes is missing, or not what an earlier step has noted.
    """
    configuration = product.configuration
    for name, sha256 in product.layers.items():
        copy_checked(product.folder / name, folder / name, sha256)
    made_from = provenance(configuration, data, product.year, product.model)
    _write(folder / "legend.json", legend_json(configuration))
    _write(folder / "classes.qml", qgis_style(configuration.classes))
    _write(folder / "classes.sld", sld_style(configuration.title, configuration.classes))
    write_json(folder / PROVENANCE, made_from)
    write_json(folder / METRICS, metrics(product, version))
    _draw(folder, product, version)
    _write(folder / REPORT, report_page(product, version, folder, made_from))
    write_json(folder / ITEM, build_item(folder, product, version, made_from, software()))
    say(f"{product.year}: {version} is built, {sum(path.stat().st_size for path in folder.iterdir()) / 1e6:.1f} MB")


def metrics(product: Product, version: Version) -> dict[str, Any]:
    """Return what metrics.json says: how good, how much of what, what has changed."""
    configuration, mosaic = product.configuration, product.mosaic
    return {
        "map": configuration.name,
        "year": product.year,
        "version": str(version),
        "classes": [each.model_dump(mode="json") for each in configuration.classes],
        "model": product.model,
        "accuracy": product.scores.headline(),
        "pixels": mosaic["pixels"],
        "no_data_pixels": mosaic["no_data_pixels"],
        "hectares": product.hectares,
        "previous": product.previous,
        "change": mosaic["change"],
        "change_note": mosaic["change_note"],
        "licence": configuration.product.licence,
        "attribution": configuration.product.attribution,
        "validation": product.validation,
    }


def _draw(folder: Path, product: Product, version: Version) -> None:
    configuration, scores = product.configuration, product.scores
    classes = pictures.read_picture(folder / CLASSES_FILE)
    left = pictures.class_colours(classes.values, configuration.classes)
    kind = product.model["kind"].replace("_", " ")
    figures = f"overall accuracy {percent(scores.overall)}, macro F1 {percent(scores.macro_f1)} ({scores.basis})"
    caption = Caption(
        title=f"{configuration.title}, {product.year}",
        subtitle=f"Version {version}, {kind}, {figures}",
        attribution=f"{configuration.product.attribution} · {configuration.product.licence}".strip(" ·"),
        left=f"Land cover {product.year}",
        right=f"Changed since {product.previous['year']}, in the new class" if product.previous else "Confidence",
        right_note=_changed_words(product),
    )
    right, ramp = _right(folder, product, left)
    sheet = Sheet(
        left=left, right=right, metres_of_width=classes.metres_of_width, classes=configuration.classes,
        shows_nothing=bool((classes.values.filled(0) == 0).any()), ramp=ramp,
    )  # fmt: skip
    draw_quicklook(sheet, caption, folder / QUICKLOOK)


def _right(
    folder: Path, product: Product, left: pictures.Colours
) -> tuple[pictures.Colours, tuple[str, float, float] | None]:
    if product.has_change:
        change = pictures.read_picture(folder / CHANGE_FILE).values
        known = ~pictures.hidden(change)
        return pictures.change_colours(known & (change.filled(UNCHANGED) != UNCHANGED), left, known), None
    confidence = pictures.read_picture(folder / CONFIDENCE_FILE)
    low = pictures.least_shown(confidence)
    return pictures.ramp_colours(confidence.values, low, 100), ("cividis", low, 100)


def _changed_words(product: Product) -> str:
    change = product.mosaic["change"]
    if change is None:
        return ""
    return f"{hectares(change['changed_hectares'])} ha changed, in patches of {change['least_pixels']} pixels and more"


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
