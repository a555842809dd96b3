"""Who learns from which pixels, and how the kinds are judged."""

from dataclasses import replace

import numpy as np
import pytest
from landcover_jobs.job import StepError
from landcover_jobs.learning.folds import inner_fold, inner_rows, learning_rows, members_of
from landcover_jobs.learning.judging import better_of, judged, unseen_scores
from landcover_jobs.learning.plan import read_samples


@pytest.fixture
def samples(ground):
    """Return the made-up training set: two draws, three folds."""
    made = ground()
    return read_samples(made.configuration, made.folder)[1]


def test_a_member_never_sees_its_fold_nor_what_its_draw_has_not(samples):
    """Nor the inner fold, where that one decides something."""
    for member in members_of(["random_forest"], 2, 3):
        rows = learning_rows(samples, member.trial, member.fold)
        assert set(samples.folds[rows]) == {0, 1, 2} - {member.fold}
        assert not (rows & ~samples.trials[member.trial]).any()
        inner = inner_fold(member.fold, 3)
        fewer = learning_rows(samples, member.trial, member.fold, without=inner)
        assert set(samples.folds[fewer]) == {0, 1, 2} - {member.fold, inner}
        held = inner_rows(samples, member.trial, inner)
        assert not (held & fewer).any()
        assert set(samples.folds[held]) == {inner}


def test_too_few_classes_or_no_inner_pixels_are_told(samples):
    """With what to change."""
    one = replace(samples, labels=np.zeros_like(samples.labels))
    with pytest.raises(StepError, match=r"draw 1 without fold 2 has \d+ pixels of 1 class"):
        learning_rows(one, 1, 2)
    with pytest.raises(StepError, match="no pixel in fold 7"):
        inner_rows(samples, 0, 7)


def test_each_pixel_is_judged_by_the_members_that_never_saw_its_fold(samples):
    """The majority of the draws decides, and the more probable class among equals."""
    says = {0: [0.6, 0.4, 0.0], 1: [0.0, 0.9, 0.1]}
    counts = np.bincount(samples.folds)
    of_members = {
        (trial, fold): np.tile(np.array(says[trial], dtype=np.float32), (counts[fold], 1))
        for trial in (0, 1)
        for fold in (0, 1, 2)
    }
    of_members[0, 2] = of_members[1, 2] = np.eye(3, dtype=np.float32)[np.arange(counts[2]) % 3]
    chosen = unseen_scores(samples, 3, of_members).argmax(axis=1)
    assert (chosen[samples.folds != 2] == 1).all()
    assert (chosen[samples.folds == 2] == np.arange(counts[2]) % 3).all()


def test_scores_count_what_is_right(ground):
    """By classes, and by the groups of the map."""
    labels = np.array([0, 0, 1, 1, 2, 2, 2, 2])
    mapped = np.array([0, 1, 1, 2, 2, 2, 2, 1])
    scores = judged(labels, np.eye(3, dtype=np.float32)[mapped], ground().configuration)
    assert scores["classes"]["overall_accuracy"] == pytest.approx(5 / 8)
    assert scores["classes"]["confusion_rows_map_columns_reference"] == [[1, 0, 0], [1, 1, 1], [0, 1, 3]]
    assert scores["classes"]["macro_f1"] == pytest.approx((2 / 3 + 2 / 5 + 6 / 8) / 3, abs=1e-6)
    assert scores["groups"]["overall_accuracy"] == pytest.approx(7 / 8)


def test_the_better_kind_is_that_with_the_greater_macro_f1():
    """Of equals the first one; one without a figure never wins."""
    scores = {kind: {"classes": {"macro_f1": f1}} for kind, f1 in (("a", 0.7), ("b", 0.9), ("c", 0.9), ("d", None))}
    assert better_of(["a", "b", "c", "d"], scores) == "b"
    assert better_of(["d", "a"], scores) == "a"


def test_samples_of_another_map_are_refused(ground):
    """Other bands or classes than the map has now."""
    made = ground()
    fewer = made.configuration.model_copy(update={"classes": made.configuration.classes[:2]})
    with pytest.raises(StepError, match="have class 2, counted from 0, where the map has 2"):
        read_samples(fewer, made.folder)
    bands = dict(list(made.configuration.bands.items())[:2])
    with pytest.raises(StepError, match="12 composites of 4 features, the map has 12 of 3"):
        read_samples(made.configuration.model_copy(update={"bands": bands}), made.folder)
