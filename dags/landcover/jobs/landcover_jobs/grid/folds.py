"""Spatial cross-validation: square blocks of the ground are dealt to folds, so that neighbours stay together."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

SEED = 2018
# SplitMix64: the increment and the two multipliers of Steele, Lea and Flood, "Fast splittable pseudorandom number
# generators" (OOPSLA 2014). Each input bit changes half of the output's bits.
_INCREMENT = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def fold_of(
    x: npt.ArrayLike, y: npt.ArrayLike, *, block_size: float, folds: int, seed: int = SEED
) -> npt.NDArray[np.int64]:
    """Return the fold (0 to `folds` - 1) of coordinates in the mosaic's CRS; `x` and `y` have one shape, or broadcast.

    Blocks are squares of `block_size` (units of the CRS) counted from the CRS's origin, so a fold depends on the place
    alone, never on which other points are asked about: every tile and every step sees the same folds. Each run of
    `folds` neighbouring blocks of a row has every fold once, in an order drawn from `seed`; so the folds are as even as
    whole runs allow.

    Raises:
        ValueError: a coordinate is not finite.
    """
    across, along = np.broadcast_arrays(np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64))
    if not (np.isfinite(across).all() and np.isfinite(along).all()):
        raise ValueError("folds: a coordinate is not finite")
    column = np.floor(across / block_size).astype(np.int64)
    row = np.floor(along / block_size).astype(np.int64)
    blocks, where = np.unique(np.stack([column.ravel(), row.ravel()], axis=1), axis=0, return_inverse=True)
    return _dealt(blocks[:, 0], blocks[:, 1], folds, seed)[where.ravel()].reshape(across.shape)


def _dealt(column: npt.NDArray[np.int64], row: npt.NDArray[np.int64], folds: int, seed: int) -> npt.NDArray[np.int64]:
    """Return the rank of each block's draw within its run of blocks, which makes a permutation of each run."""
    run, place = np.divmod(column, folds)
    start = _mixed(_mixed(_mixed(np.full_like(run, seed)) ^ run.astype(np.uint64)) ^ row.astype(np.uint64))
    draws = _mixed(start[:, None] ^ np.arange(folds, dtype=np.uint64))
    own = np.take_along_axis(draws, place[:, None], axis=1)
    return np.asarray((draws < own).sum(axis=1), dtype=np.int64)


def _mixed(values: npt.NDArray[np.int64] | npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return SplitMix64 of each value; a bijection, so different draws of a run stay different."""
    mixed = values.astype(np.uint64) + _INCREMENT
    mixed = (mixed ^ (mixed >> np.uint64(30))) * _FIRST
    mixed = (mixed ^ (mixed >> np.uint64(27))) * _SECOND
    return np.asarray(mixed ^ (mixed >> np.uint64(31)), dtype=np.uint64)
