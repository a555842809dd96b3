"""Rectangles of pixels in a projection: the map's frame, its tiles, and the blocks that fit into memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from affine import Affine

PIXEL_TOLERANCE = 1e-6  # coordinates that went through text or another unit are often off by so little


@dataclass(frozen=True)
class Window:
    """Rows and columns of a grid; the first ones and how many."""

    row: int
    column: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """The window as an index of an array (..., y, x)."""
        return slice(self.row, self.row + self.height), slice(self.column, self.column + self.width)

    def intersection(self, other: Window) -> Window | None:
        """Return what both cover, None where they do not meet."""
        row, column = max(self.row, other.row), max(self.column, other.column)
        bottom = min(self.row + self.height, other.row + other.height)
        right = min(self.column + self.width, other.column + other.width)
        return Window(row, column, bottom - row, right - column) if bottom > row and right > column else None

    def moved(self, rows: int, columns: int) -> Window:
        """Return the same window seen from another origin."""
        return Window(self.row + rows, self.column + columns, self.height, self.width)


@dataclass(frozen=True)
class Frame:
    """A grid of square pixels: `left` and `top` are the outer corner of pixel (0, 0), in units of the CRS."""

    crs: str
    left: float
    top: float
    resolution: float
    height: int
    width: int

    @property
    def transform(self) -> Affine:
        """From (column, row) to coordinates, as rasterio wants it."""
        return Affine(self.resolution, 0.0, self.left, 0.0, -self.resolution, self.top)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, bottom, right, top."""
        return (
            self.left,
            self.top - self.height * self.resolution,
            self.left + self.width * self.resolution,
            self.top,
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.height, self.width

    def part(self, window: Window) -> Frame:
        """Return the frame of a window."""
        left = self.left + window.column * self.resolution
        top = self.top - window.row * self.resolution
        return Frame(self.crs, left, top, self.resolution, window.height, window.width)

    def window_of(self, other: Frame) -> Window:
        """Return where another frame of the same CRS and resolution lies in this one; it may reach over the edges.

        Raises:
            ValueError: the frames' pixels do not coincide.
        """
        if (other.crs, other.resolution) != (self.crs, self.resolution):
            raise ValueError(f"{other} has another CRS or resolution than {self}")
        column, row = (other.left - self.left) / self.resolution, (self.top - other.top) / self.resolution
        if max(abs(column - round(column)), abs(row - round(row))) > PIXEL_TOLERANCE:
            raise ValueError(f"the pixels of {other} do not coincide with those of {self}")
        return Window(round(row), round(column), other.height, other.width)

    def blocks(self, edge: int) -> Iterator[Window]:
        """Cut the frame into blocks of `edge` x `edge` pixels, row by row; those at the end are smaller."""
        for row in range(0, self.height, edge):
            for column in range(0, self.width, edge):
                yield Window(row, column, min(edge, self.height - row), min(edge, self.width - column))

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; `Frame(**values)` is the frame again."""
        return asdict(self)


@dataclass(frozen=True)
class Tile:
    """One tile of a map: its name (part of file names) and its pixels, the overlap with its neighbours among them."""

    name: str
    frame: Frame
