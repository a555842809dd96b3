"""Sentinel-2's tiling: for each 100 km square of MGRS a tile of 109.8 km, in the UTM projection of the square's zone.

A tile begins at its square's upper left corner, moved outward to a multiple of 60 m (so that pixels of 10, 20 and 60 m
coincide), and reaches 9.8 km over the square in the east and south. Each place lies in one square, less what of the
square is outside its zone. A square that a latitude band's edge cuts has two names; the tile has the one of the band
that the square's middle lies in (50TMK, 45QZG).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import mgrs
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
# UTM has no squares beyond; the poles have a grid of their own, and Sentinel-2 no tiles there.
_SOUTHERN_END, _NORTHERN_END = -80.0, 84.0
# At 84 degrees north a tile is 9.4 degrees wide, so it may reach so far out of its zone.
_REACH_DEGREES = 10.0
_BANDS = "CDEFGHJKLMNPQRSTUVWXX"  # of 8 degrees each from the southern end on, the last one of 12
# Around Norway and Svalbard zones are wider and narrower than 6 degrees: by zone, the western and eastern end.
_WIDTH_OF_V = {31: (0, 3), 32: (3, 12)}
_WIDTH_OF_X = {31: (0, 9), 32: None, 33: (9, 21), 34: None, 35: (21, 33), 36: None, 37: (33, 42)}


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
    """Return the tiles of the squares that share ground with the area, in the order of their names.

    They are cut at the area's bounds. Of the ground that tiles share, no second one is taken; those of `grid.tiles`
    are, as long as they show some of the area.

    Raises:
        StepError: a tile of `grid.tiles` does not exist or lies elsewhere, or there is none where the area is.
    """
    degrees = area_in_degrees(area)
    named = [square_of(name) for name in sorted(set(grid.tiles))]
    found = {}
    for square in named or _squares_of(degrees):
        frame = _frame(square, degrees, float(grid.resolution))
        if frame is not None:
            found[square.name] = Tile(square.name, frame)
        elif named:
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
    # The library gives the square's middle, or in older versions its corner.
    easting, northing = (each // SQUARE * SQUARE for each in (easting, northing))
    square = Square(name, _crs(zone, southern=southern), easting, northing)
    shape = _projected(_zone(zone, southern=southern), square.crs, "grid.tiles")
    if not _shares_ground(shape, box(easting, northing, easting + SQUARE, northing + SQUARE)):
        raise StepError(f"grid.tiles: the square {name} lies outside its own zone {name[:2]}; look for a neighbour")
    return square


def _frame(square: Square, degrees: BaseGeometry, resolution: float) -> Frame | None:
    """Return the tile less what is outside the bounds of the area in it, None where they share no ground."""
    west = int(square.name[:2]) * 6 - 186
    near = box(west - _REACH_DEGREES, _SOUTHERN_END, west + 6 + _REACH_DEGREES, _NORTHERN_END)
    shape = _projected(_polygons(shapely.intersection(degrees, near)), square.crs, "area")
    if not _shares_ground(shape, box(*square.bounds)):
        return None
    left, top = square.upper_left
    area_left, area_bottom, area_right, area_top = shape.bounds
    first_column, end_column = snapped(area_left, area_right, left, resolution)
    first_row, end_row = snapped(-area_top, -area_bottom, -top, resolution)
    pixels = round(TILE / resolution)
    covered = Window(first_row, first_column, end_row - first_row, end_column - first_column)
    window = Window(0, 0, pixels, pixels).intersection(covered)
    return Frame(square.crs, left, top, resolution, pixels, pixels).part(window) if window is not None else None


def _squares_of(degrees: BaseGeometry) -> Iterator[Square]:
    """Return the squares that share ground with the area, zone by zone and hemisphere by hemisphere."""
    for zone in range(1, 61):
        for southern in (True, False):
            part = _polygons(shapely.intersection(degrees, _zone(zone, southern=southern)))
            if not part.is_empty:
                yield from _squares(zone, projected(part, _crs(zone, southern=southern), "area"), southern=southern)


def _squares(zone: int, part: BaseGeometry, *, southern: bool) -> Iterator[Square]:
    """Return the squares that share ground with the part of the area that lies in a zone, in its projection."""
    crs = _crs(zone, southern=southern)
    left, bottom, right, top = part.bounds
    shapely.prepare(part)
    for column in range(math.floor(left / SQUARE), math.floor(right / SQUARE) + 1):
        for row in range(math.floor(bottom / SQUARE), math.floor(top / SQUARE) + 1):
            easting, northing = column * SQUARE, row * SQUARE
            square = box(easting, northing, easting + SQUARE, northing + SQUARE)
            if _shares_ground(part, square):
                inside = _polygons(shapely.intersection(part, square)).representative_point()
                yield Square(_name(zone, crs, (easting, northing), (inside.x, inside.y)), crs, easting, northing)


def _name(zone: int, crs: str, corner: tuple[float, float], inside: tuple[float, float]) -> str:
    """Return a square's name: its letters by a point that lies in its zone, its band by its middle."""
    longitude, latitude = _to_degrees(crs).transform(*inside)
    letters = _library().toMGRS(latitude, longitude, MGRSPrecision=0)[3:]
    _, middle = _to_degrees(crs).transform(corner[0] + SQUARE / 2, corner[1] + SQUARE / 2)
    return f"{zone:02d}{_BANDS[min(max(int((middle - _SOUTHERN_END) // 8), 0), len(_BANDS) - 1)]}{letters}"


def _zone(zone: int, *, southern: bool) -> BaseGeometry:
    """Return what belongs to a zone, in degrees."""
    west = zone * 6 - 186
    usual = (west, west + 6)
    if southern:
        return box(west, _SOUTHERN_END, west + 6, 0)
    of_bands = (((0, 56), usual), ((56, 64), _WIDTH_OF_V.get(zone, usual)), ((64, 72), usual))
    of_all = (*of_bands, ((72, _NORTHERN_END), _WIDTH_OF_X.get(zone, usual)))
    return shapely.unary_union([box(ends[0], south, ends[1], north) for (south, north), ends in of_all if ends])


def _shares_ground(shape: BaseGeometry, tile: BaseGeometry) -> bool:
    """Tell whether two shapes have more in common than an edge."""
    return bool(shapely.intersects(shape, tile)) and not bool(shapely.touches(shape, tile))


def _polygons(shape: BaseGeometry) -> BaseGeometry:
    """Return the shape's polygons alone: cutting may leave lines and points of its edge."""
    parts = [part for part in shapely.get_parts(shape) if part.geom_type in ("Polygon", "MultiPolygon")]
    return shapely.unary_union(parts)


@functools.lru_cache(maxsize=8)
def _projected(degrees: BaseGeometry, crs: str, field: str) -> BaseGeometry:
    return degrees if degrees.is_empty else projected(degrees, crs, field)


@functools.cache
def _to_degrees(crs: str) -> Transformer:
    return Transformer.from_crs(crs, DEGREES, always_xy=True)


@functools.cache
def _library() -> mgrs.MGRS:
    return mgrs.MGRS()


def _crs(zone: int, *, southern: bool) -> str:
    return f"EPSG:{327 if southern else 326}{zone:02d}"
