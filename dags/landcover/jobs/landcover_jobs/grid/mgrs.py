"""Sentinel-2's tiling: for each 100 km square of MGRS a tile of 109.8 km, in the UTM projection of the square's zone.

A tile begins at its square's upper left corner, moved outward to a multiple of 60 m (so that pixels of 10, 20 and 60 m
coincide), and reaches 9.8 km over the square in the east and south. A square that a latitude band's edge cuts has two
names; the tile has the name of the square's middle.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import mgrs
import numpy as np
import shapely
from pyproj import Transformer
from shapely.geometry import box
from shapely.geometry.base import BaseGeometry

from landcover_jobs.configuration.place import Area, MgrsGrid
from landcover_jobs.grid.frame import Frame, Tile, Window
from landcover_jobs.grid.projection import DEGREES, area_in_degrees, projected, snapped
from landcover_jobs.job import StepError

SQUARE = 100_000.0
TILE = 109_800.0
STEP = 60.0
SOUTH_POLE_OFFSET = 10_000_000.0  # northing of the equator in the southern zones
# UTM has no squares beyond; the poles have a grid of their own, and Sentinel-2 no tiles there.
_SOUTHERN_END, _NORTHERN_END = -80.0, 84.0
# At 84 degrees north a tile is 9.4 degrees wide, so it may reach so far out of its zone.
_REACH_DEGREES = 10.0
_OVER_EQUATOR_DEGREES = 0.2  # the overlap of 9.8 km, and some


@dataclass(frozen=True)
class Square:
    """A 100 km square: its name, its zone's CRS and its lower left corner in it."""

    name: str
    crs: str
    easting: float
    northing: float

    @property
    def upper_left(self) -> tuple[float, float]:
        """Where its Sentinel-2 tile begins."""
        return (
            math.floor(self.easting / STEP) * STEP,
            math.ceil((self.northing + SQUARE) / STEP) * STEP,
        )

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, bottom, right, top of its Sentinel-2 tile."""
        left, top = self.upper_left
        return left, top - TILE, left + TILE, top


def mgrs_tiles(grid: MgrsGrid, area: Area) -> tuple[Tile, ...]:
    """Return the tiles that share ground with the area, in the order of their names, cut at the area's bounds.

    Raises:
        StepError: a tile of `grid.tiles` does not exist or lies elsewhere, or there is none where the area is.
    """
    degrees = area_in_degrees(area)
    found = {}
    squares = (square_of(name) for name in sorted(set(grid.tiles))) if grid.tiles else _squares_near(degrees)
    for square in squares:
        frame = _frame(square, degrees, float(grid.resolution))
        if frame is not None:
            found[square.name] = Tile(square.name, frame)
        elif grid.tiles:
            raise StepError(f"grid.tiles: {square.name} shares no ground with the area; leave it out")
    if not found:
        raise StepError("area: Sentinel-2 has no tiles there, only between 80 degrees south and 84 degrees north")
    return tuple(found[name] for name in sorted(found))


def square_of(name: str) -> Square:
    """Return a square by its name, such as 32TQM.

    Raises:
        StepError: there is no such square.
    """
    try:
        zone, hemisphere, easting, northing = _library().MGRSToUTM(name)
    except mgrs.core.MGRSError as error:
        raise StepError(f"grid.tiles: there is no MGRS square {name}: {error}") from error
    southern = hemisphere.upper() == "S"
    square = Square(name, _crs(zone, southern=southern), float(round(easting)), float(round(northing)))
    if not any(each[:2] == name[:2] for each in _names_in(square)):
        raise StepError(f"grid.tiles: the square {name} lies outside its own zone {name[:2]}; look for a neighbour")
    return square


def _frame(square: Square, degrees: BaseGeometry, resolution: float) -> Frame | None:
    """Return the tile less what is outside the bounds of the area in it, None where they share no ground."""
    shape = _projected(degrees, square.crs, int(square.name[:2]))
    tile = box(*square.bounds)
    if shape.is_empty or not shapely.intersects(shape, tile) or shapely.touches(shape, tile):
        return None
    left, top = square.upper_left
    area_left, area_bottom, area_right, area_top = shape.bounds
    first_column, end_column = snapped(area_left, area_right, left, resolution)
    first_row, end_row = snapped(-area_top, -area_bottom, -top, resolution)
    pixels = round(TILE / resolution)
    covered = Window(first_row, first_column, end_row - first_row, end_column - first_column)
    window = Window(0, 0, pixels, pixels).intersection(covered)
    return Frame(square.crs, left, top, resolution, pixels, pixels).part(window) if window is not None else None


def _squares_near(degrees: BaseGeometry) -> Iterator[Square]:
    """Return the squares whose tiles may touch the area, zone by zone and hemisphere by hemisphere."""
    for zone in range(1, 61):
        for southern in (True, False):
            south, north = (_SOUTHERN_END, _OVER_EQUATOR_DEGREES) if southern else (-_OVER_EQUATOR_DEGREES, 84.0)
            part = _shape(shapely.intersection(degrees, _strip(zone * 6 - 183, south, north)))
            if not part.is_empty:
                yield from _squares(zone, part, southern=southern)


def _squares(zone: int, part: BaseGeometry, *, southern: bool) -> Iterator[Square]:
    crs = _crs(zone, southern=southern)
    left, bottom, right, top = projected(part, crs, "area").bounds
    columns = range(max(math.floor(left / SQUARE) - 1, 1), min(math.floor(right / SQUARE), 8) + 1)
    least, most = (0, int(SOUTH_POLE_OFFSET / SQUARE) - 1) if southern else (0, 93)
    rows = range(max(math.floor(bottom / SQUARE), least), min(math.floor(top / SQUARE) + 1, most) + 1)
    for column in columns:
        for row in rows:
            square = Square("", crs, column * SQUARE, row * SQUARE)
            names = _names_in(square)
            inside = [name for name in names if name[:2] == f"{zone:02d}"]
            if inside:
                yield Square(_name(square, inside), crs, square.easting, square.northing)


def _name(square: Square, inside: list[str]) -> str:
    """Return the square's name: its middle's, or where that lies in another zone, its most frequent one."""
    middle = _names_in(square)[12]
    return middle if middle in inside else max(sorted(set(inside)), key=inside.count)


@functools.lru_cache(maxsize=4096)
def _names_in(square: Square) -> list[str]:
    """Return the names of the MGRS squares at 5 x 5 points of a square, row by row; "" beyond the ends of UTM.

    The outer points lie 1 m inside. The library knows the zones' exceptions around Norway and Svalbard.
    """
    steps = np.linspace(1.0, SQUARE - 1.0, 5)
    x, y = (each.ravel() for each in np.meshgrid(square.easting + steps, square.northing + steps))
    longitudes, latitudes = _to_degrees(square.crs).transform(x, y)
    return [
        _library().toMGRS(latitude, longitude, MGRSPrecision=0) if _SOUTHERN_END <= latitude < _NORTHERN_END else ""
        for longitude, latitude in zip(longitudes.tolist(), latitudes.tolist(), strict=True)
    ]


@functools.cache
def _to_degrees(crs: str) -> Transformer:
    return Transformer.from_crs(crs, DEGREES, always_xy=True)


@functools.cache
def _library() -> mgrs.MGRS:
    return mgrs.MGRS()


def _crs(zone: int, *, southern: bool) -> str:
    return f"EPSG:{327 if southern else 326}{zone:02d}"


def _strip(central: int, south: float, north: float) -> BaseGeometry:
    """Return what a zone's tiles may cover, in degrees."""
    return box(central - 3 - _REACH_DEGREES, south, central + 3 + _REACH_DEGREES, north)


def _shape(shape: BaseGeometry) -> BaseGeometry:
    """Return the shape's polygons alone: cutting may leave lines and points of its edge."""
    parts = [part for part in shapely.get_parts(shape) if part.geom_type in ("Polygon", "MultiPolygon")]
    return shapely.unary_union(parts)


@functools.lru_cache(maxsize=8)
def _projected(degrees: BaseGeometry, crs: str, zone: int) -> BaseGeometry:
    """Return the part of the area that a zone's tiles may cover, in the zone's projection."""
    near = _shape(shapely.intersection(degrees, _strip(zone * 6 - 183, _SOUTHERN_END, _NORTHERN_END)))
    return near if near.is_empty else projected(near, crs, "area")
