"""Measure how good a year's map is, and say whether it may be published without asking anybody.

`validation.json` has, beside its key and what `validation.judging` describes, `mosaic` (the key of the map that was
judged) and `points_file` (path and SHA-256, or null). A map that is not good enough is no failure of this step: the
result says `passed: false` and why, and the workflow asks a person.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from landcover_jobs.grid.frame import Frame
from landcover_jobs.grid.tiles import read_tiles
from landcover_jobs.invocation import Invocation, invoked
from landcover_jobs.job import StepError, read_json, run, say
from landcover_jobs.learning.model_set import ModelSet
from landcover_jobs.product.layers import CLASSES_FILE, RECORD_FILE, bounded_cache
from landcover_jobs.records import already_made, code_key, file_sha256, key_of, record_made
from landcover_jobs.samples.given import read_points
from landcover_jobs.samples.old_map import open_old_map
from landcover_jobs.scenes.old_map import old_map_file
from landcover_jobs.validation.class_map import ClassMap
from landcover_jobs.validation.judging import Evidence, judged
from landcover_jobs.validation.labels import matrices_by_fold
from landcover_jobs.validation.points import PointsFound, match_points


def main() -> dict[str, Any]:
    """Write all scores of the year's map, and return the verdict."""
    given = invoked("validate")
    _, frame = read_tiles(given.folder)
    models = ModelSet.current(given.folder)
    mosaic = _mosaic(given, models)
    points = _points_file(given)
    record = given.folder.validation(given.year)
    key = _key(given, mosaic, points)
    kept = already_made(record, key)
    if kept is not None:
        say(f"{given.year}: the same map was judged before, the figures stay")
        return _result(kept, reused=True)
    content = judged(_evidence(given, frame, models, mosaic, points))
    content |= {"mosaic": mosaic["key"], "points_file": points}
    record_made(record, key, [], content)
    _tell(content)
    return _result(content, reused=False)


def _evidence(
    given: Invocation, frame: Frame, models: ModelSet, mosaic: dict[str, Any], points: dict[str, str] | None
) -> Evidence:
    configuration = given.map
    path = given.folder.mosaic(given.year) / CLASSES_FILE
    with bounded_cache(), ClassMap.opened(path, frame, configuration.class_values) as classes:
        by_fold = _beside_old_map(given, classes)
        found = None if points is None else _at_points(given, classes, Path(points["path"]))
    return Evidence(
        configuration=configuration,
        year=given.year,
        models=models,
        mapped_pixels=np.array([mosaic["pixels"][name] for name in configuration.class_names], dtype=np.int64),
        pixel_metres=float(mosaic["pixel_metres"]),
        by_fold=by_fold,
        points=found,
        previous_year=mosaic["previous"]["year"] if mosaic["previous"] is not None else None,
        change=mosaic["change"],
    )


def _beside_old_map(given: Invocation, classes: ClassMap) -> npt.NDArray[np.int64] | None:
    """Compare the map with the old one, where no pixel was drawn by a model that had learnt its label."""
    old_map = given.map.old_map
    if old_map is None or given.map.product.vote != "unseen":
        return None
    with open_old_map(old_map_file(given), old_map, given.map.class_values) as reader:
        found = matrices_by_fold(classes, lambda frame: reader.read(frame)[0].astype(np.int64), given.map)
        reader.refuse_unlisted()
    return found


def _at_points(given: Invocation, classes: ClassMap, path: Path) -> PointsFound:
    points, window = read_points(path, given.map), given.map.validation.window_pixels
    return match_points(classes, lon=points.lon, lat=points.lat, labels=points.labels, window_pixels=window)


def _mosaic(given: Invocation, models: ModelSet) -> dict[str, Any]:
    """Return the record of the map, if it is complete and by the current models."""
    path = given.folder.mosaic(given.year) / RECORD_FILE
    found = read_json(path, made_by="mosaic")
    if already_made(path, str(found.get("key"))) is None:
        raise StepError(f"the layers beside {path} are not those that it tells of: run the step `mosaic` again")
    if (found["by"], found["models"]) != (models.better, models.key):
        raise StepError(
            f"the map of {given.year} is by {found['by']} {found['models']}, but the current models are "
            f"{models.better} {models.key}: run the steps `classify` and `mosaic` again"
        )
    return found


def _points_file(given: Invocation) -> dict[str, str] | None:
    """Return path and content of the file of independent points, None where the map has none."""
    named = given.map.validation.points
    if named is None:
        return None
    path = given.cluster_path(named)
    if not path.is_file():
        raise StepError(f"validation.points: {path} is missing: put the file there, or take the field away")
    sha256, samples = file_sha256(path), given.map.samples.given
    if samples is not None and sha256 == file_sha256(given.cluster_path(samples.path)):
        raise StepError(
            f"validation.points: {path} holds the very points of samples.given, so they are not independent: keep some "
            "points apart, or take the field away; cross-validation judges the map then"
        )
    return {"path": str(path), "sha256": sha256}


def _key(given: Invocation, mosaic: dict[str, Any], points: dict[str, str] | None) -> str:
    """Name all that the figures depend on."""
    return key_of(
        {
            "mosaic": mosaic["key"],
            "models": mosaic["models"],
            "classes": [each.model_dump(mode="json") for each in given.map.classes],
            "validation": given.map.validation.model_dump(mode="json", exclude={"approval_timeout_hours"}),
            "old_map": given.map.old_map.model_dump(mode="json") if given.map.old_map is not None else None,
            "training_year": given.map.training_year,
            "vote": given.map.product.vote,
            "points": points["sha256"] if points is not None else None,
            "code": code_key("validation", "steps.validate", "grid.folds", "grid.frame"),
        }
    )


def _tell(content: dict[str, Any]) -> None:
    for kind, scores in content["cross_validation"].items():
        say(f"{content['training_year']}, cross-validation, {kind}: {_words(scores)}")
    if content["map_against_labels"] is not None:
        say(f"{content['year']}, the map beside the old map: {_words(content['map_against_labels']['all'])}")
    if content["points"] is not None:
        say(f"{content['year']}, {content['points']['judged']} independent points: {_words(content['points'])}")
    for note in content["notes"]:
        say(f"note: {note}")
    gate = content["gate"]
    say("the map may be published" if gate["passed"] else f"a person must decide: {'; '.join(gate['reasons'])}")


def _words(scores: dict[str, Any]) -> str:
    parts = []
    for kind in ("classes", "groups"):
        found = scores[kind]
        parts.append(f"{kind} OA {_figure(found['overall_accuracy'])}, macro F1 {_figure(found['macro_f1'])}")
    return "; ".join(parts)


def _figure(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.3f}"


def _result(content: dict[str, Any], *, reused: bool) -> dict[str, Any]:
    return {**content["gate"], "year": content["year"], "reused": reused}


if __name__ == "__main__":
    run(main)
