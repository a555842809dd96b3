"""The step `classify`: who judges which pixel, what is kept, and what happens when it is killed."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import rasterio
from landcover_jobs.grid.folds import fold_of
from landcover_jobs.grid.frame import Frame
from landcover_jobs.job import StepError, write_json
from pyproj import Transformer

YEAR, EDGE, CLASSES, FOLDS, TRIALS = 2019, 40, 3, 3, 3


@pytest.fixture
def made(small_map):
    """Return a small map, ready to be classified."""
    return small_map()


def predictions(made, tile=0):
    """Return a tile's file as an array (band, y, x)."""
    with rasterio.open(made.folder.predictions(YEAR, made.tiles[tile].name)) as file:
        return file.read()


def folds_of(made, tile):
    """Return the fold of each of a tile's pixels, where their centres lie in the mosaic's projection."""
    frame = tile.frame
    rows, columns = np.indices(frame.shape)
    x, y = rasterio.transform.xy(frame.transform, rows.ravel(), columns.ravel())
    x, y = Transformer.from_crs(frame.crs, made.mosaic.crs, always_xy=True).transform(x, y)
    return fold_of(np.array(x), np.array(y), block_size=made.configuration.validation.block_size, folds=FOLDS)


def expected_scores(made, tile, members_of_fold):
    """Return scores (pixel, class) as scikit-learn's forests vote, pixel by pixel's own fold."""
    features = made.normalisation.apply(made.series(tile).features).reshape(EDGE * EDGE, -1)
    folds = folds_of(made, tile)
    scores = np.zeros((EDGE * EDGE, CLASSES))
    for fold in range(FOLDS):
        inside = folds == fold
        said = [made.forests[member].predict_proba(features[inside]) for member in members_of_fold(fold)]
        votes = sum(np.eye(CLASSES)[each.argmax(axis=1)] for each in said)
        scores[inside] = (votes + np.mean(said, axis=0)) / (len(said) + 1)
    return scores


def assert_scores(stored, expected, seen):
    """Compare what is stored with scores; rounding may differ by one step, which decides where classes are as close."""
    stored = stored[:CLASSES].reshape(CLASSES, -1).T[seen].astype(int)
    assert abs(stored - np.rint(250 * expected[seen])).max() <= 1
    least, most = np.sort(expected[seen], axis=1)[:, -2:].T
    clear = most - least > 2 / 250
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(stored.argmax(axis=1)[clear], expected[seen].argmax(axis=1)[clear])


def test_each_pixel_is_judged_by_the_models_that_never_saw_its_block(made, classify):
    """Vote `unseen`: the trials of a pixel's own fold vote, and nobody else."""
    result = classify(made, 1)
    tile, stored = made.tiles[1], predictions(made, 1)
    seen = made.series(tile).seen
    assert len(np.unique(folds_of(made, tile))) == FOLDS
    expected = expected_scores(made, tile, lambda fold: [(trial, fold) for trial in range(TRIALS)])
    assert_scores(stored, expected, seen)
    others = expected_scores(made, tile, lambda fold: [(trial, (fold + 1) % FOLDS) for trial in range(TRIALS)])
    assert (others.argmax(axis=1) != expected.argmax(axis=1)).any()
    counts = np.bincount(stored[:CLASSES].reshape(CLASSES, -1)[:, seen].argmax(axis=0), minlength=CLASSES)
    assert result == {
        "tile": "r0c1",
        "year": YEAR,
        "by": "random_forest",
        "pixels": dict(zip(("forest", "meadow", "water"), counts.tolist(), strict=True)),
        "unseen": EDGE,
        "reused": False,
    }


def test_all_models_vote_where_the_map_wants_it(small_map, classify):
    """Vote `all`: the majority over all folds and trials."""
    made = small_map(product={"vote": "all"})
    classify(made)
    every = [(trial, fold) for fold in range(FOLDS) for trial in range(TRIALS)]
    expected = expected_scores(made, made.tiles[0], lambda _: every)
    assert_scores(predictions(made), expected, made.series(made.tiles[0]).seen)


def test_folds_are_those_of_the_mosaic_s_projection(small_map, classify):
    """A tile in another zone than the mosaic asks where its pixels lie there."""
    mosaic = Frame("EPSG:3035", 5_100_000.0, 2_500_000.0, 20.0, 200, 200)
    made = small_map(mosaic)
    classify(made)
    expected = expected_scores(made, made.tiles[0], lambda fold: [(trial, fold) for trial in range(TRIALS)])
    assert_scores(predictions(made), expected, made.series(made.tiles[0]).seen)


def test_the_file_says_what_its_bands_are(made, classify):
    """A band for each class and one of observations; what was never seen is 255 in all classes, and 0 there."""
    classify(made)
    with rasterio.open(made.folder.predictions(YEAR, "r0c0")) as file:
        assert file.descriptions == ("forest", "meadow", "water", "observations")
        assert (file.crs, file.nodata, file.dtypes[0]) == ("EPSG:32634", None, "uint8")
        assert file.transform == made.tiles[0].frame.transform
        assert (file.profile["tiled"], file.profile["blockxsize"], file.profile["compress"]) == (True, 512, "deflate")
        stored = file.read()
    assert (stored[:CLASSES, 0] == 255).all()
    assert (stored[CLASSES, 0] == 0).all()
    assert (stored[:CLASSES, 1:] <= 250).all()
    observations = made.series(made.tiles[0]).observations.sum(axis=1).reshape(EDGE, EDGE)
    np.testing.assert_array_equal(stored[CLASSES], observations)


def test_an_unchanged_tile_is_not_classified_again(made, classify):
    """The record is enough; a file that was cut short is made again."""
    first = classify(made)
    path = made.folder.predictions(YEAR, "r0c0")
    before = path.stat().st_mtime_ns, path.read_bytes()
    assert classify(made) == {**first, "reused": True}
    assert path.stat().st_mtime_ns == before[0]
    path.write_bytes(before[1][:100])
    assert classify(made) == first
    assert path.read_bytes() == before[1]


def test_other_models_or_composites_are_another_map(made, classify):
    """New models or new composites of the tile: classified again; of another tile: not."""
    classify(made)
    record = made.folder.predictions(YEAR, "r0c0").with_suffix(".json")
    keys = [json.loads(record.read_text())["key"]]
    before = predictions(made)
    made.train("models-b", seed=500)
    assert classify(made)["reused"] is False
    keys.append(json.loads(record.read_text())["key"])
    assert (predictions(made) != before).any()
    made.fill_composites(made.tiles[1], seed=77)
    assert classify(made)["reused"] is True
    made.fill_composites(made.tiles[0], seed=78)
    assert classify(made)["reused"] is False
    keys.append(json.loads(record.read_text())["key"])
    assert len(set(keys)) == 3


def test_what_is_missing_is_named(made, classify):
    """No composites of the year, no models, no tiles: each ends in a sentence that says which step to run."""
    made.folder.composites(YEAR, "r0c0").with_suffix(".json").unlink()
    with pytest.raises(StepError, match=r"r0c0\.json is missing: run the step `prepare` first"):
        classify(made)
    made.folder.current_models.unlink()
    with pytest.raises(StepError, match=r"current\.json is missing: run the step `train` first"):
        classify(made)
    with pytest.raises(StepError, match=r"element 2 has nothing to do: there are 2, from r0c0 to r0c1"):
        classify(made, 2)
    made.folder.tiles.unlink()
    with pytest.raises(StepError, match=r"tiles\.json is missing: run the step `search` first"):
        classify(made)


def test_composites_that_are_cut_short_are_refused(made, classify):
    """A chunk that is gone would read as never seen; the record tells."""
    chunk = max(made.folder.composites(YEAR, "r0c0").rglob("c/**/*"), key=lambda path: path.is_file())
    chunk.unlink()
    with pytest.raises(StepError, match="run the step `prepare` again"):
        classify(made)


def test_models_of_other_classes_are_refused(made, classify):
    """Models know the classes by their places alone, so other names mean other models."""
    path = made.folder.models("models-a") / "training.json"
    write_json(path, {**json.loads(path.read_text()), "classes": ["forest", "water"]})
    with pytest.raises(StepError, match=r"models-a were trained for classes \['forest', 'water'\]"):
        classify(made)


def test_killed_in_the_middle_and_run_again_the_file_is_the_same(small_map, classify):
    """SIGKILL leaves no file that looks whole; the next run writes the bytes of one that was never disturbed."""
    made = small_map()
    classify(made)
    path = made.folder.predictions(YEAR, "r0c0")
    undisturbed = path.read_bytes()
    path.unlink()
    path.with_suffix(".json").unlink()
    environment = {
        **os.environ,
        "LANDCOVER_MAP": json.dumps(made.configuration.model_dump(mode="json")),
        "SLURM_ARRAY_TASK_ID": "0",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    command = [sys.executable, "-m", "landcover_jobs.steps.classify", "--data", str(made.data), "--year", str(YEAR)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    while process.poll() is None and not list(path.parent.glob(".r0c0-*")):
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    assert process.wait(30) == -signal.SIGKILL
    assert not path.exists()
    assert classify(made)["reused"] is False
    assert path.read_bytes() == undisturbed
