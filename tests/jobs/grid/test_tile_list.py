"""The list of tiles and the mosaic's frame: computed once, the same when they are read again."""

import pytest
from landcover_jobs.configuration.reading import parse_map
from landcover_jobs.folder import MapFolder
from landcover_jobs.grid.tiles import mosaic_frame, read_tiles, tiles_of, write_tiles
from landcover_jobs.job import StepError

TWO_ZONES = {"bbox": [5.9, 50.6, 6.1, 50.7]}


def configured(area, grid, **product):
    """Return a map with this area and grid."""
    content = {
        "name": "here",
        "title": "Here",
        "area": area,
        "grid": grid,
        "years": {"first": 2020},
        "source": {"kind": "stac", "url": "https://example.org/stac", "collection": "scenes"},
        "bands": {"red": {}},
        "composites": {"cloud_mask": {"band": "SCL", "clear": [4]}},
        "classes": [
            {"value": 1, "name": "Land", "colour": "#000000"},
            {"value": 2, "name": "Water", "colour": "#0000ff"},
        ],
        "old_map": {"path": "/old.tif", "year": 2020, "legend": [{"becomes": 1, "values": [1]}]},
        "validation": {"block_size": 100},
        "product": product,
    }
    return parse_map(content, "here.yaml")


def test_what_is_written_is_read_again(tmp_path):
    """Names, frames and order."""
    configuration = configured({"bbox": [5.0, 50.8, 5.1, 50.85]}, {"kind": "mgrs"})
    tiles = tiles_of(configuration)
    frame = mosaic_frame(configuration, tiles)
    folder = MapFolder(tmp_path / "here")
    write_tiles(folder, tiles, frame)
    assert read_tiles(folder) == (tiles, frame)


def test_before_the_search_there_are_none(tmp_path):
    """The sentence says which step must run."""
    with pytest.raises(StepError, match="run the step `search` first"):
        read_tiles(MapFolder(tmp_path))


def test_the_frame_of_one_projection_has_the_tiles_pixels():
    """Overlapping tiles of one zone fit into the mosaic without resampling."""
    configuration = configured({"bbox": [4.3, 50.6, 4.6, 50.9]}, {"kind": "mgrs"})
    tiles = tiles_of(configuration)
    frame = mosaic_frame(configuration, tiles)
    assert len(tiles) == 2
    assert frame.crs == "EPSG:32631"
    for tile in tiles:
        window = frame.window_of(tile.frame)
        assert window.row >= 0
        assert window.column >= 0
        assert window.row + window.height <= frame.height
        assert window.column + window.width <= frame.width


def test_regular_tiles_fill_the_frame_exactly():
    """With overlap, too, the frame is the union of the tiles without it."""
    bounds = [5_262_400, 2_695_860, 5_263_400, 2_696_860]
    grid = {"kind": "regular", "crs": "EPSG:3035", "resolution": 20, "tile_pixels": 25, "overlap_pixels": 5}
    configuration = configured({"bounds": bounds}, grid)
    frame = mosaic_frame(configuration, tiles_of(configuration))
    assert list(frame.bounds) == bounds
    assert frame.shape == (50, 50)


def test_several_zones_need_a_projection():
    """The sentence names the field."""
    configuration = configured(TWO_ZONES, {"kind": "mgrs"})
    with pytest.raises(StepError, match=r"product\.crs: the tiles lie in EPSG:32631, EPSG:32632"):
        mosaic_frame(configuration, tiles_of(configuration))


def test_several_zones_are_covered_in_the_chosen_projection():
    """Pixels begin at multiples of the resolution, and no tile reaches out of the frame."""
    configuration = configured(TWO_ZONES, {"kind": "mgrs"}, crs="EPSG:3035")
    frame = mosaic_frame(configuration, tiles_of(configuration))
    assert frame.crs == "EPSG:3035"
    assert (frame.left % 10, frame.top % 10) == (0, 0)
    assert 14_000 < frame.width * 10 < 20_000
    assert 11_000 < frame.height * 10 < 17_000


def test_degrees_are_no_metres():
    """A resolution of 10 m would become one of 10 degrees."""
    configuration = configured(TWO_ZONES, {"kind": "mgrs"}, crs="EPSG:4326")
    with pytest.raises(StepError, match=r"product\.crs: EPSG:4326 .* different units"):
        mosaic_frame(configuration, tiles_of(configuration))
