"""All that is known of how good a year's map is, as one record.

The record has `cross_validation` (for each kind of model, the scores on folds that none of its members saw, in the
training year), `map_against_labels` (the map beside the old map, pixel by pixel, as `all` and `by_fold`; or null),
`points` (scores at independent points and how many there are; or null), `areas` (estimates with 95 % intervals, and
from which `sample`; or null), `gate` (see validation.gate) and `notes` (sentences that a reader must know).
Scores are `{"classes": …, "groups": …}` as validation.accuracy has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from landcover_jobs.configuration.map_configuration import MapConfiguration
from landcover_jobs.learning.model_set import ModelSet
from landcover_jobs.validation.accuracy import Matrix, scores_with_groups
from landcover_jobs.validation.areas import estimate_areas
from landcover_jobs.validation.gate import Kind, verdict
from landcover_jobs.validation.labels import scores_by_fold
from landcover_jobs.validation.points import PointsFound

NOT_A_PROBABILITY_SAMPLE = (
    "The areas are estimated from the training samples, each judged by models that never saw its fold. They were not "
    "drawn at random over the map, so the intervals are a hint, no more; give validation.points for a design-based "
    "estimate."
)
POINTS_AS_SAMPLE = (
    "The areas are estimated from validation.points, as if these were drawn at random within each class of the map, or "
    "at random or systematically over all of it."
)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What was measured."""

    configuration: MapConfiguration
    year: int
    models: ModelSet
    mapped_pixels: npt.NDArray[np.int64]  # (class,)
    pixel_metres: float
    by_fold: npt.NDArray[np.int64] | None  # (fold, class, class), the map beside the old map
    points: PointsFound | None
    previous_year: int | None = None  # of the map that the change layer compares with
    change: Mapping[str, Any] | None = None  # as `mosaic` has counted it


def judged(evidence: Evidence) -> dict[str, Any]:
    """Return the record."""
    configuration, points = evidence.configuration, evidence.points
    cross_validation = evidence.models.record["scores"]
    by: Kind = "cross_validation" if points is None else "points"
    of_points = None if points is None else _point_scores(points, configuration)
    measured = cross_validation[evidence.models.better] if of_points is None else of_points
    areas, area_notes = _areas(evidence, cross_validation[evidence.models.better]["classes"])
    return {
        "year": evidence.year,
        "training_year": configuration.training_year,
        "by": evidence.models.better,
        "models": evidence.models.key,
        "cross_validation": cross_validation,
        "map_against_labels": None if evidence.by_fold is None else scores_by_fold(evidence.by_fold, configuration),
        "points": of_points,
        "areas": areas,
        "gate": verdict(measured, configuration.validation, by).as_dict(),
        "notes": [*_notes(evidence), *area_notes],
    }


def _point_scores(points: PointsFound, configuration: MapConfiguration) -> dict[str, Any]:
    found = scores_with_groups(
        points.within_window, configuration.class_names, configuration.class_values, configuration.validation.groups
    )
    return found | points.counts() | {"window_pixels": configuration.validation.window_pixels}


def _areas(evidence: Evidence, cross_validated: dict[str, Any]) -> tuple[dict[str, Any] | None, list[str]]:
    points = evidence.points
    matrix: Matrix
    if points is not None and points.at_centre.any():
        matrix, sample, note = points.at_centre, "points", POINTS_AS_SAMPLE
    else:
        matrix = np.array(cross_validated["confusion_rows_map_columns_reference"], dtype=np.int64)
        sample, note = "cross_validation", NOT_A_PROBABILITY_SAMPLE
    try:
        estimates = estimate_areas(matrix, evidence.mapped_pixels)
    except ValueError as error:
        return None, [f"No areas are estimated: {error}."]
    names = evidence.configuration.class_names
    return estimates.as_dict(names, evidence.pixel_metres) | {"sample": sample}, [note]


def _notes(evidence: Evidence) -> list[str]:
    configuration, year = evidence.configuration, evidence.year
    notes = []
    if year != configuration.training_year:
        notes.append(
            f"Models are trained and cross-validated on {configuration.training_year}: how well they do in {year} is "
            "measured only by points of that year."
        )
    old_map = configuration.old_map
    if evidence.by_fold is None:
        notes.append(_why_not_compared(configuration))
    elif old_map is not None and year != old_map.year:
        notes.append(
            f"The old map is of {old_map.year}: where the map of {year} differs from it, one of them is wrong or the "
            "ground has changed."
        )
    notes += _about_change(evidence)
    points = evidence.points
    if points is not None and points.outside + points.no_data:
        notes.append(
            f"{points.outside} points lie outside the map and {points.no_data} where it has no class; they are not "
            "judged."
        )
    return notes


def _about_change(evidence: Evidence) -> list[str]:
    """Say how much two maps of this accuracy differ by their errors alone, where these are independent."""
    change = evidence.change
    right = evidence.models.record["scores"][evidence.models.better]["classes"]["overall_accuracy"]
    if change is None or right is None:
        return []
    differing = change["changed_pixels"] + change["below_least_pixels"]
    known = differing + change["unchanged_pixels"]
    if not known:
        return []
    text = (
        f"{differing / known:.1%} of the pixels have another class than on the map of {evidence.previous_year}. Two "
        f"maps that are right in {right:.1%} of the pixels differ in up to {1 - right**2:.1%} where nothing has "
        "changed: the change layer shows where to look, and its area is no estimate of the area that has changed."
    )
    return [text]


def _why_not_compared(configuration: MapConfiguration) -> str:
    if configuration.old_map is None:
        return "There is no old map to compare the map with."
    return (
        "The map is not compared with the old map: by product.vote `all`, models drew pixels whose labels they had "
        "learnt."
    )
