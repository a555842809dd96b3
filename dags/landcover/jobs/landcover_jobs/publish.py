"""Publish a year's map: a new version folder that appears whole, then the link `current` turns to it.

A version's name is the hash of what it holds: publishing the same map again changes nothing.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import Any

from landcover_jobs.classes import CLASSES
from landcover_jobs.download import LICENCE
from landcover_jobs.job import StepError, arguments, read_json, run, say, write_json
from landcover_jobs.layout import REFERENCE_YEAR, Layout, check_year
from landcover_jobs.mosaic import CLASS_MAP, LAYERS
from landcover_jobs.quicklook import draw
from landcover_jobs.validate import VALIDATION, summary

QUICKLOOK = "quicklook.png"
METRICS = "metrics.json"
CURRENT = "current"
METHOD = (
    "Every block of 10 x 10 pixels was mapped, and is scored, by models that never saw its labels: neither to fit "
    "their weights nor to choose their settings."
)


def version_of(folder: Path) -> str:
    """Name a version by its content."""
    digest = hashlib.sha256()
    for name in (*LAYERS, VALIDATION):
        path = folder / name
        if not path.is_file():
            raise StepError(f"{path} is missing: run the steps `mosaic` and `validate` first")
        digest.update(name.encode() + b"\0" + path.read_bytes())
    return "v-" + digest.hexdigest()[:10]


def metrics(layout: Layout, year: int, version: str) -> dict[str, Any]:
    """Return what metrics.json says."""
    validation = read_json(layout.mosaic(year) / VALIDATION, made_by="validate")
    return {
        "product": "landcover_map",
        "year": year,
        "version": version,
        "model_version": layout.model_version,
        "method": METHOD,
        "licence": LICENCE,
        "classes": [
            {"value": entry.value, "name": entry.name, "colour": f"#{bytes(entry.colour).hex()}"} for entry in CLASSES
        ],
        "training": read_json(layout.training_record, made_by="train"),
        "validation": validation,
    }


def fill(folder: Path, layout: Layout, year: int, content: dict[str, Any]) -> None:
    """Put the whole product into a folder that nobody reads yet."""
    for name in LAYERS:
        shutil.copyfile(layout.mosaic(year) / name, folder / name)
    write_json(folder / METRICS, content)
    forest = content["validation"]["map"]["forest"]
    model = content["validation"]["better"].replace("_", " ")
    draw(
        folder,
        layout.reference,
        folder / QUICKLOOK,
        title=f"Tree cover classes {year}, from Sentinel-2",
        subtitle=(
            f"{model}, version {content['version']}; forest or not against the reference of {REFERENCE_YEAR}: overall "
            f"accuracy {forest['overall_accuracy']:.3f}, macro F1 {forest['macro_f1']:.3f}, on blocks never seen "
            "in training"
        ),
    )


def point_to(link: Path, version: str) -> None:
    """Turn a link in one step."""
    with tempfile.TemporaryDirectory(dir=link.parent, prefix=".link-") as folder:
        fresh = Path(folder) / link.name
        fresh.symlink_to(version)
        fresh.replace(link)


def main() -> dict[str, Any]:
    """Publish the year's map and tell where it is and how good."""
    given = arguments("publish", "year")
    layout, year = Layout(given.data), check_year(given.year)
    version = version_of(layout.mosaic(year))
    home = layout.published(year)
    home.mkdir(parents=True, exist_ok=True)
    content = metrics(layout, year, version)
    reused = (home / version).is_dir()
    if not reused:
        with tempfile.TemporaryDirectory(dir=home, prefix=".new-") as temporary:
            whole = Path(temporary) / version
            whole.mkdir(mode=0o755)
            fill(whole, layout, year, content)
            whole.rename(home / version)
    point_to(home / CURRENT, version)
    say(f"{'already published' if reused else 'published'}: {home / version}")
    scores = summary(content["validation"])
    return {
        "year": year,
        "version": version,
        "reused": reused,
        "better": scores["better"],
        "map": str(home / version / CLASS_MAP),
        "quicklook": str(home / version / QUICKLOOK),
        "metrics": str(home / version / METRICS),
        "accuracy": scores["year_models"],
        f"accuracy_{REFERENCE_YEAR}": scores["reference_year_models"],
    }


if __name__ == "__main__":
    run(main)
