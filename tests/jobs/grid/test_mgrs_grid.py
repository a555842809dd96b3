"""Sentinel-2 tiles: their corners as ESA has them, those that an area needs, and what of them is kept."""

import math

import pytest
from landcover_jobs.configuration.place import Area, MgrsGrid
from landcover_jobs.grid.mgrs import mgrs_tiles, square_of
from landcover_jobs.job import StepError

# Upper left corners as the tiles' own metadata and ESA's tiling grid have them.
CORNERS = {
    "32TQM": ("EPSG:32632", 699_960, 4_700_040),
    "32TQQ": ("EPSG:32632", 699_960, 5_000_040),
    "31TCJ": ("EPSG:32631", 300_000, 4_900_020),
    "31UFS": ("EPSG:32631", 600_000, 5_700_000),
    "32UPU": ("EPSG:32632", 600_000, 5_400_000),
    "22KGV": ("EPSG:32722", 699_960, 7_500_000),
    "21LYH": ("EPSG:32721", 699_960, 8_800_020),
}


@pytest.mark.parametrize("name", CORNERS)
def test_corners_are_those_of_the_tiling(name):
    """109.8 km from a corner that all resolutions share."""
    crs, left, top = CORNERS[name]
    square = square_of(name)
    assert (square.crs, square.upper_left) == (crs, (left, top))
    assert square.bounds == (left, top - 109_800, left + 109_800, top)


@pytest.mark.parametrize(("resolution", "pixels"), [(10, 10_980), (20, 5_490), (60, 1_830)])
def test_a_tile_that_lies_in_the_area_is_whole(resolution, pixels):
    """It has the pixels of Sentinel-2's own files."""
    (tile,) = mgrs_tiles(MgrsGrid(kind="mgrs", resolution=resolution, tiles=["31UFS"]), Area(bbox=(4, 50, 7, 52)))
    assert tile.name == "31UFS"
    assert tile.frame.shape == (pixels, pixels)
    assert (tile.frame.left, tile.frame.top) == (600_000, 5_700_000)


def test_a_tile_is_cut_at_the_area_on_its_own_pixels():
    """A small area is no reason to work on 120 million pixels."""
    (tile,) = mgrs_tiles(MgrsGrid(kind="mgrs"), Area(bbox=(5.0, 50.80, 5.1, 50.85)))
    assert tile.name == "31UFS"
    assert (tile.frame.left % 10, tile.frame.top % 10) == (0, 0)
    assert 690 < tile.frame.width < 730
    assert 550 < tile.frame.height < 600


def test_an_area_over_a_square_s_edge_needs_both_tiles():
    """Both reach over the edge, as far as they have pixels: 9.8 km."""
    west, east = mgrs_tiles(MgrsGrid(kind="mgrs"), Area(bbox=(4.3, 50.80, 4.7, 50.85)))
    assert [west.name, east.name] == ["31UES", "31UFS"]
    assert west.frame.bounds[2] == 609_780
    assert east.frame.bounds[0] == 600_000


def test_ground_that_tiles_share_is_worked_on_once():
    """The first 9.8 km of 31UFS are in 31UES, too; who wants both says so."""
    area = Area(bbox=(4.45, 50.80, 4.50, 50.85))
    assert [tile.name for tile in mgrs_tiles(MgrsGrid(kind="mgrs"), area)] == ["31UFS"]
    both = mgrs_tiles(MgrsGrid(kind="mgrs", tiles=["31UES", "31UFS"]), area)
    assert [tile.name for tile in both] == ["31UES", "31UFS"]


def test_an_area_over_two_zones_has_tiles_of_both():
    """At 6 degrees east zone 31 ends."""
    tiles = mgrs_tiles(MgrsGrid(kind="mgrs"), Area(bbox=(5.95, 50.6, 6.05, 50.65)))
    assert [tile.name for tile in tiles] == ["31UGS", "32UKB"]


def test_the_equator_is_no_gap():
    """Northern and southern tiles meet there."""
    tiles = mgrs_tiles(MgrsGrid(kind="mgrs", resolution=60), Area(bbox=(33.2, -0.3, 33.4, 0.3)))
    assert [(tile.name, tile.frame.crs) for tile in tiles] == [("36MWE", "EPSG:32736"), ("36NWF", "EPSG:32636")]
    north, south = tiles[1].frame.bounds[1], tiles[0].frame.bounds[3] - 10_000_000
    assert north < south


@pytest.mark.parametrize(
    ("longitude", "latitude", "name"),
    [
        (5.3, 60.35, "32VKM"),  # Bergen, in zone 31 by longitude
        (15.6, 78.2, "33XWG"),  # Longyearbyen
        (8.0, 78.5, "31XFH"),  # zone 32 by longitude, which has no band X
        (116.381, 39.977, "50TMK"),  # by position in band S, its square's middle in T
        (89.95, 23.80, "45QZG"),  # west of Dhaka; a part of the square lies in band R
        (12.45, 41.90, "33TTG"),  # Rome
        (1.44, 43.60, "31TCJ"),  # Toulouse
        (11.58, 48.14, "32UPU"),  # Munich
        (18.42, -33.92, "34HBH"),  # Cape Town
    ],
)
def test_places_lie_in_the_tiles_that_they_are_known_by(longitude, latitude, name):
    """Names of products that exist, at zones' exceptions and bands' edges above all."""
    area = Area(bbox=(longitude - 1e-3, latitude - 1e-3, longitude + 1e-3, latitude + 1e-3))
    assert [tile.name for tile in mgrs_tiles(MgrsGrid(kind="mgrs"), area)] == [name]


@pytest.mark.parametrize(
    ("tiles", "bbox", "words"),
    [
        (["31UFS"], (10, 50, 11, 51), "grid.tiles: 31UFS shares no ground"),
        (["31UAA"], (4, 50, 5, 51), "grid.tiles"),
        ([], (0, 86, 10, 88), "area: Sentinel-2 has no tiles there"),
    ],
)
def test_what_can_not_be_is_said_with_its_field(tiles, bbox, words):
    """The sentence begins with the field to change."""
    with pytest.raises(StepError, match=words.replace(".", r"\.")):
        mgrs_tiles(MgrsGrid(kind="mgrs", tiles=tiles), Area(bbox=bbox))


@pytest.mark.parametrize("latitude", [-79.0, -35.0, -0.5, 12.0, 45.5, 59.0, 71.0, 82.0])
@pytest.mark.parametrize("longitude", [-179.5, -60.2, 3.1, 100.7, 179.0])
def test_every_place_lies_in_a_tile(longitude, latitude):
    """Wherever Sentinel-2 has tiles, a small area is covered, in pixels that lie on multiples of 10 m."""
    reach = 0.01 / math.cos(math.radians(latitude))
    area = Area(bbox=(longitude - reach, latitude - 0.01, longitude + reach, latitude + 0.01))
    tiles = mgrs_tiles(MgrsGrid(kind="mgrs"), area)
    assert max(tile.frame.height for tile in tiles) >= 222
    assert max(tile.frame.width for tile in tiles) >= 222
    assert all(tile.frame.left % 10 == tile.frame.top % 10 == 0 for tile in tiles)
