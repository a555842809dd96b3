"""Folds by place: whole blocks, even shares, the same wherever and by whomever a pixel is asked about."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from landcover_jobs.grid.folds import fold_of

coordinates = st.floats(-2e7, 2e7)


def centres(height, width, *, left=4_700_000.0, top=3_100_000.0, step=20.0):
    """Return the coordinates of a raster's pixels."""
    x = left + (np.arange(width) + 0.5) * step
    y = top - (np.arange(height) + 0.5) * step
    return np.broadcast_arrays(x[None, :], y[:, None])


def test_a_block_lies_in_one_fold_alone():
    """Neighbours inside a block never part."""
    x, y = centres(50, 50)
    folds = fold_of(x, y, block_size=200, folds=5)
    blocks = folds.reshape(5, 10, 5, 10).swapaxes(1, 2).reshape(25, -1)
    assert (blocks == blocks[:, :1]).all()


@pytest.mark.parametrize("folds", [2, 3, 5, 10])
def test_whole_runs_of_blocks_have_each_fold_once(folds):
    """Equal shares of pixels, not only in the mean."""
    x, y = centres(30 * folds, 10 * folds * 4, left=0.0, top=0.0)
    counts = np.bincount(fold_of(x, y, block_size=200, folds=folds).ravel(), minlength=folds)
    assert len(set(counts.tolist())) == 1


def test_the_order_within_runs_differs_from_row_to_row():
    """Stripes would give a fold all of a valley's slope."""
    x, y = centres(200, 50, left=0.0, top=0.0)
    rows = fold_of(x, y, block_size=200, folds=5)[::10, ::10]
    assert len(np.unique(rows, axis=0)) > 10


def test_another_seed_deals_otherwise_and_the_same_seed_the_same():
    """Steps run in different jobs and must agree."""
    x, y = centres(100, 100)
    first = fold_of(x, y, block_size=200, folds=5)
    assert (first == fold_of(x, y, block_size=200, folds=5)).all()
    assert (first != fold_of(x, y, block_size=200, folds=5, seed=1)).any()


def test_these_folds_stay_as_they_are():
    """What was published as scored by models that never saw a block must stay true after an update."""
    x, y = centres(6, 5, left=0.0, top=600.0, step=100.0)
    dealt = fold_of(x, y, block_size=100, folds=5)
    assert sorted(dealt[0].tolist()) == [0, 1, 2, 3, 4]
    assert dealt.tolist() == [
        [0, 2, 3, 4, 1],
        [3, 0, 1, 4, 2],
        [1, 4, 0, 2, 3],
        [2, 0, 3, 1, 4],
        [2, 0, 3, 4, 1],
        [2, 0, 4, 3, 1],
    ]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(coordinates, coordinates), min_size=1, max_size=40), st.integers(2, 20), st.data())
def test_a_fold_depends_on_the_place_alone(points, folds, data):
    """Asked about one point, some, or all in another order: the answer is the same, and a fold."""
    x, y = (np.array(each) for each in zip(*points, strict=True))
    together = fold_of(x, y, block_size=150.0, folds=folds)
    assert ((together >= 0) & (together < folds)).all()
    order = np.array(data.draw(st.permutations(range(len(points)))))
    assert (fold_of(x[order], y[order], block_size=150.0, folds=folds) == together[order]).all()
    assert fold_of(x[0], y[0], block_size=150.0, folds=folds) == together[0]


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_place_that_is_none_is_refused(wrong):
    """A pixel without a place would be in some fold by accident."""
    with pytest.raises(ValueError, match="not finite"):
        fold_of([0.0, wrong], [0.0, 0.0], block_size=100, folds=5)
