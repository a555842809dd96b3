"""What a pixel's probabilities may depend on."""

import numpy as np
import pytest
from landcover_jobs.inference.classifier import Classifier, threads_here
from landcover_jobs.job import StepError


def test_a_pixel_s_probabilities_do_not_depend_on_its_neighbours(transformer, series):
    """Alone, among a few, among many, in whatever order: the same bits."""
    features, hidden = series(700, seed=2)
    classifier = Classifier(transformer.path)
    together = classifier.probabilities(features, hidden)
    order = np.random.default_rng(0).permutation(700)
    np.testing.assert_array_equal(classifier.probabilities(features[order], hidden[order]), together[order])
    np.testing.assert_array_equal(classifier.probabilities(features[7:8], hidden[7:8]), together[7:8])


def test_threads_change_nothing(transformer, series):
    """Threads share the batches out, and the bits stay."""
    features, hidden = series(1500, seed=3)
    alone = Classifier(transformer.path, 1).probabilities(features, hidden)
    np.testing.assert_array_equal(Classifier(transformer.path, 4).probabilities(features, hidden), alone)


def test_hidden_periods_are_not_looked_at(transformer, series):
    """Whatever stands in a hidden period, the probabilities are the same; a shown period counts."""
    features, hidden = series(100, seed=4)
    classifier = Classifier(transformer.path)
    said = classifier.probabilities(features, hidden)
    changed = np.where(hidden[..., None], np.float32(50), features)
    np.testing.assert_allclose(classifier.probabilities(changed, hidden), said, atol=1e-6)
    changed = np.where(hidden[..., None], features, features + np.float32(1))
    assert abs(classifier.probabilities(changed, hidden) - said).max() > 0.01


def test_no_pixels_are_no_probabilities(transformer, series):
    """A block without a seen pixel is no error."""
    features, hidden = series(3)
    assert Classifier(transformer.path, 2).probabilities(features[:0], hidden[:0]).shape == (0, 3)


def test_a_missing_or_broken_file_is_named(tmp_path):
    """The sentence says which file and what to do."""
    path = tmp_path / "model.onnx"
    with pytest.raises(StepError, match=r"model\.onnx is missing: run the step `train` again"):
        Classifier(path)
    path.write_bytes(b"half of a model")
    with pytest.raises(StepError, match=r"model\.onnx cannot be read as an ONNX model"):
        Classifier(path)


def test_slurm_says_how_many_threads(monkeypatch):
    """A task's CPUs count; outside of Slurm, those that the process may run on."""
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "48")
    assert threads_here() == 48
    monkeypatch.delenv("SLURM_CPUS_PER_TASK")
    assert threads_here() >= 1
