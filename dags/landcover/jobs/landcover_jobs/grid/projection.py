"""The map's area as a shape in degrees, and the same in a projection."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import shapely
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError, ProjError
from shapely.geometry import MultiPolygon, Polygon, box, shape
from shapely.geometry.base import BaseGeometry

from landcover_jobs.configuration.place import EAST_END, NORTH_END, Area
from landcover_jobs.grid.frame import PIXEL_TOLERANCE
from landcover_jobs.job import StepError

DEGREES = "OGC:CRS84"  # WGS 84, longitude first
# A straight edge of 0.02 degrees (2.2 km) bends by less than 0.1 m in a projection, well below any pixel.
_EDGE_DEGREES = 0.02
_EDGES_OF_A_SIDE = 50


def area_in_degrees(area: Area) -> BaseGeometry:
    """Return `bbox` or `geometry` as a valid shape in degrees.

    Raises:
        StepError: the geometry is no valid polygon in degrees.
    """
    if area.bbox is not None:
        return box(*area.bbox)
    try:
        found = shape(area.geometry)
    except (shapely.errors.ShapelyError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise StepError(f"area.geometry: it is no GeoJSON polygon: {error}") from error
    if not isinstance(found, Polygon | MultiPolygon) or found.is_empty:
        raise StepError(f"area.geometry: an empty {found.geom_type} covers nothing; draw a polygon with corners")
    if not found.is_valid:
        raise StepError(f"area.geometry: the polygon is not valid: {shapely.is_valid_reason(found)}")
    west, south, east, north = found.bounds
    if not box(-EAST_END, -NORTH_END, EAST_END, NORTH_END).contains(box(west, south, east, north)):
        raise StepError(f"area.geometry: {found.bounds} are no degrees; GeoJSON is longitude, latitude (WGS 84)")
    return found


def projected(degrees: BaseGeometry, crs: str, field: str) -> BaseGeometry:
    """Return a shape of degrees in a projection; `field` is the configuration's field that names the projection.

    Raises:
        StepError: there is no such CRS, or it does not reach so far.
    """
    dense = shapely.segmentize(degrees, _EDGE_DEGREES)
    moved = shapely.transform(dense, lambda points: _moved(points, DEGREES, crs, field))
    return moved if moved.is_valid else shapely.make_valid(moved)


def bounds_in(
    bounds: tuple[float, float, float, float], source: str, target: str, field: str
) -> tuple[float, float, float, float]:
    """Return left, bottom, right, top of a rectangle of one projection in another, its edges densified.

    Raises:
        StepError: there is no such CRS, or it does not reach so far.
    """
    side = max(bounds[2] - bounds[0], bounds[3] - bounds[1]) / _EDGES_OF_A_SIDE
    outline = shapely.get_coordinates(shapely.segmentize(box(*bounds), side))
    points = _moved(outline, source, target, field)
    (left, bottom), (right, top) = points.min(axis=0), points.max(axis=0)
    return float(left), float(bottom), float(right), float(top)


def crs_of(name: str, field: str) -> CRS:
    """Return a CRS by its name.

    Raises:
        StepError: the EPSG register has none of that number.
    """
    try:
        return CRS.from_user_input(name)
    except CRSError as error:
        raise StepError(f"{field}: {name} is no CRS that PROJ knows; look it up at epsg.io") from error


def snapped(low: float, high: float, origin: float, step: float) -> tuple[int, int]:
    """Return the first whole step and the one behind the last that cover low..high, counted from origin.

    A bound that is all but on a whole step is on it.
    """
    first, last = (low - origin) / step, (high - origin) / step
    return math.floor(first + PIXEL_TOLERANCE), math.ceil(last - PIXEL_TOLERANCE)


def _moved(points: npt.NDArray[np.float64], source: str, target: str, field: str) -> npt.NDArray[np.float64]:
    transformer = Transformer.from_crs(crs_of(source, field), crs_of(target, field), always_xy=True)
    try:
        x, y = transformer.transform(points[:, 0], points[:, 1], errcheck=True)
    except ProjError as error:
        raise StepError(f"{field}: the area does not fit into {target}: {error}") from error
    moved = np.stack([x, y], axis=1)
    if not np.isfinite(moved).all():
        raise StepError(f"{field}: the area does not fit into {target}; choose a projection made for the region")
    return moved
