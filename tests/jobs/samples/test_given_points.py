"""Given points: files that are right, rows that are wrong, and points where no samples can come from."""

import json

import numpy as np
import pytest
from landcover_jobs.grid.projection import DEGREES
from landcover_jobs.grid.tiles import read_tiles
from landcover_jobs.job import StepError
from landcover_jobs.samples.at_points import choose_at_points
from landcover_jobs.samples.given import NO_FOLD, read_points
from pyproj import Transformer

LEFT, TOP = 600_000.0, 5_100_000.0
TO_DEGREES = Transformer.from_crs("EPSG:32634", DEGREES, always_xy=True)


def degrees(row, column, *, part=0.5):
    """Return longitude and latitude of a place in a pixel of the whole area."""
    lon, lat = TO_DEGREES.transform(LEFT + (column + part) * 10.0, TOP - (row + 0.5) * 10.0)
    return float(lon), float(lat)


@pytest.fixture
def grid_of_points(truth):
    """Return rows (lon, lat, class value) of every fourth pixel, all of the right class."""
    values = (5, 1, 9)
    return [
        (*degrees(row, column), values[truth[row, column]])
        for row in range(1, truth.shape[0], 4)
        for column in range(2, truth.shape[1], 4)
    ]


def csv_of(path, rows, header="lon,lat,class"):
    """Write a CSV."""
    path.write_text("\n".join([header, *(",".join(str(each) for each in row) for row in rows)]) + "\n")
    return path


def choose(ground, path):
    """Choose as the step does."""
    tiles, mosaic = read_tiles(ground.folder)
    return choose_at_points(ground.folder, ground.map, tiles, mosaic, read_points(path, ground.map))


@pytest.fixture
def given_ground(ground, tmp_path):
    """Return the map, labelled by points instead of the old map."""
    ground.samples(given={"path": str(tmp_path / "points.csv"), "year": 2018}, least_of_class=1)
    return ground


def test_points_become_samples_of_their_pixels(given_ground, grid_of_points, tmp_path, truth):
    """Each point has the label given and the series of its pixel, in both tiles."""
    outcome = choose(given_ground, csv_of(tmp_path / "points.csv", grid_of_points))
    found = outcome.training_set
    assert len(found.labels) == len(grid_of_points)
    assert outcome.notes == ()
    row = np.floor((TOP - found.y) / 10).astype(int)
    column = np.floor((found.x - LEFT) / 10).astype(int)
    assert (found.labels == truth[row, column]).all()
    infrared = found.features[:, :, 1].mean(axis=1)
    assert np.abs(infrared - np.array([0.02, 0.30, 0.40])[found.labels]).max() < 0.03
    assert (np.diff(found.y) <= 0).all()


def test_classes_by_name_and_own_folds(given_ground, tmp_path):
    """Names do as well as values; a fold given is kept, an empty one computed."""
    rows = [(*degrees(10, 10), "Water", 2), (*degrees(30, 30), "Grass", ""), (*degrees(2, 50), 9, 1)]
    path = csv_of(tmp_path / "points.csv", rows, "lon,lat,class,fold")
    assert read_points(path, given_ground.map).folds.tolist() == [2, NO_FOLD, 1]
    found = choose(given_ground, path).training_set
    assert found.labels.tolist() == [2, 0, 1]
    assert found.folds[:2].tolist() == [1, 2]
    assert found.folds[2] in range(3)


def test_geojson_points(given_ground, tmp_path):
    """As QGIS writes them, with a third coordinate."""
    features = [
        {
            "type": "Feature",
            "properties": {"class": value, "fold": None},
            "geometry": {"type": "Point", "coordinates": [*degrees(row, column), 310.5]},
        }
        for row, column, value in ((10, 10, "5"), (30, 30, 1))
    ]
    path = tmp_path / "points.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    assert choose(given_ground, path).training_set.labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "lon,lat\n1,2\n",
            r"points\.csv: the columns lon, lat, class are wanted.*class is missing \(there are: lon, lat",
        ),
        ("", r"class are wanted.*there are: none"),
        ("lon,lat,class\n", r"points\.csv holds no points"),
        ("lon,lat,class\n22,46,5\n22,x,5\n", r"line 3: lat is 'x', not a number"),
        ("lon,lat,class\n22,nan,5\n", r"line 2: lat is 'nan', not a number"),
        ("lon,lat,class\n22,4600000,5\n", r"line 2: lon 22, lat 4.6e\+06 is nowhere: degrees"),
        (
            "lon,lat,class\n22,46,4\n",
            r"line 2: '4' is neither value nor name of a class; there are Water, Grass, Forest",
        ),
        ("lon,lat,class\n22,46\n", r"line 2: the row ends too early"),
        ("lon,lat,class,fold\n22,46,5,3\n", r"line 2: fold 3 is not one of 0 to 2"),
        ("lon,lat,class,fold\n22,46,5,0.5\n", r"line 2: fold 0\.5 is not one of 0 to 2"),
    ],
)
def test_wrong_rows_are_named(given_ground, tmp_path, text, message):
    """File, line and field."""
    path = tmp_path / "points.csv"
    path.write_text(text)
    with pytest.raises(StepError, match=message):
        read_points(path, given_ground.map)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "is no GeoJSON feature collection"),
        ("{", "is no GeoJSON feature collection"),
        ('{"features": [{"geometry": null}]}', "feature 1 has no point geometry"),
        (
            '{"features": [{"geometry": {"type": "MultiPoint", "coordinates": [[1, 2], [3, 4]]}}]}',
            "feature 1 is a Multi",
        ),
        ('{"features": [{"geometry": {"type": "Point", "coordinates": [1, 2]}}]}', "feature 1 has no property `class`"),
    ],
)
def test_wrong_geojson_is_named(given_ground, tmp_path, content, message):
    """File and feature."""
    path = tmp_path / "points.geojson"
    path.write_text(content)
    with pytest.raises(StepError, match=message):
        read_points(path, given_ground.map)


def test_a_missing_file_is_named(given_ground, tmp_path):
    """With what to do."""
    with pytest.raises(StepError, match=r"none\.csv are missing: put the file there"):
        read_points(tmp_path / "none.csv", given_ground.map)


def test_points_without_samples_are_counted_and_said(given_ground, prepare_again, grid_of_points, tmp_path):
    """Outside all tiles, never seen, twice in a pixel, and two classes in one pixel."""
    unseen = np.zeros((48, 80), dtype=bool)
    unseen[1, 2] = True
    prepare_again(given_ground, unseen=unseen)
    rows = [
        *grid_of_points,
        (10.0, 50.0, 5),
        (*degrees(5, 6, part=0.2), 5),  # again, in the same pixel
        (*degrees(9, 10, part=0.3), 1),  # a lake there, says another point
    ]
    outcome = choose(given_ground, csv_of(tmp_path / "points.csv", rows))
    total = len(rows)
    assert outcome.notes == (
        f"1 of {total} points lie outside all tiles: left out",
        f"1 of {total} points lie on pixels that 2018 never shows: left out",
        f"3 of {total} points share a pixel with another point: left out",
    )
    assert len(outcome.training_set.labels) == len(grid_of_points) - 2


def test_no_point_in_any_tile(given_ground, tmp_path):
    """Most often lon and lat are exchanged."""
    rows = [(lat, lon, 5) for lon, lat in (degrees(1, 1), degrees(30, 30))]
    with pytest.raises(StepError, match=r"none of the 2 given points lies in a tile"):
        choose(given_ground, csv_of(tmp_path / "points.csv", rows))


def test_a_class_with_too_few_points(given_ground, grid_of_points, tmp_path):
    """Dropped and named; with one class left nothing can be learnt; several trials would be equal."""
    path = csv_of(tmp_path / "points.csv", grid_of_points)
    given_ground.samples(least_of_class=40)
    outcome = choose(given_ground, path)
    assert [each.name for each in outcome.dropped] == ["Water"]
    assert set(outcome.training_set.labels.tolist()) == {1, 2}
    given_ground.samples(least_of_class=110)
    with pytest.raises(StepError, match="fewer than two classes have 110 points"):
        choose(given_ground, path)
    given_ground.samples(trials=2)
    with pytest.raises(StepError, match=r"samples\.trials is 2"):
        choose(given_ground, path)
