"""Spatial cross-validation: blocks of 10 x 10 pixels are dealt to five folds, so that neighbours stay together."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FOLDS = 5
BLOCK_PIXELS = 10
SEED = 2018


def block_folds(height: int, width: int, *, seed: int = SEED) -> npt.NDArray[np.int64]:
    """Return the fold (0 to FOLDS - 1) of every pixel; all pixels of a block have the same."""
    block_rows, block_columns = -(-height // BLOCK_PIXELS), -(-width // BLOCK_PIXELS)
    blocks = block_rows * block_columns
    fold_of_block = np.empty(blocks, dtype=np.int64)
    fold_of_block[np.random.default_rng(seed).permutation(blocks)] = np.arange(blocks) % FOLDS
    grid = fold_of_block.reshape(block_rows, block_columns)
    return grid.repeat(BLOCK_PIXELS, axis=0).repeat(BLOCK_PIXELS, axis=1)[:height, :width]
