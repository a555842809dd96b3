"""How much of each file is fetched: all, or only the rectangle around the map's tiles."""

from __future__ import annotations

from collections.abc import Sequence

from landcover_jobs.configuration.images import StacSource
from landcover_jobs.configuration.map_configuration import MapConfiguration
from landcover_jobs.grid.frame import Tile
from landcover_jobs.scenes.footprint import Bbox, around, footprint

# About 0.1 m: the same area has the same window, however its projection has been computed.
DIGITS = 6


def window_of(configuration: MapConfiguration, tiles: Sequence[Tile]) -> Bbox | None:
    """Return the rectangle of degrees that is wanted of each file, None where files are fetched whole."""
    source = configuration.source
    if not isinstance(source, StacSource) or source.transfer.mode == "whole":
        return None
    west, south, east, north = (round(each, DIGITS) for each in around([footprint(tile.frame) for tile in tiles]))
    return west, south, east, north
