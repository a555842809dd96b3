"""Train the transformer (data parallel) and a random forest on the same folds; torchrun starts a process a node.

Each fold's models learn from the other four folds. Their predictions for the blocks that they never saw, put together,
score both; the better one draws the map, block by block, in the same way.
"""

from __future__ import annotations

from typing import Any

import joblib
import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from sklearn.ensemble import RandomForestClassifier

from landcover_jobs.accuracy import scores
from landcover_jobs.classes import NAMES, is_forest
from landcover_jobs.folds import FOLDS
from landcover_jobs.job import arguments, read_json, replacing, run, say, write_json
from landcover_jobs.layout import REFERENCE_YEAR, Layout
from landcover_jobs.models import (
    MODELS,
    forest_features,
    predict_unseen,
    random_forest_path,
    save_transformer,
)
from landcover_jobs.scene import Series, load_reference, load_series, pixel_folds
from landcover_jobs.transformer import Workers, fit, hidden_months
from landcover_jobs.tune import best_settings

EPOCHS = 24
TREES = 200
SEED = 2018
FOREST_NAMES = ("Not forest", "Forest")


def train_transformers(
    layout: Layout, series: Series, labels: npt.NDArray[np.int64], folds: npt.NDArray[np.int64], workers: Workers
) -> None:
    """Fit one transformer a fold, all processes together, each with the settings of the fold's own study."""
    hidden = hidden_months(series.observations)
    usable = (labels >= 0) & series.seen
    for fold, settings in enumerate(best_settings(layout)):
        seen = usable & (folds != fold)
        model = fit(
            series.features[seen],
            hidden[seen],
            labels[seen],
            classes=len(NAMES),
            settings=settings,
            epochs=EPOCHS,
            seed=SEED + fold,
            workers=workers,
        )
        if workers.rank == 0:
            save_transformer(layout, fold, model, settings)
            say(f"transformer without fold {fold}: {int(seen.sum())} pixels, {settings.as_dict()}")


def train_random_forests(
    layout: Layout, series: Series, labels: npt.NDArray[np.int64], folds: npt.NDArray[np.int64], workers: Workers
) -> None:
    """Fit one random forest a fold; the processes share the folds out."""
    usable = (labels >= 0) & series.seen
    for fold in range(workers.rank, FOLDS, workers.count):
        seen = usable & (folds != fold)
        forest = RandomForestClassifier(TREES, random_state=SEED + fold, n_jobs=1)
        forest.fit(forest_features(series, seen), labels[seen])
        with replacing(random_forest_path(layout, fold)) as temporary:
            joblib.dump(forest, temporary, compress=1)
        say(f"random forest without fold {fold}: {int(seen.sum())} pixels")


def judge(
    layout: Layout, series: Series, labels: npt.NDArray[np.int64], folds: npt.NDArray[np.int64]
) -> dict[str, Any]:
    """Score both kinds on the blocks that they never saw and choose the better by macro F1 of the classes."""
    usable = (labels >= 0) & series.seen
    record: dict[str, Any] = {"pixels": int(usable.sum()), "year": REFERENCE_YEAR}
    for kind in MODELS:
        said = predict_unseen(layout, kind, series, folds, usable)[usable].argmax(axis=1)
        classes = scores(labels[usable], said, NAMES)
        forest = scores(is_forest(labels[usable]).astype(int), is_forest(said).astype(int), FOREST_NAMES)
        record[kind] = {
            "forest_overall_accuracy": forest["overall_accuracy"],
            "forest_macro_f1": forest["macro_f1"],
            "classes_overall_accuracy": classes["overall_accuracy"],
            "classes_macro_f1": classes["macro_f1"],
        }
        say(f"{kind}: " + ", ".join(f"{name} {value:.3f}" for name, value in record[kind].items()))
    record["better"] = max(MODELS, key=lambda kind: record[kind]["classes_macro_f1"])
    return record


def main() -> dict[str, Any] | None:
    """Train, unless models of this very code are there; the first process reports."""
    layout = Layout(arguments("train").data)
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    workers = Workers(dist.get_rank(), dist.get_world_size())
    try:
        # All look before any may write: the answer is the same for each.
        reused = layout.training_record.is_file()
        dist.barrier()
        if not reused:
            series, labels, folds = load_series(layout, REFERENCE_YEAR), load_reference(layout), pixel_folds()
            train_transformers(layout, series, labels, folds, workers)
            train_random_forests(layout, series, labels, folds, workers)
            dist.barrier()
            if workers.rank == 0:
                record = judge(layout, series, labels, folds) | {"processes": workers.count}
                write_json(layout.training_record, record)
    finally:
        dist.destroy_process_group()
    if workers.rank:
        return None
    if reused:
        say(f"reusing the models in {layout.models}: they were made by this very code")
    return read_json(layout.training_record, made_by="train") | {"reused": reused, "models": str(layout.models)}


if __name__ == "__main__":
    run(main)
