"""Folds: spatially disjoint, balanced, and the same each time."""

import numpy as np
from landcover_jobs.folds import BLOCK_PIXELS, FOLDS, block_folds


def test_a_block_lies_in_one_fold_alone():
    """No 10 x 10 block is split, so training and test pixels are never neighbours inside a block."""
    folds = block_folds(50, 50)
    blocks = folds.reshape(5, BLOCK_PIXELS, 5, BLOCK_PIXELS).swapaxes(1, 2).reshape(25, -1)
    assert (blocks == blocks[:, :1]).all()
    assert np.bincount(blocks[:, 0]).tolist() == [5] * FOLDS


def test_folds_are_the_same_in_every_job():
    """The steps run in different jobs and must agree on who saw what; another seed deals otherwise."""
    assert (block_folds(50, 50) == block_folds(50, 50)).all()
    assert (block_folds(50, 50) != block_folds(50, 50, seed=1)).any()


def test_a_ragged_scene_has_a_fold_everywhere():
    """A scene that is no multiple of the block still gets a fold for each pixel."""
    folds = block_folds(23, 31)
    assert folds.shape == (23, 31)
    assert set(np.unique(folds)) == set(range(FOLDS))
