"""Compositing: which observations count, what a month's median is, and how gaps are filled."""

import numpy as np
import pytest
from landcover_jobs.composites import (
    BANDS,
    FEATURES,
    MONTHS,
    clear_observations,
    fill_gaps,
    monthly_medians,
    with_indices,
)


def test_clouds_shadows_snow_water_and_missing_bands_are_not_clear():
    """Only vegetation (4), bare soil (5) and unclassified (7), with a value in every band, show the ground."""
    scene_class = np.array([3, 4, 5, 6, 7, 8, 9, 10, 11, 4], dtype=np.float32).reshape(10, 1, 1)
    reflectance = np.full((10, 2, 1, 1), 0.1, dtype=np.float32)
    reflectance[9, 1] = np.nan
    clear = clear_observations(scene_class, reflectance)
    assert np.flatnonzero(clear[:, 0, 0]).tolist() == [1, 2, 4]


def test_a_cloud_does_not_move_the_median_of_its_month():
    """The median and the number are those of the clear dates of the month; other months are empty."""
    reflectance = np.array([0.1, 0.2, 0.6, 0.9], dtype=np.float32).reshape(4, 1, 1, 1)
    clear = np.array([True, True, True, False]).reshape(4, 1, 1)
    medians, counts = monthly_medians(reflectance, clear, np.array([3, 3, 3, 3]))
    assert medians[2, 0, 0, 0] == pytest.approx(0.2)
    assert counts[:, 0, 0].tolist() == [0, 0, 3, *[0] * 9]
    assert np.isnan(np.delete(medians, 2, axis=0)).all()


def test_gaps_are_filled_linearly_also_over_the_turn_of_the_year():
    """From 10 in October to 1 in March there are five steps, through December and January."""
    series = np.full((MONTHS, 1), np.nan, dtype=np.float32)
    series[2], series[9] = 1.0, 10.0
    filled = fill_gaps(series)[:, 0]
    assert filled[[2, 9]].tolist() == [1.0, 10.0]
    assert filled[[10, 11, 0, 1]] == pytest.approx([8.2, 6.4, 4.6, 2.8], abs=1e-5)
    assert filled[3] == pytest.approx(1 + 9 / 7, abs=1e-5)


def test_one_month_fills_the_year_and_a_pixel_never_seen_stays_empty():
    """What was never seen is not invented."""
    series = np.full((MONTHS, 2), np.nan, dtype=np.float32)
    series[6, 0] = 0.3
    filled = fill_gaps(series)
    assert filled[:, 0] == pytest.approx(np.full(MONTHS, 0.3))
    assert np.isnan(filled[:, 1]).all()


def test_indices_follow_their_definitions():
    """NDVI = (B8A - B4) / (B8A + B4), and so on, after the bands in the order of FEATURES."""
    values = dict(zip(BANDS, (0.06, 0.04, 0.36, 0.12), strict=True))
    reflectance = np.array(list(values.values()), dtype=np.float32).reshape(1, 4, 1, 1)
    features = dict(zip(FEATURES, with_indices(reflectance)[0, :, 0, 0], strict=True))
    assert features["B8A"] == pytest.approx(0.36)
    assert features["NDVI"] == pytest.approx(0.8)
    assert features["NDMI"] == pytest.approx(0.5)
    assert features["MNDWI"] == pytest.approx(-1 / 3)
    assert features["NDWI"] == pytest.approx(-0.30 / 0.42)
