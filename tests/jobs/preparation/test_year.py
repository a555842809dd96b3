"""The normalisation of a year: of all its tiles, and as a set of models saw it first."""

import json
import threading

import numpy as np
import pytest
from landcover_jobs.folder import MapFolder
from landcover_jobs.grid.frame import Frame, Tile
from landcover_jobs.job import StepError, write_json
from landcover_jobs.preparation.normalisation import Normalisation, Statistics
from landcover_jobs.preparation.year import frozen_normalisation, normalisation_of

TILES = [Tile(name, Frame("EPSG:3035", 0, 0, 20, 8, 8)) for name in ("r0c0", "r0c1", "r1c0")]


def features_of(tile: int, shift: float = 0.0) -> np.ndarray:
    """Return (pixel, period, feature) of a tile."""
    return np.random.default_rng(tile).normal(tile + shift, 1 + tile, (50, 12, 3)).astype(np.float32)


def record(folder: MapFolder, *, shift: float = 0.0) -> None:
    """Write the records of all tiles in 2018, as `prepare` does."""
    for number, tile in enumerate(TILES):
        statistics = Statistics.of(features_of(number, shift)).as_dict()
        write_json(folder.composites(2018, tile.name).with_suffix(".json"), {"statistics": statistics})


@pytest.fixture
def folder(tmp_path):
    """Return a map's folder in which 2018 is prepared."""
    record(MapFolder(tmp_path))
    return MapFolder(tmp_path)


def test_a_year_has_mean_0_and_deviation_1_over_all_tiles(folder):
    """In every period and feature."""
    pixels = np.concatenate([features_of(number) for number in range(3)])
    scaled = normalisation_of(folder, 2018, TILES).apply(pixels)
    assert scaled.mean(axis=0) == pytest.approx(np.zeros((12, 3)), abs=1e-5)
    assert scaled.std(axis=0) == pytest.approx(np.ones((12, 3)), abs=1e-5)


def test_a_tile_that_is_not_prepared_is_named(folder):
    """With the step that prepares it."""
    folder.composites(2018, "r0c1").with_suffix(".json").unlink()
    with pytest.raises(StepError, match=r"2018/r0c1\.json is missing: run the step `prepare` first"):
        normalisation_of(folder, 2018, TILES)


def test_a_year_without_a_clear_pixel_is_an_error(folder):
    """There is nothing to compute a mean of."""
    nothing = Statistics.of(np.full((4, 12, 3), np.nan, dtype=np.float32)).as_dict()
    for tile in TILES:
        write_json(folder.composites(2018, tile.name).with_suffix(".json"), {"statistics": nothing})
    with pytest.raises(StepError, match=r"2018 shows no clear pixel in any of 3 tiles: check composites\.cloud_mask"):
        normalisation_of(folder, 2018, TILES)


def test_what_a_set_of_models_saw_first_stays(folder):
    """Another set sees the year as it is now."""
    first = frozen_normalisation(folder, "abc", 2018, TILES)
    record(folder, shift=5.0)
    again, other = (frozen_normalisation(folder, key, 2018, TILES) for key in ("abc", "def"))
    assert again.as_dict() == first.as_dict()
    assert other.mean == pytest.approx(first.mean + 5, abs=1e-4)
    assert [file.name for file in folder.normalisation(2018, "abc").parent.iterdir()] == ["2018.json"]


def test_jobs_that_come_first_together_all_see_what_one_has_written(folder):
    """Eight threads, each with tiles of its own, as if the tiles had changed in between."""
    results: list[Normalisation] = []
    barrier = threading.Barrier(8)

    def come(number: int) -> None:
        barrier.wait()
        results.append(frozen_normalisation(folder, "abc", 2018, TILES[number % 3 :]))

    threads = [threading.Thread(target=come, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = json.loads(folder.normalisation(2018, "abc").read_text())
    assert [result.as_dict() for result in results] == [Normalisation.from_dict(kept).as_dict()] * 8
