"""The trees: on the same pixels, the same for the same seed, whatever the number of threads."""

import numpy as np
import pytest
from landcover_jobs.job import StepError
from landcover_jobs.learning.trees import (
    TREE_KINDS,
    fit_trees,
    load_trees,
    save_trees,
    tree_probabilities,
)


def grown(kind, samples, **options):
    """Return a small model."""
    given = {"trees": 12 if kind == "random_forest" else 5, "seed": 4, "threads": 1} | options
    return fit_trees(kind, samples.features, samples.labels, **given)


@pytest.mark.parametrize("kind", TREE_KINDS)
def test_they_learn_and_do_the_same_twice(tmp_path, pixels, kind):
    """By any number of threads; another seed grows another forest. Stored and read they say the same."""
    samples, unseen = pixels(), pixels(seed=6)
    model = grown(kind, samples)
    said = tree_probabilities(model, unseen.features, 3)
    assert (said.argmax(axis=1) == unseen.labels).mean() > 0.7
    again = grown(kind, samples, threads=2)
    np.testing.assert_array_equal(tree_probabilities(again, unseen.features, 3), said)
    save_trees(tmp_path / "trees.joblib", model)
    np.testing.assert_array_equal(tree_probabilities(load_trees(tmp_path / "trees.joblib"), unseen.features, 3), said)
    if kind == "random_forest":
        assert not np.array_equal(tree_probabilities(grown(kind, samples, seed=5), unseen.features, 3), said)


@pytest.mark.parametrize("kind", TREE_KINDS)
def test_a_class_that_they_never_saw_has_no_probability(pixels, kind):
    """And the columns of the others are where they belong."""
    samples = pixels()
    model = grown(kind, samples.only(samples.labels != 1))
    said = tree_probabilities(model, samples.features, 4)
    assert said.shape == (len(samples.labels), 4)
    assert not said[:, [1, 3]].any()
    np.testing.assert_allclose(said.sum(axis=1), 1, rtol=1e-5)
    known = samples.labels != 1
    assert (said.argmax(axis=1) == samples.labels)[known].mean() > 0.9


def test_no_pixels_no_probabilities(pixels):
    """A fold may be empty."""
    assert tree_probabilities(grown("random_forest", pixels()), np.zeros((0, 12, 4), np.float32), 3).shape == (0, 3)


def test_a_missing_model_is_said_to_be(tmp_path):
    """With the step that makes it."""
    with pytest.raises(StepError, match="run the step `train` first"):
        load_trees(tmp_path / "none.joblib")
