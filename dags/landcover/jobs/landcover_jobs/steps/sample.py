"""Make the training set: pixels that the old map labels, or given points, with their series of the labels' year.

Beside `samples.npz`, `samples.json` has `pixels`, `classes` (name -> pixels), `dropped` (classes with too few pixels)
and `notes` (sentences about what was left out).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from landcover_jobs.grid.frame import Frame, Tile
from landcover_jobs.grid.tiles import read_tiles
from landcover_jobs.invocation import Invocation, invoked
from landcover_jobs.job import read_json, run, say, write_json
from landcover_jobs.records import already_made, code_key, file_sha256, key_of, record_made
from landcover_jobs.samples.at_points import choose_at_points
from landcover_jobs.samples.choosing import Chooser
from landcover_jobs.samples.given import read_points
from landcover_jobs.samples.novelty import needs_search, new_share
from landcover_jobs.samples.old_map import open_old_map
from landcover_jobs.samples.outcome import Outcome
from landcover_jobs.samples.training_set import TrainingSet
from landcover_jobs.scenes.old_map import old_map_file

RECORD = "samples.json"
RESULT = ("key", "pixels", "classes", "dropped", "notes")


def main() -> dict[str, Any]:
    """Choose the samples, unless those of the very same inputs are there."""
    given = invoked("sample")
    tiles, mosaic = read_tiles(given.folder)
    labels = _labels_file(given)
    key = _key(given, tiles, labels)
    target = given.folder.samples(key)
    record = already_made(target / RECORD, key)
    if record is not None:
        say(f"the samples {key} are of the same composites, labels and settings: they stay")
        training_set = TrainingSet.load(target)
    else:
        outcome = _chosen(given, tiles, mosaic, labels)
        training_set = outcome.training_set
        file = training_set.save(target)
        record_made(target / RECORD, key, [file], _content(given, outcome))
        record = read_json(target / RECORD, made_by="sample")
    write_json(given.folder.current_samples, {"key": key})
    share = new_share(given.folder, training_set, key)
    tune = needs_search(given.folder, given.map, training_set, key)
    of_classes = ", ".join(f"{name} {count}" for name, count in record["classes"].items())
    say(f"{record['pixels']} pixels ({of_classes}); {share:.1%} are new since the last search")
    return {name: record[name] for name in RESULT} | {"new_share": round(share, 6), "tune": tune}


def _labels_file(given: Invocation) -> Path:
    """Return the file that the labels come from.

    Raises:
        StepError: the old map was not fetched.
    """
    points = given.map.samples.given
    return given.cluster_path(points.path) if points is not None else old_map_file(given)


def _key(given: Invocation, tiles: tuple[Tile, ...], labels: Path) -> str:
    """Name all that the samples depend on."""
    year, settings = given.map.training_year, given.map
    records = {tile.name: given.folder.composites(year, tile.name).with_suffix(".json") for tile in tiles}
    old_map = settings.old_map.model_dump(mode="json", exclude={"path"}) if settings.old_map is not None else None
    return key_of(
        {
            "step": "sample",
            "composites": {name: read_json(path, made_by="prepare")["key"] for name, path in records.items()},
            "labels": file_sha256(labels) if labels.is_file() else None,
            "old_map": old_map if settings.samples.given is None else None,
            "samples": settings.samples.model_dump(mode="json"),
            "classes": [[each.value, each.name] for each in settings.classes],
            "folds": [settings.validation.folds, settings.validation.block_size],
            "code": code_key("samples", "grid.folds", "grid.frame", "preparation.store", "steps.sample"),
        }
    )


def _chosen(given: Invocation, tiles: tuple[Tile, ...], mosaic: Frame, labels: Path) -> Outcome:
    if given.map.samples.given is not None:
        return choose_at_points(given.folder, given.map, tiles, mosaic, read_points(labels, given.map))
    assert given.map.old_map is not None  # noqa: S101 - the configuration has it where no points are given
    with open_old_map(labels, given.map.old_map, given.map.class_values) as reader:
        return Chooser(given.folder, given.map, tiles, mosaic, reader).choose()


def _content(given: Invocation, outcome: Outcome) -> dict[str, Any]:
    names = given.map.class_names
    counts = np.bincount(outcome.training_set.labels, minlength=len(names)).tolist()
    return {
        "pixels": len(outcome.training_set.labels),
        "classes": {name: count for name, count in zip(names, counts, strict=True) if count},
        "dropped": [each.as_dict() for each in outcome.dropped],
        "notes": list(outcome.notes),
        "trials": len(outcome.training_set.trials),
        "year": given.map.training_year,
    }


if __name__ == "__main__":
    run(main)
