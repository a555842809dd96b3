"""The old map in the frame of a tile: legend, projections, resolutions, and what is wrong with a file."""

import numpy as np
import pytest
import rasterio
from landcover_jobs.configuration.legend import LegendEntry, OldMap
from landcover_jobs.grid.frame import Frame
from landcover_jobs.job import StepError
from landcover_jobs.samples.old_map import majority, open_old_map
from rasterio.warp import Resampling, calculate_default_transform, reproject

FRAME = Frame("EPSG:32634", 600_000.0, 5_100_000.0, 10.0, 20, 30)
LEGEND = (LegendEntry(becomes=1, between=(0, 29)), LegendEntry(becomes=2, values=(30, 40)))


def old_map(**settings):
    """Return a configuration of two classes; 255 is unknown."""
    return OldMap(**({"path": "old.tif", "year": 2018, "legend": LEGEND, "unknown": (255,)} | settings))


def read(path, frame=FRAME, margin=0, **settings):
    """Read a frame's classes, refusing unlisted values."""
    with open_old_map(path, old_map(**settings), (1, 2)) as reader:
        classes, covered = reader.read(frame, margin)
        reader.refuse_unlisted()
    return classes, covered


def test_values_become_class_indices(tmp_path, write_raster):
    """Ranges and single values; what is unknown, and the file's own nodata, have no class."""
    values = np.zeros(FRAME.shape, dtype=np.uint8)
    values[0], values[1], values[2], values[3] = 29, 30, 255, 77
    classes, covered = read(write_raster(tmp_path / "old.tif", values, FRAME, nodata=77))
    assert covered.all()
    assert [set(row) for row in classes[:5].tolist()] == [{0}, {1}, {-1}, {-1}, {0}]


def test_a_raster_of_floats_is_rounded(tmp_path, write_raster):
    """Per cent as float32: 29.4 is 29, NaN says nothing."""
    values = np.full(FRAME.shape, 29.4, dtype=np.float32)
    values[0], values[1] = np.nan, 29.6
    classes, _ = read(write_raster(tmp_path / "old.tif", values, FRAME))
    assert [set(row) for row in classes[:3].tolist()] == [{-1}, {1}, {0}]


def test_unlisted_values_are_named_with_their_counts(tmp_path, write_raster):
    """A legend that forgets a class must not lose it silently."""
    values = np.zeros(FRAME.shape, dtype=np.int16)
    values[0, :7], values[1, 0] = 50, -3
    path = write_raster(tmp_path / "old.tif", values, FRAME)
    with pytest.raises(StepError, match=r"old\.tif has values .*-3 \(1 pixels\), 50 \(7 pixels\).*old_map\.unlisted"):
        read(path)
    classes, _ = read(path, unlisted="unknown")
    assert (classes == -1).sum() == 8


def test_an_unlisted_value_in_the_margin_is_counted_by_the_block_that_has_it(tmp_path, write_raster):
    """Blocks overlap by the erosion's radius; counts must not."""
    values = np.zeros(FRAME.shape, dtype=np.uint8)
    values[:2] = 50
    path = write_raster(tmp_path / "old.tif", values, FRAME)
    lower = Frame(FRAME.crs, FRAME.left, FRAME.top - 40, 10.0, 16, 30)
    assert read(path, lower, margin=3)[0].shape == (22, 36)


def test_a_coarser_map_gives_its_nearest_pixel(tmp_path, write_raster):
    """CORINE's 100 m under 10 m pixels: each of its pixels fills ten by ten."""
    coarse = Frame(FRAME.crs, FRAME.left, FRAME.top, 100.0, 2, 3)
    values = np.array([[0, 30, 0], [30, 0, 40]], dtype=np.uint8)
    classes, _ = read(write_raster(tmp_path / "old.tif", values, coarse))
    assert (classes == np.kron([[0, 1, 0], [1, 0, 1]], np.ones((10, 10)))).all()


def test_a_finer_map_gives_the_class_that_most_pixels_have(tmp_path, write_raster):
    """Not the most frequent value: 3, 7 and 11 are one class, and outnumber two pixels of 30."""
    fine = Frame(FRAME.crs, FRAME.left, FRAME.top, 5.0, 40, 60)
    values = np.zeros(fine.shape, dtype=np.uint8)
    values[:2, :2] = [[3, 30], [7, 11]]
    values[:2, 2:4] = [[30, 30], [40, 0]]
    values[:2, 4:6] = [[30, 30], [255, 255]]
    classes, _ = read(write_raster(tmp_path / "old.tif", values, fine))
    assert classes[0, :3].tolist() == [0, 1, -1]


def test_majority_counts_classes():
    """Among equals nothing is said."""
    classes = np.array([[0, 1, 2, 2], [1, 1, -1, -1]], dtype=np.int16)
    assert majority(classes, 2).tolist() == [[1, -1]]
    assert majority(classes, 1) is classes


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3035", "EPSG:32635"])
def test_an_old_map_in_another_projection(tmp_path, crs):
    """Degrees, equal-area metres, the neighbouring zone: nearly all pixels get the class that they have there."""
    random = np.random.default_rng(1)
    wide = Frame(FRAME.crs, FRAME.left - 400, FRAME.top + 400, 10.0, 100, 110)
    values = np.kron(random.choice([0, 30], (10, 11)), np.ones((10, 10))).astype(np.uint8)
    transform, width, height = calculate_default_transform(FRAME.crs, crs, wide.width, wide.height, *wide.bounds)
    moved = np.full((height, width), 255, dtype=np.uint8)
    reproject(
        values, moved, src_transform=wide.transform, src_crs=wide.crs, dst_transform=transform, dst_crs=crs,
        resampling=Resampling.nearest, dst_nodata=255,
    )  # fmt: skip
    path = tmp_path / "old.tif"
    with rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=1, dtype="uint8", crs=crs, transform=transform
    ) as file:
        file.write(moved, 1)
    classes, covered = read(path)
    assert covered.all()
    expected = (values[40:60, 40:70] == 30).astype(int)
    assert (classes == expected).mean() > 0.9


def test_what_the_old_map_does_not_cover(tmp_path, write_raster):
    """Half of the frame lies beside it: those pixels are told from pixels without a class."""
    half = Frame(FRAME.crs, FRAME.left, FRAME.top, 10.0, 20, 15)
    values = np.zeros(half.shape, dtype=np.uint8)
    values[0, 0] = 255
    classes, covered = read(write_raster(tmp_path / "old.tif", values, half))
    assert covered[:, :15].all()
    assert not covered[:, 15:].any()
    assert (classes[:, 15:] == -1).all()
    assert classes[0, 0] == -1
    far = Frame(FRAME.crs, FRAME.left + 1e5, FRAME.top, 10.0, 20, 15)
    classes, covered = read(tmp_path / "old.tif", far)
    assert not covered.any()


def test_a_margin_is_read_beyond_the_frame(tmp_path, write_raster):
    """So that erosion at a tile's edge knows the neighbours."""
    wide = Frame(FRAME.crs, FRAME.left - 20, FRAME.top + 20, 10.0, 24, 34)
    values = np.zeros(wide.shape, dtype=np.uint8)
    values[0], values[:, -1] = 30, 30
    classes, covered = read(write_raster(tmp_path / "old.tif", values, wide), margin=2)
    assert classes.shape == (24, 34)
    assert (classes == (values == 30)).all()
    assert covered.all()


def test_files_that_cannot_be_used(tmp_path, write_raster):
    """Missing, no raster, no projection, cut off: each with what to do."""
    with pytest.raises(StepError, match=r"old\.tif is missing: put it there"):
        read(tmp_path / "old.tif")
    (tmp_path / "text.tif").write_text("no raster")
    with pytest.raises(StepError, match=r"text\.tif cannot be read as a raster"):
        read(tmp_path / "text.tif")
    values = np.zeros(FRAME.shape, dtype=np.uint8)
    with pytest.raises(StepError, match=r"bare\.tif does not say its projection: write it"):
        read(write_raster(tmp_path / "bare.tif", values, FRAME, crs=None))
    noise = np.random.default_rng(0).integers(0, 29, (400, 400), dtype=np.uint8)
    cut = write_raster(tmp_path / "cut.tif", noise, Frame(FRAME.crs, FRAME.left, FRAME.top, 10.0, 400, 400))
    cut.write_bytes(cut.read_bytes()[:3000])
    with pytest.raises(StepError, match=r"cut\.tif cannot be read"):
        read(cut, Frame(FRAME.crs, FRAME.left, FRAME.top, 10.0, 400, 400))
