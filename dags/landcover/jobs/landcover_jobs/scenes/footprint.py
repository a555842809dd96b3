"""Footprints in degrees: of frames and scenes, and whether they touch; also across the 180th meridian (west > east)."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from pyproj import Transformer

from landcover_jobs.grid.frame import Frame
from landcover_jobs.scenes.inventory import Scene

Bbox = tuple[float, float, float, float]  # west, south, east, north

DEGREES = "OGC:CRS84"
# The edges of a rectangle bend in degrees; so many points between two corners are looked at.
EDGE_POINTS = 21


@functools.lru_cache(maxsize=64)
def _to_degrees(crs: str) -> Transformer:
    return Transformer.from_crs(crs, DEGREES, always_xy=True)


@functools.lru_cache(maxsize=4096)
def footprint(frame: Frame) -> Bbox:
    """Return the rectangle of degrees that holds a frame."""
    west, south, east, north = _to_degrees(frame.crs).transform_bounds(*frame.bounds, densify_pts=EDGE_POINTS)
    return west, south, east, north


def around(boxes: Sequence[Bbox]) -> Bbox:
    """Return the rectangle of degrees that holds several; it crosses the 180th meridian where one of them does."""
    wests, souths, easts, norths = zip(*boxes, strict=True)
    if all(west <= east for west, east in zip(wests, easts, strict=True)):
        return min(wests), min(souths), max(easts), max(norths)
    west, east = min(each % 360 for each in wests), max(each % 360 for each in easts)
    return _signed(west), min(souths), _signed(east), max(norths)


def touches(one: Bbox, other: Bbox) -> bool:
    """Tell whether two rectangles of degrees have a point in common."""
    if one[1] > other[3] or other[1] > one[3]:
        return False
    return any(
        west <= other_east and other_west <= east
        for west, east in _spans(one)
        for other_west, other_east in _spans(other)
    )


def touching(scenes: Sequence[Scene], frame: Frame) -> list[Scene]:
    """Return the scenes that may show some of a frame, in their order."""
    box = footprint(frame)
    return [scene for scene in scenes if touches(scene.bbox, box)]


def _spans(box: Bbox) -> list[tuple[float, float]]:
    west, _, east, _ = box
    return [(west, east)] if west <= east else [(west, 180.0), (-180.0, east)]


def _signed(longitude: float) -> float:
    return (longitude + 180) % 360 - 180
