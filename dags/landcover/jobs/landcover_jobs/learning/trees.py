"""The baseline on the same pixels and folds: trees that see all periods of a pixel side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import joblib
import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from threadpoolctl import threadpool_limits

from landcover_jobs.configuration.learning import ModelKind
from landcover_jobs.job import StepError, replacing

TREE_KINDS = ("random_forest", "gradient_boosting")
Trees: TypeAlias = RandomForestClassifier | HistGradientBoostingClassifier


def flattened(features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Lay the periods of each pixel of (n, period, feature) side by side."""
    return features.reshape(len(features), -1)


def fit_trees(
    kind: ModelKind,
    features: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    *,
    trees: int,
    seed: int,
    threads: int,
) -> Trees:
    """Train on normalised (n, period, feature); `trees` of a forest, or rounds of boosting (a tree a class each).

    A seed gives the same trees, of a forest by any number of threads. Boosting stops at no random share of the
    samples: neighbours of what it learns from would be in it.

    Raises:
        ValueError: there are no trees of this kind.
    """
    model: Trees
    if kind == "random_forest":
        model = RandomForestClassifier(trees, random_state=seed, n_jobs=threads)
    elif kind == "gradient_boosting":
        model = HistGradientBoostingClassifier(
            max_iter=trees, early_stopping=False, class_weight="balanced", random_state=seed
        )
    else:
        raise ValueError(f"{kind} is no kind of trees: {', '.join(TREE_KINDS)}")
    with threadpool_limits(threads, user_api="openmp"):
        model.fit(flattened(features), labels)
    if isinstance(model, RandomForestClassifier):
        # Several threads would add the trees' votes in the order in which they finish, which changes last bits.
        model.n_jobs = 1
    return model


def tree_probabilities(model: Trees, features: npt.NDArray[np.float32], classes: int) -> npt.NDArray[np.float32]:
    """Return the probability of each class (n, class), 0 for those that the trees have never seen."""
    said = np.zeros((len(features), classes), dtype=np.float32)
    if len(features):
        said[:, model.classes_] = model.predict_proba(flattened(features))
    return said


def save_trees(path: Path, model: Trees) -> None:
    """Store a model."""
    with replacing(path) as temporary:
        joblib.dump(model, temporary, compress=1)


def load_trees(path: Path) -> Trees:
    """Read a model that this project has stored; what others made must not be read so.

    Raises:
        StepError: it is not there.
    """
    if not path.is_file():
        raise StepError(f"{path} is missing: run the step `train` first")
    model: Trees = joblib.load(path)
    return model
