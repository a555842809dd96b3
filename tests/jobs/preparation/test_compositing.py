"""Medians of clear observations, gaps filled around the year, and what is stored: arrays in, arrays out."""

from datetime import UTC, datetime

import numpy as np
import pytest
from landcover_jobs.configuration.images import Band
from landcover_jobs.preparation.compositing import (
    fill_gaps,
    medians_of,
    one_a_day,
    period_of,
    stored,
    to_stored_units,
)


@pytest.mark.parametrize(
    ("date", "month", "dekad"),
    [
        ("2018-01-01T00:00:00+00:00", 0, 0),
        ("2018-01-10T23:59:59+00:00", 0, 0),
        ("2018-01-11T00:00:00+00:00", 0, 1),
        ("2018-02-28T10:00:00+00:00", 1, 5),
        ("2018-07-31T10:00:00+00:00", 6, 20),
        ("2018-12-31T23:59:59+00:00", 11, 35),
        ("2018-03-01T01:00:00+02:00", 1, 5),
    ],
)
def test_a_date_belongs_to_its_month_or_dekad_in_utc(date, month, dekad):
    """The third dekad ends with the month; an hour past midnight two hours east is the day before."""
    assert period_of(datetime.fromisoformat(date), "month") == month
    assert period_of(datetime.fromisoformat(date), "ten_days") == dekad


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("dates", [1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 31])
def test_the_median_is_that_of_the_clear_observations(dtype, dates):
    """Compared with numpy's nanmedian; the least and greatest numbers of the type are values like any other."""
    rng = np.random.default_rng(dates)
    shape = (dates, 3, 37, 41)
    values = rng.integers(0, 200, shape).astype(dtype)
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        values[rng.random(shape) < 0.1] = limits.min
        values[rng.random(shape) < 0.1] = limits.max
    else:
        values[rng.random(shape) < 0.1] = -0.5
    clear = rng.random((dates, 37, 41)) < 0.6
    if not np.issubdtype(dtype, np.integer):
        values = np.where(clear[:, None] | (rng.random(shape) < 0.5), values, np.nan).astype(dtype)
    medians, counts = medians_of(values, clear)
    assert np.array_equal(counts, clear.sum(axis=0))
    masked = np.where(clear[:, None], values, np.nan).astype(np.float64)
    seen = counts > 0
    expected = np.nanmedian(masked[:, :, seen], axis=0)
    assert np.array_equal(medians[:, seen], expected.astype(np.float32))
    assert np.isfinite(medians).all()


def test_the_order_of_the_dates_does_not_matter():
    """To the bit."""
    rng = np.random.default_rng(5)
    values, clear = rng.integers(0, 10_000, (9, 2, 20, 30), dtype=np.uint16), rng.random((9, 20, 30)) < 0.5
    order = rng.permutation(9)
    for one, other in zip(medians_of(values, clear), medians_of(values[order], clear[order]), strict=True):
        assert np.array_equal(one, other)


def test_a_large_block_is_worked_on_in_parts_that_fit_together():
    """300 x 500 pixels of 7 dates are several parts; the first lies wholly under clouds."""
    rng = np.random.default_rng(7)
    values, clear = rng.integers(0, 10_000, (7, 1, 300, 500), dtype=np.uint16), rng.random((7, 300, 500)) < 0.7
    clear[:, :60] = False
    medians, counts = medians_of(values, clear)
    assert not counts[:60].any()
    for rows in range(60, 300, 80):
        part = slice(rows, rows + 80)
        assert np.array_equal(medians[:, part], medians_of(values[:, :, part], clear[:, part])[0])


def test_no_dates_are_no_observations():
    """A period may have no scene."""
    medians, counts = medians_of(np.empty((0, 2, 3, 4), dtype=np.uint16), np.empty((0, 3, 4), dtype=np.bool_))
    assert medians.shape == (2, 3, 4)
    assert not counts.any()


def test_more_dates_than_a_byte_counts_are_refused():
    """256 would be counted as 0."""
    with pytest.raises(ValueError, match="256 dates in one period"):
        medians_of(np.zeros((256, 1, 1, 1), dtype=np.uint16), np.ones((256, 1, 1), dtype=np.bool_))


def filled(values):
    """Return one pixel's year of one band, with NaN as gaps, filled."""
    series = np.array(values, dtype=np.float32).reshape(-1, 1, 1)
    known = np.isfinite(series[:, 0])
    series = np.nan_to_num(series)
    fill_gaps(series, known)
    return series[:, 0, 0]


def test_gaps_are_filled_linearly_also_over_the_turn_of_the_year():
    """From 10 in October to 1 in March there are five steps, through December and January."""
    year = [np.nan] * 12
    year[2], year[9] = 1.0, 10.0
    result = filled(year)
    assert result[[2, 9]].tolist() == [1.0, 10.0]
    assert result[[10, 11, 0, 1]] == pytest.approx([8.2, 6.4, 4.6, 2.8], abs=1e-5)
    assert result[3] == pytest.approx(1 + 9 / 7, abs=1e-5)


def test_one_period_fills_the_year():
    """From itself to itself a year later."""
    year = [np.nan] * 36
    year[6] = 0.3
    assert filled(year) == pytest.approx(np.full(36, 0.3))


@pytest.mark.parametrize("periods", [12, 36])
@pytest.mark.parametrize("share", [0.05, 0.3, 0.8])
def test_filled_gaps_are_those_of_interpolation_over_three_years(periods, share):
    """Compared with numpy's interp, pixel by pixel; known values stay to the bit, pixels never seen are left alone."""
    rng = np.random.default_rng(periods)
    series, known = rng.normal(3000, 900, (periods, 2, 60)).astype(np.float32), rng.random((periods, 60)) < share
    before = series.copy()
    fill_gaps(series, known)
    assert np.array_equal(series.transpose(0, 2, 1)[known], before.transpose(0, 2, 1)[known])
    for pixel in range(60):
        there = np.flatnonzero(known[:, pixel])
        if not len(there):
            assert np.array_equal(series[:, :, pixel], before[:, :, pixel])
            continue
        thrice = np.concatenate([there - periods, there, there + periods])
        for band in range(2):
            expected = np.interp(np.arange(periods), thrice, np.tile(before[there, band, pixel], 3))
            assert series[:, band, pixel] == pytest.approx(expected, abs=0.01)


def test_scale_and_offset_of_the_band_are_applied():
    """Landsat Collection 2: 0.0000275 x 18182 - 0.2 = 0.300005; stored as 3000.05."""
    medians = np.array([18182.0], dtype=np.float32)
    to_stored_units(medians, Band(scale=0.0000275, offset=-0.2))
    assert medians[0] == pytest.approx(3000.05, abs=0.01)


def test_the_usual_scale_leaves_whole_numbers_whole():
    """A scale of 0.0001 is that of the store: nothing is lost."""
    medians = np.arange(0, 65_536, dtype=np.float32)
    to_stored_units(medians, Band())
    assert np.array_equal(medians, np.arange(0, 65_536))


def test_stored_values_are_rounded_cut_and_marked():
    """Halves go to the even number; below 0 and over 65534 is cut, so that 65535 means never seen and nothing else."""
    values = np.array([[1.4, 1.5, 2.5, -3.0, 70_000.0, 65_535.0, 5.0]], dtype=np.float32)
    seen = np.array([True] * 6 + [False])
    assert stored(values, seen).tolist() == [[1, 2, 2, 0, 65_534, 65_534, 65_535]]
    assert stored(values, seen).dtype == np.uint16


def test_scenes_of_one_day_are_laid_over_one_another_and_count_once():
    """The first clear one counts; two dates remain of three scenes, and other days stay apart."""
    times = [datetime(2018, 6, day, 9, minute, tzinfo=UTC) for day, minute in ((1, 10), (1, 11), (2, 10))]
    values = np.array([[10, 11, 12, 13], [20, 21, 22, 23], [30, 31, 32, 33]], dtype=np.uint16).reshape(3, 1, 1, 4)
    clear = np.array([[1, 0, 1, 0], [1, 1, 0, 0], [0, 1, 1, 1]], dtype=np.bool_).reshape(3, 1, 4)
    merged, merged_clear = one_a_day(values, clear, times)
    assert merged_clear.reshape(2, 4).tolist() == [[True, True, True, False], [False, True, True, True]]
    assert merged.reshape(2, 4)[merged_clear.reshape(2, 4)].tolist() == [10, 21, 12, 31, 32, 33]
