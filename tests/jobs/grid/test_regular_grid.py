"""Regular tiles: they cover the area, share pixels, are cut at the area's bounds, overlap, and have stable names."""

import numpy as np
import pytest
import shapely
from landcover_jobs.configuration.place import Area, RegularGrid
from landcover_jobs.grid.projection import area_in_degrees, projected
from landcover_jobs.grid.regular import regular_tiles
from landcover_jobs.job import StepError

VALLEY = (5_262_400.0, 2_695_860.0, 5_263_400.0, 2_696_860.0)


def grid(**fields):
    """Return a grid of 20 m in Europe's equal-area projection."""
    return RegularGrid(**{"kind": "regular", "crs": "EPSG:3035", "resolution": 20, "tile_pixels": 25, **fields})


def covered(tiles):
    """Return the rectangle around all tiles and how often each of its pixels lies in one."""
    lefts, bottoms, rights, tops = zip(*(tile.frame.bounds for tile in tiles), strict=True)
    left, top, step = min(lefts), max(tops), tiles[0].frame.resolution
    count = np.zeros((round((top - min(bottoms)) / step), round((max(rights) - left) / step)), dtype=int)
    for tile in tiles:
        row, column = round((top - tile.frame.top) / step), round((tile.frame.left - left) / step)
        count[row : row + tile.frame.height, column : column + tile.frame.width] += 1
    return (left, min(bottoms), max(rights), top), count


def test_bounds_on_the_pixel_grid_are_the_frame():
    """50 x 50 pixels from the grid's origin are four tiles of 25, neither more nor less."""
    tiles = regular_tiles(grid(origin=(VALLEY[0], VALLEY[3])), Area(bounds=VALLEY))
    assert [tile.name for tile in tiles] == ["r0c0", "r0c1", "r1c0", "r1c1"]
    assert {tile.frame.shape for tile in tiles} == {(25, 25)}
    around, count = covered(tiles)
    assert around == VALLEY
    assert (count == 1).all()


def test_bounds_across_tiles_of_another_origin_are_still_the_frame():
    """The names count from the origin; what lies outside the bounds is cut off."""
    tiles = regular_tiles(grid(), Area(bounds=VALLEY))
    around, count = covered(tiles)
    assert around == VALLEY
    assert (count == 1).all()
    first = tiles[0]
    row, column = (int(each) for each in first.name[1:].split("c"))
    assert -row * 500 - 500 < first.frame.top <= -row * 500
    assert column * 500 <= first.frame.left < column * 500 + 500


def test_bounds_smaller_than_a_tile_are_one_tile():
    """No pixels are made that nobody asked for."""
    (tile,) = regular_tiles(grid(tile_pixels=1024, origin=(VALLEY[0], VALLEY[3])), Area(bounds=VALLEY))
    assert tile.frame.bounds == VALLEY
    assert tile.frame.shape == (50, 50)


def test_bounds_between_pixels_are_snapped_outward():
    """A pixel that the area touches is whole in the map; a millionth of a pixel beside the edge is on it."""
    area = Area(bounds=(VALLEY[0] + 3, VALLEY[1] - 3, VALLEY[2] + 1e-6, VALLEY[3] - 1e-6))
    around, _ = covered(regular_tiles(grid(origin=(VALLEY[0], VALLEY[3])), area))
    assert around == (VALLEY[0], VALLEY[1] - 20, VALLEY[2], VALLEY[3])


def test_tiles_reach_over_their_edges_but_not_out_of_the_map():
    """The overlap is on the inner edges alone."""
    tiles = regular_tiles(grid(origin=(VALLEY[0], VALLEY[3]), overlap_pixels=4), Area(bounds=VALLEY))
    around, count = covered(tiles)
    assert around == VALLEY
    assert {tile.frame.shape for tile in tiles} == {(29, 29)}
    assert (count[21:29, 21:29] == 4).all()
    assert (count[:21, :21] == 1).all()


def test_a_larger_area_leaves_inner_tiles_as_they_are():
    """Names and frames depend on the origin; what was computed for a tile counts further on."""
    small, large = (
        {tile.name: tile.frame for tile in regular_tiles(grid(), Area(bounds=bounds))}
        for bounds in ((5_262_000, 2_695_000, 5_264_000, 2_697_000), (5_261_000, 2_695_000, 5_265_000, 2_698_000))
    )
    assert set(small) < set(large)
    assert all(large[name] == frame for name, frame in small.items())


def test_only_tiles_that_share_ground_with_a_polygon_are_there():
    """A triangle in degrees needs about half of the tiles of its bounding box, none that it only touches."""
    triangle = {"type": "Polygon", "coordinates": [[[25.0, 46.0], [25.2, 46.0], [25.0, 46.2], [25.0, 46.0]]]}
    area = Area(geometry=triangle)
    tiles = regular_tiles(grid(tile_pixels=50), area)
    shape = projected(area_in_degrees(area), "EPSG:3035", "grid.crs")
    boxes = [shapely.box(*tile.frame.bounds) for tile in tiles]
    assert all(shape.intersection(each).area > 0 for each in boxes)
    assert shapely.unary_union(boxes).buffer(1e-3).covers(shape)
    left, bottom, right, top = shape.bounds
    assert len(tiles) < 0.75 * (right - left) * (top - bottom) / 1000**2


def test_a_bbox_in_degrees_is_covered_to_its_bent_edges():
    """A straight parallel is no straight line in the projection: its middle lies 60 m off the corners' line here."""
    area = Area(bbox=(4.0, 50.8, 5.0, 50.9))
    shape = projected(area_in_degrees(area), "EPSG:3035", "grid.crs")
    tiles = regular_tiles(grid(tile_pixels=512), area)
    assert shapely.unary_union([shapely.box(*tile.frame.bounds) for tile in tiles]).buffer(1e-3).covers(shape)
    corners = shapely.transform(area_in_degrees(area), lambda points: points)
    bent = projected(shapely.Polygon(corners.exterior.coords), "EPSG:3035", "grid.crs")
    assert bent.area == pytest.approx(shape.area)
    assert len(shape.exterior.coords) > 50


@pytest.mark.parametrize(
    ("fields", "area", "words"),
    [
        ({"crs": "EPSG:999999"}, {"bounds": VALLEY}, "grid.crs: EPSG:999999"),
        ({"crs": "EPSG:999999"}, {"bbox": (4, 50, 5, 51)}, "grid.crs: EPSG:999999"),
        ({"tile_pixels": 8}, {"bbox": (0, 40, 20, 60)}, "grid.tile_pixels: the area's bounds hold"),
        (
            {},
            {"geometry": {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]}},
            "area.geometry: the polygon is not valid",
        ),
        (
            {},
            {"geometry": {"type": "Polygon", "coordinates": [[[700000, 0], [700001, 1], [700001, 0], [700000, 0]]]}},
            "no degrees",
        ),
        ({}, {"geometry": {"type": "Polygon", "coordinates": []}}, "area.geometry: an empty"),
        ({}, {"geometry": {"type": "Polygon"}}, "area.geometry: it is no GeoJSON polygon"),
        ({}, {"geometry": {"type": "Polygon", "coordinates": [["a"]]}}, "area.geometry: it is no GeoJSON polygon"),
    ],
)
def test_what_can_not_be_is_said_with_its_field(fields, area, words):
    """The sentence begins with the field to change."""
    with pytest.raises(StepError, match=words.replace(".", r"\.")):
        regular_tiles(grid(**fields), Area(**area))
