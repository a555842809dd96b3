"""Wrong maps: each wrong field gives a line with the file, the field, and what is allowed there."""

import copy
import json
from pathlib import Path

import pytest
import yaml
from landcover_jobs.configuration.catalogue import MOST_BYTES, as_variable, read_maps
from landcover_jobs.configuration.reading import ConfigurationError, parse_map, read_map

MAPS = Path(__file__).parents[3] / "dags" / "landcover" / "maps"
GOOD = yaml.safe_load((MAPS / "flanders_fields.yaml").read_text(encoding="utf-8"))
REMOVED = object()


def changed(**fields):
    """Return the good map with other values; `a__b` is the field b of a, REMOVED takes it out."""
    content = copy.deepcopy(GOOD)
    for path, value in fields.items():
        place = content
        *before, last = (int(part) if part.isdigit() else part for part in path.split("__"))
        for part in before:
            place = place[part]
        if value is REMOVED:
            del place[last]
        else:
            place[last] = value
    return content


def complaint(content):
    """Return what is said of a map."""
    with pytest.raises(ConfigurationError) as caught:
        parse_map(content, "my.yaml")
    return str(caught.value).splitlines()


def test_the_map_that_the_others_are_made_from_is_right():
    """Else each test below would pass for another reason."""
    assert parse_map(changed(), "my.yaml").name == "flanders_fields"


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"name": "Flanders"}, "name", "given: 'Flanders'"),
        ({"name": REMOVED}, "name", "missing"),
        ({"title": ""}, "title", "at least 1 character"),
        ({"colour": "red"}, "colour", "no such field"),
        ({"area": {}}, "area", "give one of bbox, bounds, geojson"),
        ({"area": {"bbox": [1, 2, 3, 4], "bounds": [1, 2, 3, 4]}}, "area", "given: bbox, bounds"),
        ({"area__bbox": [5, 50, 4, 51]}, "area.bbox", "west < east"),
        ({"area__bbox": [5, 50, 6]}, "area.bbox.3", "missing"),
        ({"area": {"bounds": [3, 4, 1, 2]}}, "area.bounds", "left < right"),
        ({"area": {"geometry": {"type": "Point", "coordinates": [4, 50]}}}, "area.geometry", "'Point'"),
        ({"area": {"bounds": [1, 2, 3, 4]}}, "area.bounds", "give bbox or geojson with mgrs"),
        ({"grid__kind": "hexagons"}, "grid.kind", "'regular', 'mgrs'"),
        ({"grid__resolution": 30}, "grid.resolution", "10, 20 or 60"),
        ({"grid__tiles": ["31UFI"]}, "grid.tiles.0", "given: '31UFI'"),
        (
            {"grid": {"kind": "regular", "crs": "3035", "resolution": 10, "tile_pixels": 64}},
            "grid.crs",
            "given: '3035'",
        ),
        (
            {"grid": {"kind": "regular", "crs": "EPSG:3035", "resolution": 0, "tile_pixels": 64}},
            "grid.resolution",
            "greater than 0",
        ),
        ({"years__last": 2000}, "years", "last (2000) is before first (2021)"),
        ({"source__kind": "ftp"}, "source.kind", "'stac', 'folder', 'romania'"),
        ({"source__url": "earth-search"}, "source.url", "given: 'earth-search'"),
        ({"source__max_cloud_percent": 101}, "source.max_cloud_percent", "given: 101"),
        ({"source__transfer__at_once": 0}, "source.transfer.at_once", "given: 0"),
        (
            {"source": {"kind": "folder", "path": "/a", "pattern": "x.tif"}},
            "source",
            "pattern: {date} and {band} must be in it",
        ),
        ({"source": {"kind": "romania"}}, "source", "need a regular grid"),
        ({"bands": {}}, "bands", "at least 1"),
        ({"bands__B02__scale": 0}, "bands.B02.scale", "given: 0"),
        ({"bands__scl": {}}, "bands", "scl is the cloud mask's band"),
        ({"composites__period": "week"}, "composites.period", "'month' or 'ten_days'"),
        (
            {"composites__cloud_mask__clouded_bits": [3]},
            "composites.cloud_mask",
            "either clear (values) or clouded_bits",
        ),
        ({"composites__indices__NDVI": ["B08", "red"]}, "composites.indices.NDVI", "no band 'red'"),
        ({"composites__indices__B02": ["B08", "B04"]}, "composites.indices.B02", "a band has the same name"),
        ({"classes__0__value": 0}, "classes.0.value", "given: 0"),
        ({"classes__0__value": 30}, "classes", "the value 30 is there twice"),
        ({"classes__0__name": "Cropland"}, "classes", "the name 'Cropland' is there twice"),
        ({"classes__0__colour": "green"}, "classes.0.colour", "given: 'green'"),
        ({"old_map": REMOVED}, "", "give old_map, or samples.given"),
        ({"old_map__legend__0__becomes": 11}, "old_map.legend", "becomes 11"),
        ({"old_map__legend__0": {"becomes": 10}}, "old_map.legend.0", "give values, or between"),
        ({"old_map__legend__0": {"becomes": 10, "between": [9, 1]}}, "old_map.legend.0", "9 is more than 1"),
        ({"samples__keep_clusters": 9}, "samples", "keep_clusters (9) is more than clusters (4)"),
        ({"model__kinds": ["forest"]}, "model.kinds.0", "'transformer', 'random_forest' or 'gradient_boosting'"),
        ({"model__transformer": {"width": 20, "heads": 4}}, "model.transformer", "multiple of twice the heads"),
        ({"tuning__when": "always"}, "tuning.when", "'never', 'once' or 'changed'"),
        ({"validation__block_size": REMOVED}, "validation.block_size", "missing"),
        ({"validation__groups": {"Green": [10, 30]}}, "validation.groups", "each class must be in exactly one group"),
        ({"validation__least_overall_accuracy": 85}, "validation.least_overall_accuracy", "given: 85"),
        ({"validation__approval_timeout_hours": 1e9}, "validation.approval_timeout_hours", "given: 1000000000.0"),
        ({"product__crs": "WGS84"}, "product.crs", "given: 'WGS84'"),
        ({"schedule__month": 13}, "schedule.month", "given: 13"),
        ({"resources__prepair": {}}, "resources.prepair", "'search', 'fetch', 'prepare'"),
        ({"resources__train__memory": "8 GB"}, "resources.train.memory", "given: '8 GB'"),
        ({"resources__train__time_limit": "soon"}, "resources.train.time_limit", "given: 'soon'"),
        ({"old_map__path": "/a\n#SBATCH --x"}, "old_map.path", "given: "),
    ],
)
def test_a_wrong_field_has_a_line_of_its_own(fields, field, words):
    """`my.yaml: field: what is allowed (given: ...)`, and nothing about the other fields."""
    (line,) = complaint(changed(**fields))
    assert line.startswith(f"my.yaml: {field}: " if field else "my.yaml: ")
    assert words in line


def test_all_wrong_fields_are_named_at_once():
    """Nobody wants to learn of them one by one."""
    lines = complaint(changed(title="", years__first=3, resources__train__memory="lots"))
    assert [line.split(": ")[1] for line in lines] == ["title", "years.first", "resources.train.memory"]


@pytest.mark.parametrize("text", ["a: [", "- a list", "", "\x00"])
def test_what_is_no_map_at_all(tmp_path, text):
    """The file is named."""
    path = tmp_path / "odd.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"odd\.yaml"):
        read_map(path)


def test_a_file_that_is_not_there(tmp_path):
    """The same."""
    with pytest.raises(ConfigurationError, match=r"gone\.yaml"):
        read_map(tmp_path / "gone.yaml")


POLYGON = {"type": "Polygon", "coordinates": [[[5.0, 50.8], [5.1, 50.8], [5.1, 50.9], [5.0, 50.8]]]}


@pytest.mark.parametrize(
    "content",
    [
        POLYGON,
        {"type": "Feature", "properties": {}, "geometry": POLYGON},
        {"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {}, "geometry": POLYGON}]},
    ],
)
def test_an_area_is_taken_in_from_its_file(tmp_path, content):
    """The jobs get the whole map in one variable, without a file beside it."""
    (tmp_path / "area.json").write_text(json.dumps(content), encoding="utf-8")
    (tmp_path / "map.yaml").write_text(yaml.safe_dump(changed(area={"geojson": "area.json"})), encoding="utf-8")
    assert read_map(tmp_path / "map.yaml").area.geometry == POLYGON


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "area.geojson"),
        ("{", "area.geojson"),
        ("[]", "area.json is no GeoJSON"),
        ('{"type": "FeatureCollection", "features": []}', "has 0 features; one is wanted"),
        ('{"type": "LineString", "coordinates": []}', "area.geometry: a GeoJSON geometry of type Polygon"),
    ],
)
def test_an_area_file_that_is_wrong(tmp_path, content, words):
    """The map's file and the field are named."""
    if content is not None:
        (tmp_path / "area.json").write_text(content, encoding="utf-8")
    path = tmp_path / "map.yaml"
    path.write_text(yaml.safe_dump(changed(area={"geojson": "area.json"})), encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        read_map(path)
    assert str(caught.value).startswith(f"{path}: area")
    assert words in str(caught.value)


def write(folder, name, **fields):
    """Write a map's file."""
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(changed(**{"name": name, **fields})), encoding="utf-8")


def test_a_wrong_file_leaves_the_others(tmp_path):
    """Of a folder's maps those that are right are there, whatever the others are."""
    write(tmp_path, "good")
    write(tmp_path, "bad", title="")
    maps = read_maps([tmp_path, tmp_path / "gone"])
    assert [each.name for each in maps.found.values()] == ["good"]
    assert len(maps.problems) == 2
    assert maps.problems[0].startswith(f"{tmp_path / 'bad.yaml'}: title: ")
    assert maps.problems[1] == f"{tmp_path / 'gone'}: there is no such folder of maps"


def test_names_are_given_once(tmp_path):
    """Two DAGs of one name would overwrite each other."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder, "same")
    write(tmp_path / "b", "same_rollback")
    maps = read_maps([tmp_path / "a", tmp_path / "b"])
    assert list(maps.found) == [tmp_path / "a" / "same.yaml"]
    assert "name: 'same' is the map of" in maps.problems[0]
    assert "can't end in _rollback" in maps.problems[1]


def test_a_map_that_is_too_large_for_a_variable_is_refused(tmp_path):
    """Linux would refuse to start the job's programs."""
    ring = [[5.123456789 + number * 1e-6, 50.123456789] for number in range(4000)]
    polygon = {"type": "Polygon", "coordinates": [[*ring, [5.0, 51.0], ring[0]]]}
    (tmp_path / "long.json").write_text(json.dumps(polygon), encoding="utf-8")
    write(tmp_path, "long", area={"geojson": "long.json"})
    maps = read_maps([tmp_path])
    assert maps.found == {}
    assert f"at most {MOST_BYTES // 1024} KiB go with a job" in maps.problems[0]


def test_no_template_begins_in_the_variable():
    """What Airflow would render as a template stays what the file says."""
    text = "{{ 1 + 1 }} {% raw %} {# note #} {date}"
    configuration = parse_map(changed(description=text), "my.yaml")
    variable = as_variable(configuration)
    assert not any(sign in variable for sign in ("{{", "{%", "{#"))
    assert parse_map(json.loads(variable), "$LANDCOVER_MAP") == configuration
