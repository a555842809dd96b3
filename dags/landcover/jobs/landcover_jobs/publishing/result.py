"""What the steps `publish` and `rollback` tell of a version: small, for it travels through Airflow."""

from __future__ import annotations

from typing import Any

from landcover_jobs.folder import MapFolder
from landcover_jobs.job import read_json
from landcover_jobs.product.layers import CLASSES_FILE
from landcover_jobs.publishing.building import METRICS, QUICKLOOK, REPORT
from landcover_jobs.publishing.item import ITEM
from landcover_jobs.publishing.publication import Outcome

PATHS = {"map": CLASSES_FILE, "quicklook": QUICKLOOK, "report": REPORT, "metrics": METRICS, "item": ITEM}


def result_of(data: MapFolder, year: int, outcome: Outcome) -> dict[str, Any]:
    """Return the result of a step, read from the version itself."""
    home = data.versions(year) / str(outcome.version)
    metrics = read_json(home / METRICS, made_by="publish")
    return {
        "published": outcome.published,
        "year": year,
        "version": str(outcome.version),
        **{name: str(home / file) for name, file in PATHS.items()},
        "better": metrics["model"]["kind"],
        "accuracy": metrics["accuracy"],
        "previous": str(outcome.before) if outcome.before is not None else None,
    }
