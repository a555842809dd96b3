"""Score both models, and the map as it will be published, against the reference: all, by fold, by class.

Every prediction was made by a model that never saw the labels of that block, in the classified year as in the reference
year. The reference is of 2018: for another year a difference may be an error or a change on the ground.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio

from landcover_jobs.accuracy import scores
from landcover_jobs.classes import CLASSES, NAMES, NO_DATA, is_forest
from landcover_jobs.folds import FOLDS
from landcover_jobs.job import StepError, arguments, read_json, run, say, write_json
from landcover_jobs.layout import REFERENCE_YEAR, SCENE_SIZE, Layout, check_year
from landcover_jobs.models import MODELS, predict_unseen
from landcover_jobs.mosaic import CLASS_MAP, load_probabilities
from landcover_jobs.scene import load_reference, load_series, pixel_folds
from landcover_jobs.train import FOREST_NAMES

VALIDATION = "validation.json"
LEAST_OVERALL_ACCURACY = 0.95
LEAST_MACRO_F1 = 0.88
SHORT_SCORES = ("overall_accuracy", "macro_f1")

Indices = npt.NDArray[np.int64]


def judge(reference: Indices, said: Indices, folds: Indices) -> dict[str, Any]:
    """Score class indices: forest or not, the classes, and forest or not in each fold; -1 is left out."""
    known = (reference >= 0) & (said >= 0)
    real, mapped = is_forest(reference).astype(np.int64), is_forest(said).astype(np.int64)
    by_fold = []
    for fold in range(FOLDS):
        chosen = known & (folds == fold)
        if chosen.any():
            found = scores(real[chosen], mapped[chosen], FOREST_NAMES)
            by_fold.append({"fold": fold} | {name: found[name] for name in ("pixels", "overall_accuracy", "macro_f1")})
    return {
        "forest": scores(real[known], mapped[known], FOREST_NAMES),
        "classes": scores(reference[known], said[known], NAMES),
        "forest_by_fold": by_fold,
    }


def most_probable(probabilities: npt.NDArray[np.float32]) -> Indices:
    """Return the class index of each pixel, -1 where the year does not show it."""
    seen = np.isfinite(probabilities).all(axis=-1)
    return np.where(seen, np.nan_to_num(probabilities).argmax(axis=-1), -1).ravel()


def read_map(layout: Layout, year: int) -> Indices:
    """Return the class indices of the written map."""
    path = layout.mosaic(year) / CLASS_MAP
    if not path.is_file():
        raise StepError(f"{path} is missing: run the step `mosaic` for {year} first")
    with rasterio.open(path) as file:
        values = file.read(1).ravel()
    index_of_value = np.full(256, -1, dtype=np.int64)
    for index, entry in enumerate(CLASSES):
        index_of_value[entry.value] = index
    if not np.isin(values, [NO_DATA, *(entry.value for entry in CLASSES)]).all():
        raise StepError(f"{path} holds values that are no class: run the step `mosaic` again")
    return np.asarray(index_of_value[values])


def tell(year: int, kind: str, found: dict[str, Any]) -> None:
    """Print the scores of one kind of model."""
    forest, classes = found["forest"], found["classes"]
    say(
        f"{year} {kind}: forest or not OA {forest['overall_accuracy']:.3f}, macro F1 {forest['macro_f1']:.3f}; "
        f"{len(NAMES)} classes OA {classes['overall_accuracy']:.3f}, macro F1 {classes['macro_f1']:.3f}"
    )


def main() -> dict[str, Any]:
    """Write and print all scores; a map of models that miss the bar goes no further."""
    given = arguments("validate", "year")
    layout, year = Layout(given.data), check_year(given.year)
    better = read_json(layout.training_record, made_by="train")["better"]
    reference, folds = load_reference(layout), pixel_folds()
    everywhere = np.ones(SCENE_SIZE**2, dtype=bool)
    trained_on = load_series(layout, REFERENCE_YEAR)
    record: dict[str, Any] = {"year": year, "reference_year": REFERENCE_YEAR, "better": better}
    record["reference_year_models"] = {
        kind: judge(reference, most_probable(predict_unseen(layout, kind, trained_on, folds, everywhere)), folds)
        for kind in MODELS
    }
    record["year_models"] = {
        kind: judge(reference, most_probable(load_probabilities(layout, year, kind)), folds) for kind in MODELS
    }
    record["map"] = judge(reference, read_map(layout, year), folds)
    for kind in MODELS:
        tell(REFERENCE_YEAR, kind, record["reference_year_models"][kind])
    for kind in MODELS if year != REFERENCE_YEAR else ():
        tell(year, kind, record["year_models"][kind])
    tell(year, f"the map (by {better})", record["map"])
    write_json(layout.mosaic(year) / VALIDATION, record)
    bar = record["reference_year_models"][better]["forest"]
    if bar["overall_accuracy"] < LEAST_OVERALL_ACCURACY or bar["macro_f1"] < LEAST_MACRO_F1:
        raise StepError(
            f"in {REFERENCE_YEAR} the better model ({better}) reaches overall accuracy {bar['overall_accuracy']:.3f} "
            f"and macro F1 {bar['macro_f1']:.3f}, less than {LEAST_OVERALL_ACCURACY} and {LEAST_MACRO_F1}: the map is "
            "not published"
        )
    return summary(record)


def summary(record: dict[str, Any]) -> dict[str, Any]:
    """Return how well each kind of model tells forest from not, in the reference year and in the classified one."""
    short = {
        key: {kind: {name: found["forest"][name] for name in SHORT_SCORES} for kind, found in record[key].items()}
        for key in ("reference_year_models", "year_models")
    }
    return {"year": record["year"], "better": record["better"]} | short


if __name__ == "__main__":
    run(main)
