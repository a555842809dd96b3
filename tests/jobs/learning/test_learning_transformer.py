"""The pixel transformer: what its answers depend on."""

import numpy as np
import pytest
import torch
from landcover_jobs.configuration.learning import TransformerSettings
from landcover_jobs.job import StepError
from landcover_jobs.learning.transformer import (
    PixelTransformer,
    day_of_year_encoding,
    days_of_periods,
    load_transformer,
    probabilities,
    save_transformer,
)

SETTINGS = TransformerSettings(width=16, layers=2, heads=2)
MODIS_DAYS = (*range(257, 354, 16), *range(1, 242, 16))


def made(features=4, classes=3, days=None):
    """Return an untrained model, always the same."""
    torch.manual_seed(0)
    return PixelTransformer(features, classes, days or days_of_periods(12), SETTINGS)


@pytest.mark.parametrize(
    ("features", "classes", "days"), [(8, 3, None), (6, 9, MODIS_DAYS), (2, 2, days_of_periods(36))]
)
def test_any_number_of_periods_features_and_classes(features, classes, days):
    """The shape of the answer follows; each pixel's probabilities add up to one."""
    model = made(features, classes, days)
    periods = len(model.days)
    said = probabilities(model, np.zeros((5, periods, features), np.float32), np.zeros((5, periods), bool), batch=2)
    assert said.shape == (5, classes)
    np.testing.assert_allclose(said.sum(axis=1), 1, rtol=1e-5)


def test_the_turn_of_the_year_is_no_edge():
    """31 December is as near to 1 January as 1 January is to 2 January, and half a year is far."""
    first, second, last, middle = day_of_year_encoding((1, 2, 366.25 - 1, 183), 4)
    step = torch.dist(first, second)
    assert torch.isclose(torch.dist(first, last), step, rtol=0.3)
    assert torch.dist(first, middle) > 20 * step


def test_what_gap_filling_put_into_hidden_periods_does_not_matter(pixels):
    """Hidden periods change nothing, shown ones do."""
    model, (features, _, _) = made(), pixels(4)
    hidden = np.zeros((4, 12), dtype=bool)
    hidden[:, [0, 1, 11]] = True
    other = features.copy()
    other[:, [0, 1, 11]] = 9.0
    np.testing.assert_allclose(probabilities(model, features, hidden), probabilities(model, other, hidden), rtol=1e-5)
    shown = np.zeros((4, 12), dtype=bool)
    assert not np.allclose(probabilities(model, features, shown), probabilities(model, other, shown))


def test_the_days_are_part_of_the_answer(pixels):
    """The same values half a year later are another season."""
    features, hidden, _ = pixels(4)
    model = made()
    later = made(days=[(day + 183) % 365.25 for day in days_of_periods(12)])
    assert not np.allclose(probabilities(model, features, hidden), probabilities(later, features, hidden))


def test_a_stored_model_says_the_same(tmp_path, pixels):
    """To the last bit; and predicting leaves a model in training as it was."""
    model, (features, hidden, _) = made(days=MODIS_DAYS[:12]), pixels(9)
    model.train()
    said = probabilities(model, features, hidden)
    assert model.training
    save_transformer(tmp_path / "model.pt", model)
    again = load_transformer(tmp_path / "model.pt")
    assert again.settings == SETTINGS
    np.testing.assert_array_equal(probabilities(again, features, hidden), said)


def test_a_missing_model_is_said_to_be(tmp_path):
    """With the step that makes it."""
    with pytest.raises(StepError, match="run the step `train` first"):
        load_transformer(tmp_path / "none.pt")
