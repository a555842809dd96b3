"""Samples from the old map over two overlapping tiles: what is chosen, what is dropped, and what is said."""

import numpy as np
import pytest
from landcover_jobs.configuration.reading import ConfigurationError
from landcover_jobs.grid.folds import fold_of
from landcover_jobs.grid.frame import Frame, Tile
from landcover_jobs.grid.tiles import read_tiles
from landcover_jobs.job import StepError
from landcover_jobs.samples import choosing
from landcover_jobs.samples.choosing import Chooser
from landcover_jobs.samples.ground import blocks_of, owned
from landcover_jobs.samples.old_map import open_old_map
from landcover_jobs.samples.outcome import Outcome
from pyproj import Transformer

CLASSES = ("Water", "Grass", "Forest")
RESOLUTION = 10.0


def choose(ground) -> Outcome:
    """Choose as the step does."""
    tiles, mosaic = read_tiles(ground.folder)
    configuration = ground.map
    path = ground.folder.root / "old.tif"
    with open_old_map(path, configuration.old_map, configuration.class_values) as reader:
        return Chooser(ground.folder, configuration, tiles, mosaic, reader).choose()


def pixel_of(ground, found):
    """Return rows and columns of the chosen pixels in the whole area."""
    mosaic = ground.mosaic
    row = np.floor((mosaic.top - found.y) / RESOLUTION).astype(int)
    column = np.floor((found.x - mosaic.left) / RESOLUTION).astype(int)
    return row, column


def test_all_takes_every_labelled_pixel_once(ground, truth):
    """Pixels of the overlap are not there twice; labels, places, folds and order are right."""
    ground.samples(selection="all", least_of_class=1)
    found = choose(ground).training_set
    assert len(found.labels) == truth.size
    row, column = pixel_of(ground, found)
    assert (row == np.repeat(np.arange(48), 80)).all()
    assert (column == np.tile(np.arange(80), 48)).all()
    assert (found.labels == truth.ravel()).all()
    assert (found.folds == fold_of(found.x, found.y, block_size=80, folds=3)).all()
    assert found.trials.all()
    assert found.features.shape == (truth.size, 12, 3)
    assert np.isfinite(found.features).all()
    red, infrared, ndvi = np.moveaxis(found.features, 2, 0)
    assert ndvi == pytest.approx((infrared - red) / (infrared + red), abs=1e-5)
    assert (infrared[found.labels == 2] > 0.3).all()


def test_pixels_never_seen_are_not_chosen(ground, truth, prepare_again):
    """A model cannot learn from them."""
    unseen = np.zeros(truth.shape, dtype=bool)
    unseen[:10, :10] = True
    prepare_again(ground, unseen=unseen)
    ground.samples(selection="all", least_of_class=1)
    assert len(choose(ground).training_set.labels) == truth.size - 100


def test_a_stratified_draw_follows_the_areas(ground, truth):
    """300 pixels, dealt as the old map's areas; each trial draws anew."""
    ground.samples(trials=3)
    found = choose(ground).training_set
    areas = np.bincount(truth.ravel()) / truth.size
    for trial in found.trials:
        assert trial.sum() == 300
        assert np.bincount(found.labels[trial]) == pytest.approx(areas * 300, abs=1)
    assert 300 < len(found.labels) < 900
    assert found.trials.any(axis=0).all()


def test_the_same_inputs_give_the_same_set_whatever_the_blocks(ground):
    """Another size of blocks, another order of reading, the very same samples."""
    first = choose(ground).training_set
    again = choose(ground).training_set
    ground.content["composites"] = ground.content["composites"] | {"block_pixels": 48}
    other = choose(ground).training_set
    for one in (again, other):
        assert (one.x == first.x).all()
        assert (one.features == first.features).all()
        assert (one.trials == first.trials).all()
    ground.samples(seed=7)
    assert len(choose(ground).training_set.x) == 300
    assert set(zip(first.x, first.y, strict=True)) != set(
        zip(choose(ground).training_set.x, choose(ground).training_set.y, strict=True)
    )


def test_a_class_that_has_fewer_pixels_than_wanted_gives_all_and_it_is_said(ground, truth):
    """The lake has 400 pixels; a draw of nearly all pixels wants half as many again."""
    ground.samples(total=3600, rare_share=0.17)
    outcome = choose(ground)
    assert outcome.notes == ("Water: 400 pixels could be chosen; a draw wants 612",)
    assert (outcome.training_set.labels == 0).sum() == (truth == 0).sum() == 400


def test_eroded_edges_give_no_samples_across_tiles(ground, truth):
    """The forest's edge at column 44 lies in both tiles; nothing within three pixels of any edge is taken."""
    ground.samples(erosion_pixels=3, total=5000)
    found = choose(ground).training_set
    row, column = pixel_of(ground, found)
    taken = np.zeros(truth.shape, dtype=bool)
    taken[row, column] = True
    assert not taken[:, 41:47].any()
    assert taken[:, 40].sum() > 40
    assert taken[:, 0].sum() > 40  # where the map ends no class does


def test_reliable_samples_leave_out_what_looks_otherwise(ground, truth, write_raster):
    """A part of the old map's lake is really forest: of stratified samples as much is wrong, of reliable ones less."""
    values = np.array([50, 12, 30], dtype=np.uint8)[truth]
    values[26:36, 46:54] = 50
    write_raster(ground.folder.root / "old.tif", values)
    wrong = {}
    for selection in ("stratified", "reliable"):
        ground.samples(selection=selection, erosion_pixels=0, total=5000)
        found = choose(ground).training_set
        row, column = pixel_of(ground, found)
        water = found.labels == 0
        wrong[selection] = float((truth[row, column][water] != 0).mean())
    assert wrong["stratified"] > 0.15
    assert wrong["reliable"] < 0.5 * wrong["stratified"]


def test_a_class_with_too_few_pixels_is_dropped_and_said(ground, truth, write_raster, capsys):
    """It is named with its count; the others are learnt."""
    values = np.array([12, 12, 30], dtype=np.uint8)[truth]
    values[0, :7] = 50
    write_raster(ground.folder.root / "old.tif", values)
    outcome = choose(ground)
    assert [each.as_dict() for each in outcome.dropped] == [{"name": "Water", "pixels": 7, "least": 20}]
    assert set(outcome.training_set.labels.tolist()) == {1, 2}
    said = capsys.readouterr().out
    assert "warning: the class 'Water' is dropped: 7 pixels to draw from" in said
    assert said.count("is dropped") == 1


def test_one_class_alone_cannot_be_learnt(ground, truth, write_raster):
    """The counts of all are named."""
    write_raster(ground.folder.root / "old.tif", np.full(truth.shape, 12, dtype=np.uint8))
    with pytest.raises(StepError, match=r"fewer than two classes have 20 .*Water: 0, Grass: 3840, Forest: 0"):
        choose(ground)


def test_a_class_that_is_never_seen_is_dropped(ground, truth, prepare_again):
    """The old map has enough of it, the year's images show none of it."""
    prepare_again(ground, unseen=truth == 0)
    for selection in ("stratified", "reliable"):
        ground.samples(selection=selection)
        outcome = choose(ground)
        assert [(each.name, each.pixels) for each in outcome.dropped] == [("Water", 0)]


def test_unlisted_values_stop_the_step_with_all_their_counts(ground, truth, write_raster):
    """Counted over all tiles, each pixel of the overlap at most twice."""
    values = np.array([50, 12, 30], dtype=np.uint8)[truth]
    values[:, 0], values[0, 79] = 77, 78
    write_raster(ground.folder.root / "old.tif", values)
    with pytest.raises(StepError, match=r"77 \(48 pixels\), 78 \(1 pixels\)"):
        choose(ground)


def test_an_old_map_that_covers_a_part_is_said(ground, truth, write_raster):
    """Which tile and how much of it; the step goes on with the rest."""
    values = np.array([50, 12, 30], dtype=np.uint8)[truth][:, :56]
    write_raster(ground.folder.root / "old.tif", values)
    outcome = choose(ground)
    assert outcome.notes == ("the old map covers 50.0% of tile east; no samples come from the rest",)
    assert len(outcome.training_set.labels) == 300


def test_an_old_map_of_elsewhere_is_refused(ground, truth, write_raster):
    """It covers no tile."""
    elsewhere = Frame("EPSG:32634", 100_000.0, 5_100_000.0, 10.0, 48, 80)
    write_raster(ground.folder.root / "old.tif", truth.astype(np.uint8), elsewhere)
    with pytest.raises(StepError, match=r"old\.tif covers none of the 2 tiles"):
        choose(ground)


def test_of_a_large_map_only_some_blocks_are_read(ground, monkeypatch, capsys):
    """Enough of each class from so many blocks at least; which ones is random and the same each time."""
    monkeypatch.setattr(choosing, "LEAST_BLOCKS_DRAWN", 2)
    monkeypatch.setattr(choosing, "LEAST_BLOCKS_LEARNT", 1)
    ground.samples(selection="reliable", total=30, erosion_pixels=0)
    found = choose(ground).training_set
    assert "samples are drawn from " in capsys.readouterr().out
    row, column = pixel_of(ground, found)
    assert len(set(zip(row // 16, column // 16, strict=True))) < 10
    assert set(found.labels.tolist()) == {0, 1, 2}
    assert (choose(ground).training_set.x == found.x).all()


def test_all_has_one_trial(ground):
    """Draws of everything would be equal."""
    ground.samples(selection="all", trials=2)
    with pytest.raises(ConfigurationError, match=r"samples: trials: 2 draws of all pixels would be equal"):
        _ = ground.map


def test_overlaps_belong_to_the_first_tile_in_another_zone_too():
    """Tiles of two UTM zones over the same ground: of the second, only what the first has not."""
    first = Tile("a", Frame("EPSG:32634", 700_000.0, 5_100_000.0, 20.0, 50, 50))
    x, y = Transformer.from_crs("EPSG:32634", "EPSG:32635", always_xy=True).transform(700_000.0, 5_100_000.0)
    second = Tile("b", Frame("EPSG:32635", round(x, -2) - 2000, round(y, -2) + 2000, 20.0, 300, 300))
    blocks = [block for block in blocks_of((first, second), 100) if block.tile is second]
    mine = sum(int(owned(block, (first, second)).sum()) for block in blocks)
    assert 300 * 300 - mine == pytest.approx(50 * 50, abs=120)
    assert all(owned(block, (first, second)).all() for block in blocks_of((first, second), 50) if block.tile is first)
