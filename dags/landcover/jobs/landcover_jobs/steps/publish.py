"""Publish a year's map: a new version, whole, then `current` turns to it, then the catalogue names it.

The result has `published` (false where the same content is published already), `year`, `version`, the paths `map`,
`quicklook`, `report`, `metrics` and `item`, `better` (kind of the models), `accuracy`, and `previous` (the version of
this year that counted before, or null).
"""

from __future__ import annotations

from typing import Any

from landcover_jobs.invocation import invoked
from landcover_jobs.job import run
from landcover_jobs.publishing.publication import publish
from landcover_jobs.publishing.result import result_of
from landcover_jobs.publishing.sources import read_product


def main() -> dict[str, Any]:
    """Publish, and tell where the map is and how good."""
    given = invoked("publish")
    product = read_product(given.map, given.folder, given.year)
    outcome = publish(product, given.folder)
    return result_of(given.folder, given.year, outcome)


if __name__ == "__main__":
    run(main)
