"""Accuracy: a matrix worked out by hand, and agreement with scikit-learn."""

import numpy as np
import pytest
from landcover_jobs.accuracy import confusion, scores
from landcover_jobs.classes import from_tree_cover, is_forest
from sklearn.metrics import accuracy_score, f1_score


def test_a_matrix_worked_out_by_hand():
    """Map rows, reference columns: [[8, 1], [2, 9]]."""
    reference = np.repeat([0, 1, 0, 1], [8, 1, 2, 9])
    mapped = np.repeat([0, 0, 1, 1], [8, 1, 2, 9])
    assert confusion(reference, mapped, 2).tolist() == [[8, 1], [2, 9]]
    found = scores(reference, mapped, ("bare", "forest"))
    assert found["overall_accuracy"] == pytest.approx(17 / 20)
    assert found["users_accuracy"] == {
        "bare": pytest.approx(8 / 9, abs=1e-4),
        "forest": pytest.approx(9 / 11, abs=1e-4),
    }
    assert found["producers_accuracy"] == {"bare": 0.8, "forest": 0.9}
    assert found["macro_f1"] == pytest.approx((16 / 19 + 18 / 21) / 2, abs=1e-4)


def test_agrees_with_scikit_learn():
    """On three classes of very different size."""
    random = np.random.default_rng(5)
    reference = random.choice(3, size=4000, p=[0.05, 0.25, 0.7])
    mapped = np.where(random.random(4000) < 0.8, reference, random.choice(3, size=4000))
    found = scores(reference, mapped, ("a", "b", "c"))
    assert found["overall_accuracy"] == pytest.approx(accuracy_score(reference, mapped), abs=1e-4)
    assert found["macro_f1"] == pytest.approx(f1_score(reference, mapped, average="macro"), abs=1e-4)


def test_a_class_that_nobody_names_does_not_count():
    """A class in neither map nor reference neither raises nor lowers the mean."""
    assert scores(np.array([0, 1]), np.array([0, 1]), ("a", "b", "never"))["macro_f1"] == 1.0


def test_forest_begins_at_thirty_per_cent():
    """The legend's borders, and a reference that says nothing."""
    index = from_tree_cover(np.array([0, 29, 30, 69, 70, 100, 255]))
    assert index.tolist() == [0, 0, 1, 1, 2, 2, -1]
    assert is_forest(index).tolist() == [False, False, True, True, True, True, False]
