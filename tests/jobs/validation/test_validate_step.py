"""The step `validate`: figures of known answer, fold by fold, at points; the gate; what is said of bad input."""

import json

import numpy as np
import pytest
from landcover_jobs.grid.folds import fold_of
from landcover_jobs.grid.frame import Frame, Window
from landcover_jobs.validation.class_map import ClassMap
from landcover_jobs.validation.gate import WORDS
from landcover_jobs.validation.labels import folds_of_window, matrices_by_fold, scores_by_fold
from landcover_jobs.validation.points import match_points
from pyproj import Transformer

VALUES = np.array([10, 20, 40])


def result_of(done) -> dict:
    """Return what a step that ended well has reported."""
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.rstrip().splitlines()[-1].partition("result ")[2])


def degrees(frame: Frame, rows, columns):
    """Return longitudes and latitudes of pixels' centres."""
    x, y = frame.left + (np.asarray(columns) + 0.5) * 20, frame.top - (np.asarray(rows) + 0.5) * 20
    return Transformer.from_crs(frame.crs, "OGC:CRS84", always_xy=True).transform(x, y)


def test_a_good_map_passes_and_is_judged_once(make, stripes):
    """Figures of the training year's better model decide; the map agrees with the old map but for 1 of 60 rows."""
    made = make()
    made.write_old_map(stripes)
    pixels = VALUES[stripes]
    pixels[0] = 10
    made.write_map(2018, pixels)
    first = result_of(made.validate(2018))
    assert (first["passed"], first["reasons"], first["by"], first["on"]) == (True, [], "cross_validation", "classes")
    assert first["overall_accuracy"] == pytest.approx(0.935)
    record = made.record(2018)
    assert set(record["cross_validation"]) == {"transformer", "random_forest"}
    beside = record["map_against_labels"]
    assert beside["all"]["classes"]["pixels"] == 60 * 80
    assert beside["all"]["classes"]["overall_accuracy"] == pytest.approx(1 - 60 / 4800)
    assert [each["fold"] for each in beside["by_fold"]] == [0, 1, 2, 3, 4]
    assert sum(each["classes"]["pixels"] for each in beside["by_fold"]) == 60 * 80
    assert record["areas"]["sample"] == "cross_validation"
    assert record["areas"]["classes"]["bare"]["mapped_pixels"] == 59 * 20
    assert any("not drawn at random" in note.replace("\n", " ") for note in record["notes"])
    assert result_of(made.validate(2018)) == first | {"reused": True}


def test_areas_are_those_of_the_sample_by_hand(make, stripes):
    """Of 480 samples mapped as forest 450 are, of 405 as grass 20 are: the forest is so many of the map's pixels."""
    made = make()
    made.write_old_map(stripes)
    made.write_map(2018, VALUES[stripes])
    result_of(made.validate(2018))
    forest = made.record(2018)["areas"]["classes"]["forest"]["area_hectares"]
    by_hand = 1200 * 450 / 480 + 2400 * 20 / 405
    assert forest["value"] == pytest.approx(by_hand * 0.04, abs=1e-5)
    assert forest["low"] < forest["value"] < forest["high"]


def test_a_poor_map_is_kept_and_a_person_is_asked(make, stripes):
    """The step ends well: its result says that the map does not pass, and why."""
    made = make(validation={"block_size": 200, "least_overall_accuracy": 0.97})
    made.write_old_map(stripes)
    made.write_map(2018, VALUES[stripes])
    result = result_of(made.validate(2018))
    assert not result["passed"]
    assert result["reasons"] == [
        f"overall accuracy of the classes is 0.9350 by {WORDS['cross_validation']}; 0.97 is the least",
    ]


def test_another_year_and_all_votes_are_said(make, stripes):
    """Where the figures do not mean what they seem to, a note says so; all models' vote is not compared at all."""
    made = make()
    made.write_old_map(stripes)
    made.write_map(2020, VALUES[stripes])
    result_of(made.validate(2020))
    notes = " ".join(made.record(2020)["notes"])
    assert "cross-validated on 2018" in notes
    assert "The old map is of 2018" in notes
    made = make(product={"vote": "all"})
    made.write_map(2018, VALUES[stripes])
    result_of(made.validate(2018))
    record = made.record(2018)
    assert record["map_against_labels"] is None
    assert "models drew pixels whose labels they had learnt" in " ".join(record["notes"])


def test_how_much_of_the_change_may_be_error_is_said(make, stripes):
    """Maps right in 93.5 % of the pixels differ in up to 12.6 % by error alone; here 10 % differ."""
    made = make()
    made.write_old_map(stripes)
    change = {"changed_pixels": 400, "below_least_pixels": 80, "unchanged_pixels": 4320}
    made.write_map(2019, VALUES[stripes], previous={"year": 2018, "version": "v1-aa"}, change=change)
    result_of(made.validate(2019))
    (note,) = [each for each in made.record(2019)["notes"] if "another class" in each]
    assert note.startswith("10.0% of the pixels have another class than on the map of 2018.")
    assert "right in 93.5% of the pixels differ in up to 12.6% where nothing has changed" in note


def test_points_decide_where_there_are_any(make, stripes):
    """Ten points, two of them wrong and two off the map: 0.75, below the bar; classes by value and by name."""
    made = make(validation={"block_size": 200, "least_overall_accuracy": 0.9, "points": "{data}/points.csv"})
    made.write_old_map(stripes)
    pixels = VALUES[stripes]
    pixels[50:, :10] = 0
    made.write_map(2018, pixels)
    rows, columns = [5, 15, 25, 35, 5, 15, 25, 35, 55, -40], [5, 6, 7, 8, 30, 31, 70, 71, 5, 5]
    made.write_points(rows, columns, ["forest", 10, 10, "grass", 20, "bare", 40, 40, 10, 10])
    result = result_of(made.validate(2018))
    assert (result["passed"], result["by"]) == (False, "points")
    assert result["overall_accuracy"] == pytest.approx(6 / 8)
    points = made.record(2018)["points"]
    assert [points[name] for name in ("points", "judged", "outside", "no_data", "window_pixels")] == [10, 8, 1, 1, 1]
    assert points["classes"]["confusion_rows_map_columns_reference"] == [[3, 1, 0], [0, 1, 1], [0, 0, 2]]
    assert made.record(2018)["areas"]["sample"] == "points"
    assert any(
        "1 points lie outside the map and 1 where it has no class" in each for each in made.record(2018)["notes"]
    )


@pytest.mark.parametrize(("window", "right"), [(1, 0), (3, 1), (5, 2)])
def test_a_point_is_right_where_its_class_is_in_the_window(make, stripes, window, right):
    """Grass begins at column 20: points of grass at columns 19 and 18 are right within 3 and 5 pixels."""
    made = make()
    path = made.write_map(2018, VALUES[stripes])
    lon, lat = degrees(made.frame, [30, 30, 0], [19, 18, 0])
    with ClassMap.opened(path, made.frame, (10, 20, 40)) as classes:
        found = match_points(classes, lon=lon, lat=lat, labels=np.array([1, 1, 2]), window_pixels=window)
    assert np.trace(found.within_window) == right
    assert found.at_centre.tolist() == [[0, 2, 1], [0, 0, 0], [0, 0, 0]]


def test_points_that_all_miss_the_map_do_not_pass(make, stripes):
    """Nothing measured is no success."""
    made = make(validation={"block_size": 200, "least_overall_accuracy": 0, "points": "{data}/points.csv"})
    made.write_old_map(stripes)
    made.write_map(2018, VALUES[stripes])
    made.write_points(np.array([-40, -41]), np.array([5, 5]), [10, 20])
    result = result_of(made.validate(2018))
    assert not result["passed"]
    assert result["reasons"] == ["nothing could be measured by independent points"]


def test_folds_of_the_map_are_those_of_the_samples(make, stripes):
    """The matrix of a fold counts the pixels of its blocks and no others, whichever blocks the file is read in."""
    made = make()
    x = made.frame.left + (np.arange(80) + 0.5) * 20
    y = made.frame.top - (np.arange(60) + 0.5) * 20
    expected = fold_of(x[None, :], y[:, None], block_size=200, folds=5)
    window = Window(7, 11, 40, 60)
    assert np.array_equal(folds_of_window(made.frame, window, block_size=200, folds=5), expected[window.slices])
    pixels = np.where(expected == 3, 20, VALUES[stripes])
    pixels[5, 5] = 0
    path = made.write_map(2018, pixels)
    reference = stripes.copy()
    reference[9, 9] = -1
    with ClassMap.opened(path, made.frame, (10, 20, 40)) as classes:
        matrices = matrices_by_fold(classes, lambda _frame: reference, made.configuration)
    known = (pixels > 0) & (reference >= 0)
    for fold in range(5):
        assert matrices[fold].sum() == (known & (expected == fold)).sum()
    scores = scores_by_fold(matrices, made.configuration)
    for fold in (0, 1, 2, 4):
        assert scores["by_fold"][fold]["classes"]["overall_accuracy"] == 1
    assert scores["by_fold"][3]["classes"]["overall_accuracy"] < 0.7


def spoil_mosaic(made):
    """Take the map's record away."""
    (made.folder.mosaic(2018) / "mosaic.json").unlink()
    return "run the step `mosaic` first"


def spoil_classes(made):
    """Let the map be no raster."""
    (made.folder.mosaic(2018) / "classes.tif").write_bytes(b"no raster")
    return "are not those that it tells of: run the step `mosaic` again"


def spoil_models(made):
    """Let the map be by other models."""
    made.write_map(2018, np.full((60, 80), 10), models="m0")
    return "the map of 2018 is by transformer m0, but the current models are transformer m1"


def spoil_values(made):
    """Let the map hold a value of no class."""
    made.write_map(2018, np.full((60, 80), 77))
    return "holds the value 77, which is no class of the map"


def spoil_old_map(made):
    """Take the old map away."""
    (made.folder.root / "old.tif").unlink()
    return "old.tif is missing"


@pytest.mark.parametrize("spoil", [spoil_mosaic, spoil_classes, spoil_models, spoil_values, spoil_old_map])
def test_what_cannot_be_judged_is_said(make, stripes, spoil):
    """The file and the step to run; no figures."""
    made = make()
    made.write_old_map(stripes)
    made.write_map(2018, VALUES[stripes])
    sentence = spoil(made)
    done = made.validate(2018)
    assert done.returncode == 1
    assert sentence in done.stdout
    assert "Traceback" not in done.stderr
    assert not made.folder.validation(2018).exists()


def test_training_samples_are_no_independent_points(make, stripes):
    """The same file as samples and as points to judge by is refused."""
    points = {"block_size": 200, "points": "{data}/points.csv"}
    made = make(validation=points, samples={"given": {"path": "{data}/samples.csv", "year": 2018}})
    made.write_old_map(stripes)
    made.write_map(2018, VALUES[stripes])
    for name in ("points.csv", "samples.csv"):
        made.write_points(np.array([5, 15]), np.array([5, 5]), [10, 20], name)
    done = made.validate(2018)
    assert done.returncode == 1
    assert "points of samples.given, so they are not independent" in done.stdout


def test_missing_points_are_said(make, stripes):
    """The field and the path."""
    made = make(validation={"block_size": 200, "points": "{data}/points.csv"})
    made.write_old_map(stripes)
    made.write_map(2018, VALUES[stripes])
    done = made.validate(2018)
    assert done.returncode == 1
    assert "validation.points" in done.stdout
    assert "points.csv is missing" in done.stdout
