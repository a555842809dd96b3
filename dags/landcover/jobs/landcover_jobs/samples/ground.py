"""The pixels of a map one block after the other: where their centres lie, and which tile each belongs to."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pyproj import Transformer

from landcover_jobs.grid.frame import Frame, Tile, Window

Coordinates = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Block:
    """A window of the tile that is number `number` in the list of tiles."""

    number: int
    tile: Tile
    window: Window

    @property
    def frame(self) -> Frame:
        """The block's own pixels."""
        return self.tile.frame.part(self.window)


def blocks_of(tiles: Sequence[Tile], edge: int) -> Iterator[Block]:
    """Cut all tiles into blocks, as their composites are stored."""
    for number, tile in enumerate(tiles):
        for window in tile.frame.blocks(edge):
            yield Block(number, tile, window)


def centres(frame: Frame) -> tuple[Coordinates, Coordinates]:
    """Return x and y of the pixels' centres, each (height, width), in the frame's CRS."""
    x = frame.left + (np.arange(frame.width) + 0.5) * frame.resolution
    y = frame.top - (np.arange(frame.height) + 0.5) * frame.resolution
    grid_x, grid_y = np.meshgrid(x, y)
    return grid_x, grid_y


def in_crs(x: Coordinates, y: Coordinates, source: str, target: str) -> tuple[Coordinates, Coordinates]:
    """Return coordinates in another CRS (EPSG code or WKT; x is east or longitude); infinite where it has none."""
    if source == target:
        return x, y
    found: tuple[Coordinates, Coordinates] = _transformer(source, target).transform(x, y)
    return found


@functools.lru_cache(maxsize=256)
def _transformer(source: str, target: str) -> Transformer:
    return Transformer.from_crs(source, target, always_xy=True)


def owned(block: Block, tiles: Sequence[Tile]) -> Bools:
    """Tell which pixels (height, width) of a block lie in no earlier tile, so that an overlap counts once."""
    x, y = centres(block.frame)
    mine = np.ones(block.frame.shape, dtype=bool)
    for earlier in tiles[: block.number]:
        mine &= ~_inside(earlier.frame, x, y, block.frame)
    return mine


def _inside(frame: Frame, x: Coordinates, y: Coordinates, block: Frame) -> Bools:
    left, bottom, right, top = frame.bounds
    if frame.crs != block.crs:
        outline_x, outline_y = in_crs(*_outline(block), block.crs, frame.crs)
        if not _meet((outline_x.min(), outline_y.min(), outline_x.max(), outline_y.max()), frame.bounds):
            return np.zeros(x.shape, dtype=bool)
        x, y = in_crs(x, y, block.crs, frame.crs)
    elif not _meet(block.bounds, frame.bounds):
        return np.zeros(x.shape, dtype=bool)
    return np.asarray((x > left) & (x < right) & (y > bottom) & (y < top))


def _outline(frame: Frame) -> tuple[Coordinates, Coordinates]:
    left, bottom, right, top = frame.bounds
    along, zero, one = np.linspace(0, 1, 21), np.zeros(21), np.ones(21)
    across = np.concatenate([along, along, zero, one])
    down = np.concatenate([zero, one, along, along])
    return left + across * (right - left), bottom + down * (top - bottom)


def _meet(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
