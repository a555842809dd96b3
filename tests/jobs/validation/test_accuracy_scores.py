"""Accuracy: a matrix worked out by hand, agreement with scikit-learn, classes that nobody names, groups."""

import json
import math

import numpy as np
import pytest
from landcover_jobs.validation.accuracy import (
    confusion,
    f1_scores,
    grouped,
    macro_f1,
    overall_accuracy,
    scores,
    scores_with_groups,
    users_accuracy,
)
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score


def test_a_matrix_worked_out_by_hand():
    """Map rows, reference columns: [[8, 1], [2, 9]]."""
    reference, mapped = np.repeat([0, 1, 0, 1], [8, 1, 2, 9]), np.repeat([0, 0, 1, 1], [8, 1, 2, 9])
    matrix = confusion(reference, mapped, 2)
    assert matrix.tolist() == [[8, 1], [2, 9]]
    found = scores(matrix, ("bare", "forest"))
    assert found["overall_accuracy"] == 17 / 20
    assert found["users_accuracy"] == {
        "bare": pytest.approx(8 / 9, abs=1e-6),
        "forest": pytest.approx(9 / 11, abs=1e-6),
    }
    assert found["producers_accuracy"] == {"bare": 0.8, "forest": 0.9}
    assert found["macro_f1"] == pytest.approx((16 / 19 + 18 / 21) / 2, abs=1e-6)
    assert found["pixels"] == 20


def test_agrees_with_scikit_learn():
    """On three classes of very different size."""
    random = np.random.default_rng(5)
    reference = random.choice(3, size=4000, p=[0.05, 0.25, 0.7])
    mapped = np.where(random.random(4000) < 0.8, reference, random.choice(3, size=4000))
    found = scores(confusion(reference, mapped, 3), ("a", "b", "c"))
    assert found["overall_accuracy"] == pytest.approx(accuracy_score(reference, mapped), abs=1e-6)
    assert found["macro_f1"] == pytest.approx(f1_score(reference, mapped, average="macro"), abs=1e-6)
    precision = precision_score(reference, mapped, average=None)
    assert list(found["users_accuracy"].values()) == pytest.approx(precision, abs=1e-6)
    recall = recall_score(reference, mapped, average=None)
    assert list(found["producers_accuracy"].values()) == pytest.approx(recall, abs=1e-6)


def test_a_class_that_nobody_names_does_not_count():
    """A class in neither map nor reference neither raises nor lowers the mean; its figures are None."""
    found = scores(confusion(np.array([0, 1]), np.array([0, 1]), 3), ("a", "b", "never"))
    assert found["macro_f1"] == 1.0
    assert found["f1"]["never"] is None
    json.dumps(found, allow_nan=False)


def test_a_class_that_is_always_missed_counts_as_nothing():
    """The reference has it, the map never: F1 0, user's accuracy not defined."""
    matrix = confusion(np.array([0, 0, 1]), np.array([0, 0, 0]), 2)
    assert f1_scores(matrix).tolist() == pytest.approx([0.8, 0.0])
    assert macro_f1(matrix) == pytest.approx(0.4)
    assert math.isnan(users_accuracy(matrix)[1])


def test_unknown_pixels_are_left_out_and_strange_ones_refused():
    """-1 is unknown or unseen; an index beyond the classes is a mistake."""
    assert confusion(np.array([0, -1, 1]), np.array([0, 1, -1]), 2).sum() == 1
    with pytest.raises(ValueError, match="class index 2 among 2 classes"):
        confusion(np.array([0, 2]), np.array([0, 1]), 2)
    with pytest.raises(ValueError, match="reference values"):
        confusion(np.array([0, 1]), np.array([0]), 2)


def test_nothing_to_compare_is_not_a_score():
    """No pair: no accuracy, rather than 0 or 1."""
    empty = confusion(np.array([-1]), np.array([0]), 2)
    assert math.isnan(overall_accuracy(empty))
    assert scores(empty, ("a", "b"))["overall_accuracy"] is None
    assert scores(empty, ("a", "b"))["macro_f1"] is None


def test_classes_of_a_group_count_as_one():
    """Open and dense forest mistaken for each other are right about forest."""
    matrix = np.array([[10, 1, 0], [2, 20, 5], [0, 6, 50]])
    assert grouped(matrix, [[0], [1, 2]]).tolist() == [[10, 1], [2, 81]]
    found = scores_with_groups(matrix, ("bare", "open", "dense"), (1, 2, 3), {"bare": (1,), "forest": (2, 3)})
    assert found["groups"]["overall_accuracy"] == pytest.approx(91 / 94, abs=1e-6)
    assert found["groups"]["classes"] == ["bare", "forest"]
    assert found["classes"]["overall_accuracy"] == pytest.approx(80 / 94, abs=1e-6)
    alone = scores_with_groups(matrix, ("bare", "open", "dense"), (1, 2, 3), {})
    assert alone["groups"] == alone["classes"]
