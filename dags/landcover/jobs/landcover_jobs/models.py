"""The two kinds of fitted models, one of each for every fold: where they lie and what they predict."""

from __future__ import annotations

from pathlib import Path

import joblib
import numpy as np
import numpy.typing as npt
import torch

from landcover_jobs.classes import CLASSES
from landcover_jobs.composites import FEATURES
from landcover_jobs.folds import FOLDS
from landcover_jobs.job import StepError, replacing
from landcover_jobs.layout import Layout
from landcover_jobs.scene import Series
from landcover_jobs.transformer import PixelTransformer, Settings, hidden_months, probabilities

TRANSFORMER = "transformer"
RANDOM_FOREST = "random_forest"
MODELS = (TRANSFORMER, RANDOM_FOREST)


def transformer_path(layout: Layout, fold: int) -> Path:
    """Return where the transformer that never saw `fold` lies."""
    return layout.models / f"{TRANSFORMER}-{fold}.pt"


def random_forest_path(layout: Layout, fold: int) -> Path:
    """Return where the random forest that never saw `fold` lies."""
    return layout.models / f"{RANDOM_FOREST}-{fold}.joblib"


def save_transformer(layout: Layout, fold: int, model: PixelTransformer, settings: Settings) -> None:
    """Store weights and settings."""
    with replacing(transformer_path(layout, fold)) as temporary:
        torch.save({"settings": settings.as_dict(), "weights": model.state_dict()}, temporary)


def load_transformer(layout: Layout, fold: int) -> PixelTransformer:
    """Build a fold's transformer again."""
    stored = torch.load(existing(transformer_path(layout, fold)), weights_only=True)
    model = PixelTransformer(len(FEATURES), len(CLASSES), Settings(**stored["settings"]))
    model.load_state_dict(stored["weights"])
    return model


def existing(path: Path) -> Path:
    """Return the path of a model, or say which step makes it."""
    if not path.is_file():
        raise StepError(f"{path} is missing: run the step `train` first")
    return path


def forest_features(series: Series, pixels: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Lay the months of each pixel side by side."""
    return series.features[pixels].reshape(int(pixels.sum()), -1)


def predict_unseen(
    layout: Layout, kind: str, series: Series, folds: npt.NDArray[np.int64], pixels: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float32]:
    """Return class probabilities of all pixels, NaN outside `pixels`: every block by the model that never saw it."""
    result = np.full((len(folds), len(CLASSES)), np.nan, dtype=np.float32)
    hidden = hidden_months(series.observations)
    for fold in range(FOLDS):
        chosen = pixels & series.seen & (folds == fold)
        if not chosen.any():
            continue
        if kind == TRANSFORMER:
            result[chosen] = probabilities(load_transformer(layout, fold), series.features[chosen], hidden[chosen])
        else:
            forest = joblib.load(existing(random_forest_path(layout, fold)))
            result[chosen] = forest.predict_proba(forest_features(series, chosen))
    return result
