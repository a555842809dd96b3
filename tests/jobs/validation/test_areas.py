"""Area estimates: the worked example of Olofsson et al. 2014, its edges, and what must hold for any sample."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from landcover_jobs.validation.areas import SQUARE_METRES_OF_HECTARE, estimate_areas

NAMES = ("deforestation", "forest gain", "stable forest", "stable non-forest")
POINTS = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
MAPPED = [200_000, 150_000, 3_200_000, 6_450_000]
PIXEL_METRES = 30.0


def test_the_paper_s_overall_accuracy_and_area():
    """0.947 +- 0.018, and 235,086 +- 68,418 pixels of deforestation, 21,158 +- 6,158 ha (section 5.2)."""
    found = estimate_areas(POINTS, MAPPED)
    assert round(float(found.overall_accuracy.value), 3) == 0.947
    assert round(float(found.overall_accuracy.half_width), 3) == 0.018
    assert round(found.pixels.value[0]) == 235_086
    assert round(found.pixels.half_width[0]) == 68_418
    assert round(found.hectares(PIXEL_METRES).value[0]) == 21_158
    assert round(found.hectares(PIXEL_METRES).half_width[0]) == 6_158


def test_the_paper_s_accuracies_of_classes():
    """As the paper prints them, but for two half widths.

    It prints 0.23 and 0.01 for the producer's accuracy of forest gain and stable non-forest, where its own equation 7
    gives 0.254 and 0.018, which these are.
    """
    found = estimate_areas(POINTS, MAPPED)
    assert found.users_accuracy.value.round(2).tolist() == [0.88, 0.73, 0.93, 0.96]
    assert found.users_accuracy.half_width.round(2).tolist() == [0.07, 0.10, 0.04, 0.02]
    assert found.producers_accuracy.value.round(2).tolist() == [0.75, 0.85, 0.93, 0.96]
    assert found.producers_accuracy.half_width.round(3).tolist() == [0.213, 0.254, 0.034, 0.018]


def test_the_producer_s_error_by_the_letter_of_equation_7():
    """The same sum as the paper writes it, class by class, in pixels."""
    found = estimate_areas(POINTS, MAPPED)
    n = POINTS.sum(axis=1)
    for j in range(4):
        real = sum(MAPPED[i] * POINTS[i, j] / n[i] for i in range(4))
        user, producer = POINTS[j, j] / n[j], MAPPED[j] * POINTS[j, j] / n[j] / real
        own = MAPPED[j] ** 2 * (1 - producer) ** 2 * user * (1 - user) / (n[j] - 1)
        others = sum(
            MAPPED[i] ** 2 * POINTS[i, j] / n[i] * (1 - POINTS[i, j] / n[i]) / (n[i] - 1) for i in range(4) if i != j
        )
        expected = np.sqrt((own + producer**2 * others) / real**2)
        assert found.producers_accuracy.standard_error[j] == pytest.approx(expected, rel=1e-12)


def test_the_record_is_json_in_hectares():
    """A report reads names, values and intervals from it."""
    stored = json.loads(json.dumps(estimate_areas(POINTS, MAPPED).as_dict(NAMES, PIXEL_METRES), allow_nan=False))
    area = stored["classes"]["deforestation"]["area_hectares"]
    assert [round(area[name]) for name in ("value", "half_width", "low", "high")] == [21_158, 6_158, 15_000, 27_315]
    assert stored["notes"] == []
    assert stored["sampled_pixels"] == 10_000_000


def test_a_class_that_the_map_never_has_is_still_estimated():
    """Its area comes from where the reference has it; only its user's accuracy is not defined."""
    points = np.array([[40, 0, 10], [0, 0, 0], [0, 0, 50]])
    points[0, 1] = 10
    found = estimate_areas(points, [600, 0, 400])
    assert found.proportion.value.tolist() == pytest.approx([0.4, 0.1, 0.5])
    assert found.producers_accuracy.value.tolist() == pytest.approx([1.0, 0.0, 0.8])
    record = found.as_dict(("a", "b", "c"), 10.0)
    assert record["classes"]["b"]["users_accuracy"]["value"] is None
    assert record["classes"]["b"]["area_hectares"]["standard_error"] is not None
    assert record["notes"] == ["b: the map has none of it"]


def test_a_single_point_has_no_variance_and_it_is_said():
    """Values are there, but no interval that the stratum is part of; others stay."""
    found = estimate_areas(np.array([[1, 0], [5, 45]]), [100, 900])
    record = found.as_dict(("rare", "common"), 10.0)
    assert record["overall_accuracy"]["value"] == pytest.approx(0.91)
    assert record["overall_accuracy"]["half_width"] is None
    assert record["overall_accuracy"]["low"] is None
    assert record["classes"]["rare"]["users_accuracy"]["standard_error"] is None
    assert record["classes"]["common"]["users_accuracy"]["standard_error"] is not None
    assert "rare: one point alone has no variance" in record["notes"][0]


def test_a_mapped_class_without_points_is_left_out_and_said():
    """The estimates are about the rest, whose size is given."""
    found = estimate_areas(np.array([[9, 1, 0], [1, 9, 0], [0, 0, 0]]), [500, 500, 40])
    assert found.sampled_pixels == 1000
    assert found.pixels.value.sum() == pytest.approx(1000)
    assert found.notes(("a", "b", "c")) == ["c: 40 pixels are mapped but hold no point; the estimates leave them out"]


@pytest.mark.parametrize(
    ("points", "mapped"),
    [
        (np.zeros((2, 2), dtype=int), [5, 5]),
        (np.array([[1, 0], [0, 0]]), [0, 5]),
        (np.array([[-1, 2], [0, 3]]), [5, 5]),
        (np.ones((2, 3), dtype=int), [5, 5]),
    ],
)
def test_a_sample_that_says_nothing_is_refused(points, mapped):
    """No point, points only where the map has nothing, a negative count, a matrix that is not square."""
    with pytest.raises(ValueError, match=r"nothing can be estimated|are wanted"):
        estimate_areas(points, mapped)


@st.composite
def samples(draw):
    """Return a matrix of points and mapped pixels, at least one stratum with points and pixels."""
    classes = draw(st.integers(1, 6))
    points = draw(arrays.arrays(np.int64, (classes, classes), elements=st.integers(0, 400)))
    mapped = draw(arrays.arrays(np.int64, classes, elements=st.integers(0, 10**9)))
    points[0, 0] += 1
    mapped[0] += 1
    return points, mapped


@given(samples())
@settings(max_examples=200, deadline=None)
def test_areas_add_up_and_accuracies_are_shares(sample):
    """For any sample: areas sum to what was sampled, shares lie in 0..1, errors are not negative."""
    points, mapped = sample
    found = estimate_areas(points, mapped)
    assert found.pixels.value.sum() == pytest.approx(found.sampled_pixels)
    assert found.hectares(20.0).value.sum() == pytest.approx(found.sampled_pixels * 400 / SQUARE_METRES_OF_HECTARE)
    for each in (found.overall_accuracy, found.users_accuracy, found.producers_accuracy, found.proportion):
        value, error = np.atleast_1d(each.value), np.atleast_1d(each.standard_error)
        assert ((value >= 0) & (value <= 1 + 1e-9) | np.isnan(value)).all()
        assert ((error >= 0) | np.isnan(error)).all()
    json.dumps(found.as_dict([str(index) for index in range(len(mapped))], 20.0), allow_nan=False)


@given(samples())
@settings(max_examples=50, deadline=None)
def test_a_map_without_errors_has_the_areas_it_shows(sample):
    """Where reference and map agree everywhere, nothing is corrected, and nothing uncertain with two points or more."""
    points, mapped = sample
    agreeing = np.diag(points.diagonal() + 2)
    found = estimate_areas(agreeing, mapped)
    assert found.pixels.value == pytest.approx(mapped.astype(float))
    assert found.overall_accuracy.value == pytest.approx(1)
    assert found.proportion.standard_error == pytest.approx(np.zeros(len(mapped)))
