"""The step `mosaic`: what it writes, when it does nothing, and what it says when it can't go on."""

import json
import shutil

import numpy as np
import pytest
import rasterio
from landcover_jobs.records import file_sha256


def result_of(done) -> dict:
    """Return what a step that ended well has reported."""
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.rstrip().splitlines()[-1].partition("result ")[2])


def publish(made, year: int, version: str) -> None:
    """Let a year's layers be the published ones."""
    home = made.folder.versions(year)
    shutil.copytree(made.folder.mosaic(year), home / version)
    (home / "current").symlink_to(version)


def test_a_year_then_the_next_then_nothing_new(valley):
    """The first map has no change layer; the second has one against the first; a rerun makes neither again."""
    shape = valley.frame.shape
    forest = np.zeros((3, *shape), dtype=np.float32)
    forest[0] = 0.9
    forest[1] = 0.1
    cut = forest.copy()
    cut[:, 10:20, 30:40] = forest[[2, 1, 0], 10:20, 30:40]
    valley.predict_all(2018, forest, np.full(shape, 8))
    valley.predict_all(2019, cut, np.full(shape, 11))

    first = result_of(valley.run("mosaic", 2018))
    assert first["previous"] is None
    assert first["change_note"] == "no earlier year is published"
    assert first["pixels"] == {"forest": 2400, "grass": 0, "bare ground": 0}
    assert first["hectares"]["forest"] == pytest.approx(96)
    folder = valley.folder.mosaic(2018)
    assert sorted(path.name for path in folder.iterdir()) == [
        "classes.tif", "confidence.tif", "mosaic.json", "observations.tif",
    ]  # fmt: skip
    publish(valley, 2018, "v1-aa")

    second = result_of(valley.run("mosaic", 2019))
    assert second["previous"] == {"year": 2018, "version": "v1-aa"}
    assert second["changed_pixels"] == 100
    record = json.loads((valley.folder.mosaic(2019) / "mosaic.json").read_text())
    assert [layer["file"] for layer in record["layers"]][-1] == "change.tif"
    for layer in record["layers"]:
        assert layer["sha256"] == file_sha256(valley.folder.mosaic(2019) / layer["file"])
    assert record["change"]["hectares_rows_before_columns_after"][0][2] == pytest.approx(4)
    assert record["pixel_metres"] == pytest.approx(20)
    assert set(record["tiles"]) == {tile.name for tile in valley.tiles}

    again = result_of(valley.run("mosaic", 2019))
    assert again == second | {"reused": True}
    (valley.folder.versions(2018) / "current").unlink()
    alone = result_of(valley.run("mosaic", 2019))
    assert (alone["reused"], alone["previous"]) == (False, None)
    assert not (valley.folder.mosaic(2019) / "change.tif").exists()
    assert not list(valley.folder.mosaic(2019).parent.glob(".*"))


def test_a_changed_tile_makes_the_mosaic_again(make, random_scores):
    """One tile of two is classified anew: its pixels are in the map, and the figures of the old map are gone."""
    made = make(height=20, width=40, tile=20, overlap=0)
    shape = (20, 20)
    for tile in made.tiles:
        made.predict(2019, tile, random_scores(3, shape, 1), np.ones(shape))
    before = result_of(made.run("mosaic", 2019))
    figures = made.folder.validation(2019)
    figures.write_text("{}")
    assert result_of(made.run("mosaic", 2019))["reused"]
    assert figures.exists()
    fresh = np.zeros((3, *shape), dtype=np.float32)
    fresh[2] = 1
    made.predict(2019, made.tiles[1], fresh, np.ones(shape))
    after = result_of(made.run("mosaic", 2019))
    assert not after["reused"]
    assert after["pixels"] != before["pixels"]
    assert not figures.exists()
    with rasterio.open(made.folder.mosaic(2019) / "classes.tif") as file:
        assert (file.read(1)[:, 20:] == 40).all()


def test_what_a_killed_step_has_left_is_swept(make, random_scores):
    """Drafts in the new folder, layers without a record, a change layer of another run: the map is made whole."""
    made = make(height=20, width=20, tile=20, overlap=0)
    made.predict(2019, made.tiles[0], random_scores(3, (20, 20), 1), np.ones((20, 20)))
    undisturbed = result_of(made.run("mosaic", 2019))
    folder = made.folder.mosaic(2019)
    digests = {path.name: file_sha256(path) for path in folder.iterdir()}
    new = folder.with_name(".2019.new")
    new.mkdir()
    (new / "draft-classes.tif").write_bytes(b"half")
    (folder / "mosaic.json").unlink()
    (folder / "classes.tif").write_bytes(b"half")
    (folder / "change.tif").write_bytes(b"of another run")
    assert result_of(made.run("mosaic", 2019)) == undisturbed
    assert {path.name: file_sha256(path) for path in folder.iterdir()} == digests
    assert not new.exists()


def spoil_missing(made):
    """Take a tile's predictions away."""
    made.folder.predictions(2019, made.tiles[1].name).unlink()
    return f"run the step `classify` for the tile {made.tiles[1].name} and 2019 again"


def spoil_record(made):
    """Take their record away."""
    made.folder.predictions(2019, made.tiles[1].name).with_suffix(".json").unlink()
    return f"{made.tiles[1].name}.json is missing: run the step `classify` for the tile {made.tiles[1].name}"


def spoil_size(made):
    """Let them be other than the record tells."""
    with made.folder.predictions(2019, made.tiles[0].name).open("ab") as file:
        file.write(b"more")
    return "are not those that it tells of"


def spoil_models(made):
    """Train anew without classifying again."""
    made.use_models("m2")
    return "was classified by transformer m1, but the current models are transformer m2"


def spoil_tiles(made):
    """Take the list of tiles away."""
    made.folder.tiles.unlink()
    return "run the step `search` first"


@pytest.mark.parametrize("spoil", [spoil_missing, spoil_record, spoil_size, spoil_models, spoil_tiles])
def test_what_is_missing_is_named_and_nothing_is_written(make, random_scores, spoil):
    """The tile, the year and the step to run; no half map."""
    made = make(height=20, width=40, tile=20, overlap=0)
    for tile in made.tiles:
        made.predict(2019, tile, random_scores(3, (20, 20), 1), np.ones((20, 20)))
    sentence = spoil(made)
    done = made.run("mosaic", 2019)
    assert done.returncode == 1
    assert sentence in done.stdout
    assert "Traceback" not in done.stderr
    assert not made.folder.mosaic(2019).exists()


def test_a_map_in_one_tile_of_another_zone_is_made_whole(make, random_scores):
    """product.crs asks for another projection: the tile is resampled, and all of it is on the map."""
    made = make(height=40, width=40, tile=40, overlap=0, product={"crs": "EPSG:32635"})
    made.predict(2019, made.tiles[0], random_scores(3, (40, 40), 1), np.full((40, 40), 5))
    result = result_of(made.run("mosaic", 2019))
    with rasterio.open(made.folder.mosaic(2019) / "classes.tif") as file:
        assert file.crs.to_epsg() == 32635
    assert sum(result["pixels"].values()) == pytest.approx(1600, rel=0.03)
    assert result["no_data_pixels"] > 0
