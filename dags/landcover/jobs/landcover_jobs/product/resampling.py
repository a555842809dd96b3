"""Nearest neighbours: which pixel of a raster lies under each pixel of a frame, in the same projection or another.

The answer for a pixel depends on the pixel alone, never on the block in which it is asked for; so whatever is made
block by block is the same for every size of blocks. (GDAL's warper interpolates along the rows of what is read.)
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import rasterio
import rasterio.crs
from pyproj import Transformer

from landcover_jobs.grid.frame import Frame, Window
from landcover_jobs.grid.projection import bounds_in

# Coordinates are transformed at every 32nd row and column and interpolated between: over so few pixels of 10 to 60 m a
# projection bends by less than a hundredth of a pixel, and the transformation would cost more than all the rest.
NODE_PIXELS = 32
PIXELS_OFF = 1e-3  # a GeoTIFF's place is written in other units, and rounded

Positions = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Nearest:
    """What a raster has for a window of a frame."""

    pixels: npt.NDArray[np.uint8]  # (band, y, x); meaningless where not inside
    inside: npt.NDArray[np.bool_]  # (y, x)
    edge_distance: npt.NDArray[np.float32]  # (y, x) to the raster's nearest edge, in its pixels; 0 where not inside


def frame_of(file: rasterio.DatasetReader) -> Frame:
    """Return the frame of an open raster that is north up and has square pixels.

    Raises:
        ValueError: it is not, or it has no CRS.
    """
    transform = file.transform
    if file.crs is None or transform.b or transform.d or abs(transform.a + transform.e) > 1e-9 * transform.a:
        raise ValueError(f"{file.name}: a raster with a CRS, north up, with square pixels is wanted, not {transform!r}")
    return Frame(file.crs.to_string(), transform.c, transform.f, transform.a, file.height, file.width)


def same_place(one: Frame, other: Frame) -> bool:
    """Tell whether two frames are the same pixels, though their CRS may be written in other words."""
    moved = max(abs(one.left - other.left), abs(one.top - other.top)) / other.resolution
    grown = abs(one.resolution / other.resolution - 1) * max(other.shape)
    if one.shape != other.shape or max(moved, grown) > PIXELS_OFF:
        return False
    return one.crs == other.crs or rasterio.crs.CRS.from_user_input(one.crs) == rasterio.crs.CRS.from_user_input(
        other.crs
    )


def covered(source: Frame, target: Frame) -> Window | None:
    """Return the part of `target` that `source` may touch, None where it touches nothing.

    Raises:
        StepError: the source's CRS cannot be transformed to the target's.
    """
    bounds = source.bounds
    if source.crs != target.crs:
        bounds = bounds_in(bounds, source.crs, target.crs, "product.crs")
    left, bottom, right, top = bounds
    first_column = int(np.floor((left - target.left) / target.resolution)) - 1
    last_column = int(np.ceil((right - target.left) / target.resolution)) + 1
    first_row = int(np.floor((target.top - top) / target.resolution)) - 1
    last_row = int(np.ceil((target.top - bottom) / target.resolution)) + 1
    around = Window(first_row, first_column, last_row - first_row, last_column - first_column)
    return around.intersection(Window(0, 0, *target.shape))


def positions(source: Frame, target: Frame, window: Window) -> tuple[Positions, Positions]:
    """Return rows and columns in `source`, with fractions, of the centres of the pixels of a window of `target`.

    They are (y, 1) and (1, x) in the same CRS, (y, x) in another; infinite where the source's CRS does not reach.
    """
    if source.crs != target.crs:
        return _bent(source, target, window)
    x = target.left + (window.column + np.arange(window.width) + 0.5) * target.resolution
    y = target.top - (window.row + np.arange(window.height) + 0.5) * target.resolution
    rows, columns = (source.top - y) / source.resolution, (x - source.left) / source.resolution
    return np.asarray(rows[:, None], dtype=np.float64), np.asarray(columns[None, :], dtype=np.float64)


def read_nearest(file: rasterio.DatasetReader, source: Frame, target: Frame, window: Window) -> Nearest | None:
    """Return what an open raster of the frame `source` has for a window of `target`, None where it has nothing."""
    rows, columns = positions(source, target, window)
    height, width = source.shape
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    if not inside.any():
        return None
    row, column = _whole(rows, height), _whole(columns, width)
    part = _around(np.broadcast_to(row, inside.shape)[inside], np.broadcast_to(column, inside.shape)[inside])
    pixels = file.read(window=rasterio.windows.Window(part.column, part.row, part.width, part.height))
    row, column = np.clip(row - part.row, 0, part.height - 1), np.clip(column - part.column, 0, part.width - 1)
    straight = row.shape[1] == 1
    found = pixels.take(row[:, 0], axis=1).take(column[0], axis=2) if straight else pixels[:, row, column]
    nearest_row, nearest_column = np.minimum(rows, height - rows), np.minimum(columns, width - columns)
    distance = np.where(inside, np.minimum(nearest_row, nearest_column), 0).astype(np.float32)
    return Nearest(found, inside, distance)


def _bent(source: Frame, target: Frame, window: Window) -> tuple[Positions, Positions]:
    node_rows = _nodes(window.row, window.height)
    node_columns = _nodes(window.column, window.width)
    x, y = np.meshgrid(
        target.left + (node_columns + 0.5) * target.resolution, target.top - (node_rows + 0.5) * target.resolution
    )
    x, y = _transformer(target.crs, source.crs).transform(x, y)
    rows, columns = (source.top - y) / source.resolution, (x - source.left) / source.resolution
    with np.errstate(invalid="ignore"):  # infinite less infinite: not inside, either way
        return tuple(_between(_between(each, window.row, window.height).T, window.column, window.width).T
                     for each in (rows, columns))  # type: ignore[return-value]  # fmt: skip


def _nodes(first: int, count: int) -> npt.NDArray[np.int64]:
    """Return multiples of NODE_PIXELS around `count` numbers from `first` on."""
    return np.arange(first // NODE_PIXELS, (first + count - 1) // NODE_PIXELS + 2) * NODE_PIXELS


def _between(at_nodes: Positions, first: int, count: int) -> Positions:
    """Interpolate along axis 0 from the nodes to `count` numbers from `first` on."""
    number = np.arange(first, first + count)
    node = number // NODE_PIXELS - first // NODE_PIXELS
    share = ((number % NODE_PIXELS) / NODE_PIXELS)[:, None]
    return np.asarray(at_nodes[node] * (1 - share) + at_nodes[node + 1] * share)


@functools.cache
def _transformer(source: str, target: str) -> Transformer:
    return Transformer.from_crs(source, target, always_xy=True)


def _whole(places: Positions, size: int) -> npt.NDArray[np.int64]:
    limited = np.clip(np.nan_to_num(places, nan=-1.0, posinf=-1.0, neginf=-1.0), 0, size - 1)
    return np.floor(limited).astype(np.int64)


def _around(rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]) -> Window:
    row, column = int(rows.min()), int(columns.min())
    return Window(row, column, int(rows.max()) - row + 1, int(columns.max()) - column + 1)
