"""How many pixels each class gives to a draw, and which.

A draw takes the pixels with the least priorities, and a priority follows from place, seed and draw alone. So a draw is
random and without replacement, comes out the same in whatever order blocks are read, and needs no more memory than it
keeps; and where a map grows by a tile, or a class loses some pixels, the others stay drawn.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from landcover_jobs.samples.pixels import Pixels, places

Priorities = npt.NDArray[np.uint64]


def allocation(areas: Sequence[int], total: int, rare_share: float) -> list[int]:
    """Deal `total` pixels to classes as their areas are, but to none less than `rare_share` of them.

    Args:
        areas: of the classes in the old map, in pixels; a class without area gets nothing.
        total: pixels of one draw.
        rare_share: least share of a class; an equal share where so many classes could not all have it.
    """
    sizes = np.asarray(areas, dtype=np.float64)
    present = sizes > 0
    if not present.any():
        return [0] * len(areas)
    floor = min(rare_share, 1 / int(present.sum()))
    raised = np.zeros(len(sizes), dtype=bool)
    while True:
        common = present & ~raised
        shares = np.where(raised, floor, 0.0)
        if common.any():
            shares[common] = sizes[common] / sizes[common].sum() * (1 - floor * int(raised.sum()))
        too_small = common & (shares < floor)
        if not too_small.any():
            return _rounded(shares * total)
        raised |= too_small


def _rounded(wanted: npt.NDArray[np.float64]) -> list[int]:
    """Round so that the sum stays: those with the largest remainders are rounded up."""
    whole = np.floor(wanted + 1e-9).astype(np.int64)
    missing = round(float(wanted.sum())) - int(whole.sum())
    whole[np.argsort(whole - wanted, kind="stable")[:missing]] += 1
    return [int(each) for each in whole]


def priorities(
    x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], *, resolution: float, seed: int, draw: int
) -> Priorities:
    """Return a number for each place, as good as random; the same place, seed and draw have the same.

    The numbers are mixed by splitmix64 (Steele, Lea and Flood 2014).
    """
    column, row = places(x, y, resolution)
    start = np.array([seed, draw], dtype=np.int64).view(np.uint64)
    mixed = _splitmix(_splitmix(start[:1]) + start[1:])
    return _splitmix(_splitmix(column.view(np.uint64) + mixed) + row.view(np.uint64))


def _splitmix(state: Priorities) -> Priorities:
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


class Draw:
    """The pixels of least priority among all that were offered, at most `most`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._limit = np.uint64(np.iinfo(np.uint64).max)
        self._kept: list[tuple[Priorities, Pixels]] = []
        self._held = 0

    def wants(self, numbers: Priorities) -> npt.NDArray[np.bool_]:
        """Tell which priorities may still be drawn, so that only those pixels need be copied."""
        return np.asarray(numbers <= self._limit) if self._most else np.zeros(len(numbers), dtype=bool)

    def offer(self, numbers: Priorities, pixels: Pixels) -> None:
        """Take in pixels with their priorities."""
        if not len(pixels) or not self._most:
            return
        self._kept.append((numbers, pixels))
        self._held += len(pixels)
        if self._held > 2 * self._most:
            self._compact()

    def result(self) -> Pixels | None:
        """Return what is drawn, None where nothing was offered."""
        if not self._kept:
            return None
        self._compact()
        return self._kept[0][1]

    def _compact(self) -> None:
        numbers = np.concatenate([each for each, _ in self._kept])
        order = np.argsort(numbers, kind="stable")[: self._most]
        pixels = Pixels.joined([each for _, each in self._kept]).take(order)
        self._kept, self._held = [(numbers[order], pixels)], len(order)
        if len(order) == self._most:
            self._limit = numbers[order[-1]]
