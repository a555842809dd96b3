"""The maps that ship: they can be read, survive their way to a job, and are what their comments say."""

import json
from pathlib import Path

import pytest
from landcover_jobs.configuration.catalogue import as_variable, read_maps
from landcover_jobs.configuration.reading import parse_map, read_map
from landcover_jobs.grid.tiles import mosaic_frame, tiles_of

MAPS = Path(__file__).parents[3] / "dags" / "landcover" / "maps"
FILES = sorted(MAPS.glob("*.yaml"))


def test_every_shipped_map_can_be_read():
    """There are some, and none has a problem."""
    maps = read_maps([MAPS])
    assert maps.problems == ()
    assert {"romania_valley", "flanders_fields"} <= {each.name for each in maps.found.values()}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_map_is_the_same_after_its_way_to_a_job(path):
    """From YAML to the DAG, to JSON in a variable, to the job."""
    configuration = read_map(path)
    again = parse_map(json.loads(as_variable(configuration)), "$LANDCOVER_MAP")
    assert again == configuration
    assert again.features == configuration.features
    assert parse_map(configuration.model_dump(mode="json"), path.name) == configuration


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_file_has_the_name_of_its_map(path):
    """Who looks for a DAG's map finds it."""
    assert read_map(path).name == path.stem


def test_the_valley_is_four_tiles():
    """50 x 50 pixels of 20 m, the frame of the images."""
    configuration = read_map(MAPS / "romania_valley.yaml")
    tiles = tiles_of(configuration)
    assert [tile.name for tile in tiles] == ["r0c0", "r0c1", "r1c0", "r1c1"]
    assert {tile.frame.shape for tile in tiles} == {(25, 25)}
    assert mosaic_frame(configuration, tiles).shape == (50, 50)
    assert configuration.features == ("B3", "B4", "B8A", "B11", "NDVI", "NDMI", "MNDWI", "NDWI")


def test_the_fields_lie_in_one_tile():
    """As its comments promise, without `grid.tiles` too."""
    configuration = read_map(MAPS / "flanders_fields.yaml")
    grid = configuration.grid.model_copy(update={"tiles": ()})
    (tile,) = tiles_of(configuration.model_copy(update={"grid": grid}))
    assert tile.name == "31UFS"
    assert tiles_of(configuration) == (tile,)
