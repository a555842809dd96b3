"""Models: what a prediction may depend on."""

from pathlib import Path

import numpy as np
import pytest
import torch
from landcover_jobs.folds import block_folds
from landcover_jobs.layout import Layout
from landcover_jobs.models import RANDOM_FOREST, TRANSFORMER, predict_unseen, save_transformer
from landcover_jobs.scene import Series, standardise
from landcover_jobs.train import train_random_forests
from landcover_jobs.transformer import (
    PixelTransformer,
    Settings,
    Workers,
    drop_months,
    fit,
    hidden_months,
    probabilities,
)

PIXELS = 900


@pytest.fixture
def series():
    """Return a scene of 30 x 30 pixels."""
    random = np.random.default_rng(3)
    features = random.normal(size=(PIXELS, 12, 8)).astype(np.float32)
    return Series(features, random.integers(0, 3, size=(PIXELS, 12)).astype(np.uint8))


@pytest.fixture
def folds():
    """Deal nine blocks to five folds."""
    return block_folds(30, 30).ravel()


def labels_of(series):
    """Return three classes that the features tell apart."""
    return np.digitize(series.features[:, 6, 0], [-0.5, 0.5])


def test_a_block_s_own_labels_never_shape_its_prediction(tmp_path: Path, series, folds):
    """Wrong labels in one fold change what is said elsewhere, but not there."""
    said = []
    for name in ("true", "wrong"):
        labels = labels_of(series)
        if name == "wrong":
            labels = np.where(folds == 2, 2 - labels, labels)
        layout = Layout(tmp_path / name)
        train_random_forests(layout, series, labels, folds, Workers())
        said.append(predict_unseen(layout, RANDOM_FOREST, series, folds, np.ones(PIXELS, dtype=bool)))
    unchanged = (said[0] == said[1]).all(axis=1)
    seen = series.seen
    assert unchanged[seen & (folds == 2)].all()
    assert not unchanged[seen & (folds != 2)].all()


def test_the_transformer_of_a_fold_maps_that_fold_alone(tmp_path: Path, series, folds):
    """Each pixel's probabilities come from its own fold's model; what was not asked for stays NaN."""
    layout, settings = Layout(tmp_path), Settings(width=16, layers=1)
    for fold in range(5):
        torch.manual_seed(fold)
        save_transformer(layout, fold, PixelTransformer(8, 3, settings), settings)
    asked = np.arange(PIXELS) < 600
    said = predict_unseen(layout, TRANSFORMER, series, folds, asked)
    torch.manual_seed(1)
    expected = probabilities(PixelTransformer(8, 3, settings), series.features, hidden_months(series.observations))
    mine = asked & series.seen & (folds == 1)
    np.testing.assert_allclose(said[mine], expected[mine], rtol=1e-5)
    assert np.isnan(said[~asked]).all()


def test_months_never_seen_do_not_matter():
    """The values that gap filling put into hidden months change nothing."""
    torch.manual_seed(0)
    model = PixelTransformer(8, 3, Settings())
    features = np.random.default_rng(0).normal(size=(4, 12, 8)).astype(np.float32)
    hidden = np.zeros((4, 12), dtype=bool)
    hidden[:, [0, 1, 11]] = True
    other = features.copy()
    other[:, [0, 1, 11]] = 9.0
    np.testing.assert_allclose(probabilities(model, features, hidden), probabilities(model, other, hidden), rtol=1e-5)
    shown = np.zeros((4, 12), dtype=bool)
    assert not np.allclose(probabilities(model, features, shown), probabilities(model, other, shown))


def test_no_pixel_loses_all_its_months():
    """Dropping months hides more of them, never the last."""
    hidden = torch.ones(200, 12, dtype=torch.bool)
    hidden[:, 5] = False
    dropped = drop_months(hidden, 0.9, torch.Generator().manual_seed(1))
    assert not dropped.all(dim=1).any()


def test_the_transformer_learns_the_same_thing_twice(series):
    """The same seed gives the same weights, and a class that shows all summer is found."""
    labels, hidden = np.arange(PIXELS) % 3, hidden_months(series.observations)
    features = series.features.copy()
    features[:, 4:9, 0] += 2 * labels[:, None]
    settings = Settings(width=16, layers=1)
    models = [fit(features, hidden, labels, classes=3, settings=settings, epochs=30, seed=4) for _ in range(2)]
    first, second = (probabilities(model, features, hidden) for model in models)
    np.testing.assert_array_equal(first, second)
    assert (first.argmax(axis=1) == labels).mean() > 0.8


def test_a_brighter_year_looks_the_same_after_standardising():
    """A gain and an offset for each month and band, as haze makes them, vanish."""
    random = np.random.default_rng(8)
    year = random.normal(size=(500, 12, 8)).astype(np.float32)
    hazy = year * random.uniform(0.5, 2, size=(1, 12, 8)) + random.normal(size=(1, 12, 8))
    np.testing.assert_allclose(standardise(year), standardise(hazy.astype(np.float32)), atol=1e-4)
