"""The regular grid: square tiles in one projection, numbered from an origin, cut at the area's edges."""

from __future__ import annotations

import numpy as np
import shapely
from shapely.geometry import box
from shapely.geometry.base import BaseGeometry

from landcover_jobs.configuration.place import Area, RegularGrid
from landcover_jobs.grid.frame import Frame, Tile, Window
from landcover_jobs.grid.projection import area_in_degrees, crs_of, projected, snapped
from landcover_jobs.job import StepError

MOST_TILES = 100_000  # elements that an array may have


def regular_tiles(grid: RegularGrid, area: Area) -> tuple[Tile, ...]:
    """Return the tiles that share ground with the area, row by row from the north.

    Tile `r{row}c{column}` is `tile_pixels` from the origin on, rows counted southwards (negative north of the origin),
    less what lies outside the area's bounds, which are snapped outward to whole pixels of the grid. Each tile reaches
    `overlap_pixels` farther, though never out of the rectangle around all tiles.

    Raises:
        StepError: the area does not fit into the grid's CRS, or needs more tiles than an array may have.
    """
    shape = _area_in(grid, area)
    pixels = _pixels(grid, shape.bounds)
    cells = _cells(grid, pixels)
    shapely.prepare(shape)
    edge = grid.tile_pixels
    cores = {}
    for row, column in cells:
        core = Window(row * edge, column * edge, edge, edge).intersection(pixels)
        if core is not None and _shares_ground(shape, _box(grid, core)):
            cores[f"r{row}c{column}"] = core
    if not cores:
        raise StepError("area: it is smaller than a thousandth of a pixel; draw it larger")
    frame = _around(list(cores.values()))
    return tuple(
        Tile(name, _frame(grid, _grown(core, grid.overlap_pixels, frame)))
        for name, core in sorted(cores.items(), key=lambda item: (item[1].row, item[1].column))
    )


def _area_in(grid: RegularGrid, area: Area) -> BaseGeometry:
    if area.bounds is not None:
        crs_of(grid.crs, "grid.crs")
        return box(*area.bounds)
    return projected(area_in_degrees(area), grid.crs, "grid.crs")


def _pixels(grid: RegularGrid, bounds: tuple[float, float, float, float]) -> Window:
    """Return the pixels, counted from the origin, that cover the bounds."""
    left, bottom, right, top = bounds
    first_column, end_column = snapped(left, right, grid.origin[0], grid.resolution)
    first_row, end_row = snapped(-top, -bottom, -grid.origin[1], grid.resolution)
    return Window(first_row, first_column, max(end_row - first_row, 1), max(end_column - first_column, 1))


def _cells(grid: RegularGrid, pixels: Window) -> list[tuple[int, int]]:
    """Return the rows and columns of all tiles that the pixels may lie in."""
    edge = grid.tile_pixels
    rows = range(pixels.row // edge, -(-(pixels.row + pixels.height) // edge))
    columns = range(pixels.column // edge, -(-(pixels.column + pixels.width) // edge))
    count = len(rows) * len(columns)
    if count > MOST_TILES:
        raise StepError(
            f"grid.tile_pixels: the area's bounds hold {count:,} tiles of {edge} pixels, and an array has at most"
            f" {MOST_TILES:,} elements; make the tiles larger or the area smaller"
        )
    return [(row, column) for row in rows for column in columns]


def _shares_ground(shape: BaseGeometry, tile: BaseGeometry) -> bool:
    """Tell whether two shapes have more in common than an edge."""
    return bool(shapely.intersects(shape, tile)) and not bool(shapely.touches(shape, tile))


def _box(grid: RegularGrid, window: Window) -> BaseGeometry:
    return box(*_frame(grid, window).bounds)


def _frame(grid: RegularGrid, window: Window) -> Frame:
    left = grid.origin[0] + window.column * grid.resolution
    top = grid.origin[1] - window.row * grid.resolution
    return Frame(grid.crs, left, top, grid.resolution, window.height, window.width)


def _around(windows: list[Window]) -> Window:
    corners = np.array([(each.row, each.column, each.row + each.height, each.column + each.width) for each in windows])
    (row, column), (bottom, right) = corners[:, :2].min(axis=0), corners[:, 2:].max(axis=0)
    return Window(int(row), int(column), int(bottom - row), int(right - column))


def _grown(core: Window, pixels: int, frame: Window) -> Window:
    larger = Window(core.row - pixels, core.column - pixels, core.height + 2 * pixels, core.width + 2 * pixels)
    clipped = larger.intersection(frame)
    assert clipped is not None  # noqa: S101 - the core lies in the frame, which was made around the cores
    return clipped
