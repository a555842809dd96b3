"""What has changed since the published map before: patches, matrix, and when there is nothing to compare with."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from landcover_jobs.grid.frame import Frame
from landcover_jobs.product.change import (
    below_unit,
    change_bands,
    incomparable,
    previous_map,
    write_change,
)
from landcover_jobs.product.layers import class_layer, new_draft, publishable, tags_of
from rio_cogeo.cogeo import cog_validate

N = 0  # no data


def write_classes(path: Path, frame: Frame, pixels: np.ndarray, configuration, year: int) -> None:
    """Write a classes.tif as the mosaic step does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft, layer = path.with_name("draft.tif"), class_layer(configuration)
    with new_draft(draft, layer, frame) as file:
        file.write(pixels.astype(np.uint8), 1)
    publishable(draft, path, layer, tags_of(configuration, year, "m1"))
    draft.unlink()


def publish(made, year: int, pixels: np.ndarray, version: str = "v1-aa", frame: Frame | None = None) -> None:
    """Publish a map as the publishing step does: a version's folder, and `current` that leads to it."""
    home = made.folder.versions(year)
    write_classes(home / version / "classes.tif", frame or made.frame, pixels, made.configuration, year)
    (home / "current").unlink(missing_ok=True)
    (home / "current").symlink_to(version)


def compared(made, tmp_path: Path, new: np.ndarray, *, block: int = 512, name: str = "new"):
    """Return the change bands of a new map against the published one, and the record."""
    folder = tmp_path / name
    write_classes(folder / "classes.tif", made.frame, new, made.configuration, 2019)
    previous = previous_map(made.folder, 2019)
    found = write_change(folder, made.frame, previous, made.configuration, {"YEAR": "2019"}, block=block)
    assert cog_validate(folder / "change.tif", quiet=True)[0]
    with rasterio.open(folder / "change.tif") as file:
        return file.read(), found.as_dict(made.configuration, made.frame)


def test_patches_below_the_unit_are_dropped_known_answer():
    """Of three pixels least: a diagonal of three stays, two and one go; transitions side by side stay apart."""
    old = np.full((6, 6), 10)
    new = np.array([
        [20, 10, 10, 10, 10, 40],
        [10, 20, 10, 10, 10, 10],
        [10, 10, 20, 10, 20, 20],
        [10, 10, 10, 10, 40, 40],
        [N, 10, 10, 10, 10, 10],
        [10, 10, 40, 40, 40, N],
    ])  # fmt: skip
    dropped = below_unit(old.astype(np.uint8), new.astype(np.uint8), 3)
    assert np.argwhere(dropped).tolist() == [[0, 5], [2, 4], [2, 5], [3, 4], [3, 5]]
    before, after = change_bands(old.astype(np.uint8), new.astype(np.uint8), dropped)
    assert before.tolist()[5] == [0, 0, 10, 10, 10, 255]
    assert after.tolist()[5] == [0, 0, 40, 40, 40, 255]
    assert np.argwhere(after == 20).tolist() == [[0, 0], [1, 1], [2, 2]]
    assert not below_unit(old.astype(np.uint8), new.astype(np.uint8), 1).any()


@pytest.mark.parametrize("block", [8, 13, 512])
def test_blocks_give_the_change_of_the_whole_map(make, tmp_path, block):
    """Noise with patches of all sizes across the blocks' edges: the layer is that of the map in one piece."""
    made = make(height=50, width=70, tile=100, overlap=0, product={"least_change_pixels": 6})
    rng = np.random.default_rng(4)
    old, new = (
        np.kron(rng.choice([10, 20, 40], (25, 35), p=p), np.ones((2, 2), int))
        for p in ((0.7, 0.2, 0.1), (0.6, 0.3, 0.1))
    )
    new = np.where(rng.random(new.shape) < 0.1, 40, new)
    old[rng.random(old.shape) < 0.03], new[rng.random(new.shape) < 0.03] = N, N
    old, new = old.astype(np.uint8), new.astype(np.uint8)
    publish(made, 2018, old)
    bands, record = compared(made, tmp_path, new, block=block)
    dropped = below_unit(old, new, 6)
    assert 50 < dropped.sum() < ((old != new) & (old > 0) & (new > 0)).sum() - 50
    assert np.array_equal(bands, change_bands(old, new, dropped))
    matrix = np.array(record["pixels_rows_before_columns_after"])
    assert record["below_least_pixels"] == dropped.sum()
    assert record["changed_pixels"] == (bands[0] % 255 > 0).sum() == matrix.sum() - matrix.trace()
    assert record["unknown_pixels"] == ((old == N) | (new == N)).sum()
    total = matrix.sum() + record["below_least_pixels"] + record["unknown_pixels"]
    assert total == old.size
    assert matrix[0, 1] == ((bands[0] == 10) & (bands[1] == 20)).sum()
    assert np.allclose(record["hectares_rows_before_columns_after"], matrix * 0.04)
    assert not record["resampled"]


def test_the_nearest_earlier_year_that_is_published_counts(valley):
    """Its current version, not the newest; a year with versions but none current is passed over; later ones too."""
    assert previous_map(valley.folder, 2020) is None
    assert incomparable(None, valley.configuration) == "no earlier year is published"
    ground = np.full(valley.frame.shape, 10)
    publish(valley, 2016, ground)
    publish(valley, 2018, ground, "v2-bb")
    publish(valley, 2018, ground, "v1-aa")
    publish(valley, 2019, ground)
    (valley.folder.versions(2019) / "current").unlink()
    publish(valley, 2021, ground)
    found = previous_map(valley.folder, 2020)
    assert found.named() == {"year": 2018, "version": "v1-aa"}
    assert incomparable(found, valley.configuration) is None
    assert previous_map(valley.folder, 2018).year == 2016


def test_a_map_of_other_classes_is_not_compared(valley):
    """A difference would be one of words, not of ground."""
    publish(valley, 2018, np.full(valley.frame.shape, 10))
    previous = replace(previous_map(valley.folder, 2019), classes="1 forest; 2 other")
    assert "v1-aa) has other classes: 1 forest; 2 other" in incomparable(previous, valley.configuration)


def test_a_map_of_another_frame_is_resampled(valley, tmp_path):
    """The area has grown since: where the earlier map has nothing, nothing is known; the rest is compared."""
    smaller = valley.frame.part(valley.frame.window_of(replace(valley.frame, width=30)))
    publish(valley, 2018, np.full((40, 30), 10), frame=smaller)
    new = np.full(valley.frame.shape, 10)
    new[5:10, 5:10] = 20
    bands, record = compared(valley, tmp_path, new)
    assert record["resampled"]
    assert record["changed_pixels"] == 25
    assert (bands[:, :, 30:] == 255).all()
    assert (bands[0, 5:10, 5:10] == 10).all()
    assert (bands[1, 5:10, 5:10] == 20).all()


def test_a_year_without_any_class_is_unknown_everywhere(valley, tmp_path):
    """Nothing seen is no change."""
    publish(valley, 2018, np.full(valley.frame.shape, 10))
    bands, record = compared(valley, tmp_path, np.zeros(valley.frame.shape))
    assert (bands == 255).all()
    assert (record["changed_pixels"], record["unknown_pixels"]) == (0, 40 * 60)


def test_a_published_map_that_cannot_be_read_is_named(valley):
    """An unknown map before is no map without a map before."""
    publish(valley, 2018, np.full(valley.frame.shape, 10))
    path = valley.folder.versions(2018) / "v1-aa" / "classes.tif"
    path.write_bytes(b"no raster")
    with pytest.raises(Exception, match="the published map of 2018, cannot be read"):
        previous_map(valley.folder, 2019)
    shutil.rmtree(path.parent)
    with pytest.raises(Exception, match="roll 2018 back"):
        previous_map(valley.folder, 2019)
