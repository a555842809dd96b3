"""The gate: what is below the bar, and what could not be measured, is not published unasked."""

import numpy as np
import pytest
from landcover_jobs.configuration.legend import Validation
from landcover_jobs.validation.accuracy import scores_with_groups
from landcover_jobs.validation.gate import verdict

NAMES, VALUES = ("forest", "grass", "bare"), (10, 20, 40)
MATRIX = np.array([[90, 4, 0], [6, 80, 8], [0, 6, 6]])  # OA 0.88; bare is poor


def judge(matrix=MATRIX, groups=None, by="cross_validation", **least):
    """Return the verdict on a matrix."""
    thresholds = Validation(block_size=100, groups=groups or {}, **least)
    return verdict(scores_with_groups(np.array(matrix), NAMES, VALUES, groups or {}), thresholds, by)


def test_a_map_above_the_bar_passes():
    """No reasons; the figures are there."""
    found = judge(least_overall_accuracy=0.85, least_macro_f1=0.7)
    assert (found.passed, found.reasons, found.on) == (True, (), "classes")
    assert found.overall_accuracy == pytest.approx(0.88)


def test_each_figure_below_the_bar_is_a_reason():
    """Overall accuracy and macro F1, with what was measured, by what, and what was asked."""
    found = judge(least_overall_accuracy=0.9, least_macro_f1=0.95, by="points")
    assert not found.passed
    accuracy, f1 = found.reasons
    assert accuracy == "overall accuracy of the classes is 0.8800 by independent points; 0.9 is the least"
    assert f1.startswith("macro F1 of the classes is 0.7")


def test_groups_count_where_the_map_has_them():
    """Grass and bare ground as one: their confusion is none."""
    groups = {"trees": (10,), "open": (20, 40)}
    found = judge(groups=groups, least_overall_accuracy=0.94)
    assert (found.passed, found.on) == (True, "groups")
    assert found.overall_accuracy == pytest.approx(0.95)
    assert not judge(least_overall_accuracy=0.94).passed


def test_equal_to_the_bar_passes_and_nothing_measured_does_not():
    """An unknown figure is below any threshold, also below 0."""
    assert judge(least_overall_accuracy=0.88).passed
    nothing = judge(np.zeros((3, 3), int), by="points", least_overall_accuracy=0, least_macro_f1=0)
    assert not nothing.passed
    assert nothing.reasons == ("nothing could be measured by independent points",)
    assert nothing.as_dict()["overall_accuracy"] is None
