"""Footprints in degrees, also where degrees begin anew."""

import pytest
from landcover_jobs.grid.frame import Frame
from landcover_jobs.scenes.footprint import around, footprint, touches


def test_a_frames_footprint_holds_its_edges():
    """The upper edge of a wide frame bends: it reaches farther north than its corners do."""
    frame = Frame("EPSG:3035", 3_000_000.0, 4_000_000.0, 1000.0, 100, 2600)
    _, _, _, north = footprint(frame)
    corners = [footprint(Frame("EPSG:3035", x, 4_000_000.0, 1.0, 1, 1))[3] for x in (3_000_000.0, 5_599_999.0)]
    assert north > max(corners) + 0.5


def test_a_frame_across_the_180th_meridian_has_its_west_in_the_east():
    """A tile of zone 1 that begins west of the meridian."""
    west, south, east, north = footprint(Frame("EPSG:32601", 199_980.0, 5_500_020.0, 10.0, 10_980, 10_980))
    assert west > 0 > east
    assert south < north
    assert touches((west, south, east, north), (179.9, 48.0, 179.95, 50.0))
    assert touches((west, south, east, north), (-179.9, 48.0, -179.0, 50.0))
    assert not touches((west, south, east, north), (0.0, 48.0, 10.0, 50.0))


def test_around_several_boxes():
    """The rectangle that holds all; with one across the meridian it goes the short way round."""
    assert around([(1.0, 2.0, 3.0, 4.0), (-5.0, 3.0, -4.0, 9.0)]) == (-5.0, 2.0, 3.0, 9.0)
    assert around([(179.0, 0.0, -179.0, 1.0), (177.0, 0.0, 178.0, 2.0)]) == pytest.approx((177.0, 0.0, -179.0, 2.0))


@pytest.mark.parametrize(
    ("other", "expected"),
    [((2, 2, 3, 3), False), ((1, 1, 2, 2), True), ((1.1, 0, 2, 1), False), ((0, 1.1, 1, 2), False)],
)
def test_boxes_touch_where_they_share_a_point(other, expected):
    """An edge, or a corner, is enough."""
    assert touches((0.0, 0.0, 1.0, 1.0), tuple(map(float, other))) is expected
