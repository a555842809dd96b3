"""The tiles of a map and the frame of its mosaic: computed by `search`, read from its file by all other steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from landcover_jobs.configuration.map_configuration import MapConfiguration
from landcover_jobs.configuration.place import RegularGrid
from landcover_jobs.folder import MapFolder
from landcover_jobs.grid.frame import Frame, Tile
from landcover_jobs.grid.mgrs import mgrs_tiles
from landcover_jobs.grid.projection import bounds_in, crs_of, snapped
from landcover_jobs.grid.regular import regular_tiles
from landcover_jobs.job import StepError, read_json, write_json


def tiles_of(configuration: MapConfiguration) -> tuple[Tile, ...]:
    """Return the tiles that share ground with the map's area, cut at its bounds; always in the same order.

    Raises:
        StepError: the area does not fit into the grid; the sentence names the field.
    """
    grid = configuration.grid
    if isinstance(grid, RegularGrid):
        return regular_tiles(grid, configuration.area)
    return mgrs_tiles(grid, configuration.area)


def mosaic_frame(configuration: MapConfiguration, tiles: Sequence[Tile]) -> Frame:
    """Return the rectangle around all tiles: in their CRS, on their pixels; or in `product.crs` where that is another.

    In another CRS, pixels begin at multiples of the resolution, and the tiles must be resampled.

    Raises:
        StepError: there are no tiles, or they lie in several CRSs and `product.crs` is not given, or not in metres.
    """
    if not tiles:
        raise StepError("area: no tile of the grid lies in it")
    systems = sorted({tile.frame.crs for tile in tiles})
    wanted = configuration.product.crs
    if wanted is None and len(systems) > 1:
        raise StepError(
            f"product.crs: the tiles lie in {', '.join(systems)}; name the projection of the mosaic in product.crs,"
            " or only tiles of one zone in grid.tiles"
        )
    if wanted is None or systems == [wanted]:
        return _around(systems[0], tiles[0].frame.resolution, [tile.frame.bounds for tile in tiles], tiles[0].frame)
    if any(crs_of(each, "product.crs").is_projected != crs_of(wanted, "product.crs").is_projected for each in systems):
        raise StepError(f"product.crs: {wanted} and the tiles' {systems[0]} have different units; choose a projection")
    moved = [bounds_in(tile.frame.bounds, tile.frame.crs, wanted, "product.crs") for tile in tiles]
    return _around(wanted, tiles[0].frame.resolution, moved, None)


def write_tiles(folder: MapFolder, tiles: Sequence[Tile], frame: Frame) -> None:
    """Write the tiles and the mosaic's frame to `folder.tiles`."""
    listed = [{"name": tile.name, "frame": tile.frame.as_dict()} for tile in tiles]
    write_json(folder.tiles, {"tiles": listed, "frame": frame.as_dict()})


def read_tiles(folder: MapFolder) -> tuple[tuple[Tile, ...], Frame]:
    """Return the tiles, in the order of an array's elements, and the mosaic's frame.

    Raises:
        StepError: `search` has not run.
    """
    content: dict[str, Any] = read_json(folder.tiles, "search")
    tiles = tuple(Tile(each["name"], Frame(**each["frame"])) for each in content["tiles"])
    return tiles, Frame(**content["frame"])


def _around(
    crs: str, resolution: float, bounds: Sequence[tuple[float, float, float, float]], on: Frame | None
) -> Frame:
    """Return the frame around rectangles, on the pixels of a frame, or on multiples of the resolution."""
    origin_x, origin_y = (on.left, on.top) if on is not None else (0.0, 0.0)
    lefts, bottoms, rights, tops = zip(*bounds, strict=True)
    first_column, end_column = snapped(min(lefts), max(rights), origin_x, resolution)
    first_row, end_row = snapped(-max(tops), -min(bottoms), -origin_y, resolution)
    left, top = origin_x + first_column * resolution, origin_y - first_row * resolution
    return Frame(crs, left, top, resolution, end_row - first_row, end_column - first_column)
