"""Tiles become one map: what is said where they overlap, in other projections, and in the files that come of it."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from landcover_jobs.grid.frame import Frame, Tile, Window
from landcover_jobs.grid.projection import bounds_in
from landcover_jobs.job import StepError
from landcover_jobs.product.blending import Blend
from landcover_jobs.product.counting import hectares_of_rows
from landcover_jobs.product.layers import overview_levels
from landcover_jobs.product.mosaic import Source, mosaic_block, write_layers
from landcover_jobs.product.resampling import positions, same_place
from pyproj import Transformer
from rio_cogeo.cogeo import cog_validate

VALUES = np.array([10, 20, 40], dtype=np.uint8)
FILES = ("classes.tif", "confidence.tif", "observations.tif")


def sources_of(made, year: int = 2019) -> list[Source]:
    """Return all tiles as they lie in the mosaic."""
    return [Source.checked(tile, made.folder.predictions(year, tile.name), made.frame, 3) for tile in made.tiles]


def whole(made) -> tuple[np.ndarray, ...]:
    """Return all three layers of a map as one block."""
    return mosaic_block(Window(0, 0, *made.frame.shape), made.frame, sources_of(made), VALUES)


def read(folder: Path) -> list[np.ndarray]:
    """Return the pixels of the three files."""
    layers = []
    for name in FILES:
        with rasterio.open(folder / name) as file:
            layers.append(file.read(1))
    return layers


def test_one_tile_is_the_map(make, random_scores):
    """Without a neighbour, the greatest stored score is the class, and its per cent the confidence."""
    made = make(height=20, width=20, tile=20, overlap=0)
    scores, observations = random_scores(3, (20, 20), 1), np.arange(400).reshape(20, 20) % 250
    scores[:, 4:6, 7:9] = np.nan
    path = made.predict(2019, made.tiles[0], scores, observations)
    with rasterio.open(path) as file:
        stored = file.read()
    classes, confidence, counted = whole(made)
    unseen = np.isnan(scores[0])
    assert np.array_equal(classes, np.where(unseen, 0, VALUES[stored[:-1].argmax(axis=0)]))
    assert np.array_equal(confidence, np.where(unseen, 255, np.rint(stored[:-1].max(axis=0) * 0.4)))
    assert np.array_equal(counted, np.where(unseen, 0, observations))


def test_tiles_that_agree_make_the_same_map_as_one_tile(valley, random_scores):
    """How a map is cut into tiles does not matter where they say the same."""
    scores, observations = random_scores(3, (40, 60), 2), np.full((40, 60), 9)
    valley.predict_all(2019, scores, observations)
    assert len(valley.tiles) == 6
    stored = np.rint(scores * 250)
    classes, confidence, counted = whole(valley)
    assert np.array_equal(classes, VALUES[stored.argmax(axis=0)])
    assert np.array_equal(confidence, np.rint(stored.max(axis=0) * 0.4))
    assert (counted == 9).all()


def test_blocks_and_threads_do_not_change_a_pixel(valley, random_scores, tmp_path):
    """Six tiles that disagree, mosaicked in blocks of 7, 16 and 512 pixels on one or three threads."""
    for number, tile in enumerate(valley.tiles):
        scores = random_scores(3, tile.frame.shape, number)
        scores[:, :3, :] = np.nan if number % 2 else scores[:, :3, :]
        valley.predict(2019, tile, scores, np.full(tile.frame.shape, number + 1))
    found = []
    for block, threads in ((7, 1), (16, 3), (512, 1)):
        folder = tmp_path / f"{block}"
        folder.mkdir()
        _, counts = write_layers(
            folder, valley.frame, sources_of(valley), valley.configuration, {}, block=block, threads=threads
        )
        found.append((*read(folder), counts.pixels, counts.hectares))
    for each in found[1:]:
        assert all(np.array_equal(one, other) for one, other in zip(each[:4], found[0][:4], strict=True))
        assert np.allclose(each[4], found[0][4])
    assert np.array_equal(found[0][3][[0, 10, 20, 40]], [(found[0][0] == value).sum() for value in (0, 10, 20, 40)])
    assert found[0][3].sum() == 40 * 60
    assert found[0][4].sum() == pytest.approx(40 * 60 * 0.04)


def test_there_is_no_seam_where_tiles_disagree(make):
    """The left tile is sure, the right one is not: over 2 x 12 pixels of overlap no step is as large as theirs."""
    made = make(height=30, width=80, tile=40, overlap=12)
    for tile, share in zip(made.tiles, (1.0, 0.6), strict=True):
        scores = np.stack([np.full(tile.frame.shape, each) for each in (share, 1 - share, 0.0)])
        made.predict(2019, tile, scores, np.full(tile.frame.shape, 5))
    classes, confidence, _ = whole(made)
    middle = confidence[15].astype(int)
    assert (classes == 10).all()
    assert middle[0] == 100
    assert middle[-1] == 60
    assert (np.diff(middle) <= 0).all()
    assert np.abs(np.diff(middle)).max() <= 4
    assert middle[28:52].max() < 100
    assert middle[28:52].min() > 60


def test_the_heavier_tile_decides_and_the_unseen_one_says_nothing():
    """Observations are the heavier tile's; a tile that has not seen a pixel leaves it to the other."""
    blend = Blend(3, 1, 3)
    blend.add(
        np.array([[[200, 200, 255]], [[50, 50, 255]], [[0, 0, 255]], [[7, 7, 0]]], np.uint8), np.float32([[4, 1, 9]])
    )
    blend.add(np.array([[[0, 0, 0]], [[0, 0, 0]], [[250, 250, 250]], [[3, 3, 3]]], np.uint8), np.float32([[1, 4, 1]]))
    classes, confidence, observations = blend.layers(VALUES)
    assert classes.tolist() == [[10, 40, 40]]
    assert confidence.tolist() == [[64, 80, 100]]
    assert observations.tolist() == [[7, 3, 3]]


def two_zones(tmp_path: Path, write_predictions) -> tuple[Frame, list[Source]]:
    """Return a mosaic in LAEA over tiles of the UTM zones 34 and 35, which show stripes of a tenth of a degree."""
    sources = []
    left, bottom, right, top = bounds_in((23.7, 45.0, 24.3, 45.4), "OGC:CRS84", "EPSG:3035", "test")
    mosaic = Frame(
        "EPSG:3035", left // 200 * 200, -(-top // 200) * 200, 200, int((top - bottom) / 200), int((right - left) / 200)
    )
    for zone, west, east in ((34, 23.5, 24.1), (35, 23.9, 24.5)):
        crs = f"EPSG:326{zone}"
        left, bottom, right, top = bounds_in((west, 44.9, east, 45.5), "OGC:CRS84", crs, "test")
        frame = Frame(crs, left, top, 200, int((top - bottom) / 200), int((right - left) / 200))
        x = left + (np.arange(frame.width) + 0.5) * 200
        y = top - (np.arange(frame.height) + 0.5) * 200
        longitude, _ = Transformer.from_crs(crs, "OGC:CRS84", always_xy=True).transform(*np.meshgrid(x, y))
        scores = np.eye(3)[stripe(longitude)].transpose(2, 0, 1)
        path = tmp_path / f"zone{zone}.tif"
        write_predictions(path, frame, scores, np.full(frame.shape, zone))
        sources.append(Source.checked(Tile(f"zone{zone}", frame), path, mosaic, 3))
    return mosaic, sources


def stripe(longitude: np.ndarray) -> np.ndarray:
    """Return the class of a place."""
    return np.floor(longitude * 10).astype(int) % 3


def test_tiles_of_two_utm_zones_fit_together(tmp_path, write_predictions):
    """Each pixel of the mosaic has the class of its longitude, but at a stripe's edge, whatever the blocks."""
    mosaic, sources = two_zones(tmp_path, write_predictions)
    classes, _, observations = mosaic_block(Window(0, 0, *mosaic.shape), mosaic, sources, VALUES)
    x = mosaic.left + (np.arange(mosaic.width) + 0.5) * 200
    y = mosaic.top - (np.arange(mosaic.height) + 0.5) * 200
    longitude, _ = Transformer.from_crs("EPSG:3035", "OGC:CRS84", always_xy=True).transform(*np.meshgrid(x, y))
    to_edge = np.abs(longitude * 10 - np.round(longitude * 10)) * 0.1 * 78_000  # metres; a degree is 78 km here
    clear = (classes != 0) & (to_edge > 150)
    assert clear.mean() > 0.9
    assert np.array_equal(classes[clear], VALUES[stripe(longitude[clear])])
    assert set(np.unique(observations[classes != 0])) == {34, 35}
    for window in mosaic.blocks(64):
        part = mosaic_block(window, mosaic, sources, VALUES)[0]
        assert np.array_equal(part, classes[window.slices])


def test_a_crs_in_other_words_is_the_same_place():
    """The register's name and the definition are one projection; a pixel aside, or another zone, is another place."""
    frame = Frame("EPSG:32635", 300_000, 5_000_040, 10, 100, 200)
    written_out = replace(frame, crs=rasterio.crs.CRS.from_epsg(32635).to_wkt(), left=300_000.000001)
    assert same_place(written_out, frame)
    assert not same_place(replace(frame, left=300_010), frame)
    assert not same_place(replace(frame, crs="EPSG:32634"), frame)
    assert not same_place(replace(frame, width=201), frame)
    assert not same_place(replace(frame, resolution=10.001), frame)


def test_interpolated_positions_are_those_of_proj():
    """Between nodes 32 pixels apart, positions are off by less than a hundredth of a pixel."""
    mosaic = Frame("EPSG:3035", 5_270_000, 2_540_000, 10, 20_000, 20_000)
    tile = Frame("EPSG:32635", 300_000, 5_000_040, 10, 10_980, 10_980)
    window = Window(10_007, 9_001, 300, 200)
    rows, columns = positions(tile, mosaic, window)
    x = mosaic.left + (window.column + np.arange(200) + 0.5) * 10
    y = mosaic.top - (window.row + np.arange(300) + 0.5) * 10
    exact_x, exact_y = Transformer.from_crs("EPSG:3035", "EPSG:32635", always_xy=True).transform(*np.meshgrid(x, y))
    assert np.abs(columns - (exact_x - tile.left) / 10).max() < 0.01
    assert np.abs(rows - (tile.top - exact_y) / 10).max() < 0.01


def test_files_are_cloud_optimised_with_colours_overviews_and_tags(make, random_scores, tmp_path):
    """A map larger than a block has overviews, of the classes' by the most frequent one."""
    made = make(height=520, width=1100, tile=1200, overlap=0)
    made.predict_all(2019, random_scores(3, (520, 1100), 3), np.full((520, 1100), 12))
    tags = {"YEAR": "2019", "CLASSES": "10 forest", "LICENCE": "CC-BY-4.0", "MODEL": "transformer m1"}
    layers, _ = write_layers(tmp_path, made.frame, sources_of(made), made.configuration, tags)
    assert [layer.file for layer in layers] == list(FILES)
    assert sorted(path.name for path in tmp_path.glob("*.tif")) == sorted(FILES)
    for name in FILES:
        assert cog_validate(tmp_path / name, strict=True, quiet=True)[0]
        with rasterio.open(tmp_path / name) as file:
            assert file.overviews(1) == [2, 4]
            assert file.block_shapes == [(512, 512)]
            assert tags.items() <= file.tags().items()
            assert file.crs.to_epsg() == 3035
            assert file.transform == made.frame.transform
    with rasterio.open(tmp_path / "classes.tif") as file:
        colours = file.colormap(1)
        assert (file.nodata, file.descriptions) == (0, ("land cover class",))
    assert [colours[value][:3] for value in (10, 20, 40)] == [(18, 97, 54), (168, 194, 86), (201, 180, 138)]
    with rasterio.open(tmp_path / "classes.tif", overview_level=1) as file:
        assert set(np.unique(file.read(1))) <= {10, 20, 40}
    with rasterio.open(tmp_path / "confidence.tif") as file:
        assert file.nodata == 255


@pytest.mark.parametrize(("size", "levels"), [((50, 50), 0), ((512, 512), 0), ((513, 10), 1), ((1025, 600), 2)])
def test_overviews_end_where_one_block_holds_the_map(size, levels):
    """A map of one block has none."""
    assert overview_levels(*size) == levels


def test_a_pixel_in_degrees_has_the_area_of_its_latitude():
    """0.01 degrees are 1.2309 km² at the equator and half as much at 60 degrees; in metres the area is nominal."""
    equator = hectares_of_rows(Frame("EPSG:4326", 0, 0.005, 0.01, 1, 1))[0]
    north = hectares_of_rows(Frame("EPSG:4326", 0, 60.005, 0.01, 1, 1))[0]
    assert equator == pytest.approx(123.09, abs=0.02)
    assert north / equator == pytest.approx(0.5051, abs=0.0001)
    assert hectares_of_rows(Frame("EPSG:3035", 0, 0, 20, 2, 9)).tolist() == [0.04, 0.04]


def test_predictions_that_do_not_fit_are_named(valley, random_scores):
    """Missing, of other classes, of another place, cut short: the tile and what to do are said."""
    tile = valley.tiles[1]
    path = valley.folder.predictions(2019, tile.name)
    with pytest.raises(
        StepError, match=rf"{tile.name}.tif is missing: run the step `classify` for the tile {tile.name}"
    ):
        Source.checked(tile, path, valley.frame, 3)
    valley.predict(2019, tile, random_scores(3, tile.frame.shape, 0), np.ones(tile.frame.shape))
    with pytest.raises(StepError, match=r"has 4 bands .* needs 5 classes"):
        Source.checked(tile, path, valley.frame, 5)
    with pytest.raises(StepError, match=f"the tile {valley.tiles[0].name} needs"):
        Source.checked(valley.tiles[0], path, valley.frame, 3)
    source = Source.checked(tile, path, valley.frame, 3)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(StepError, match=f"run the step `classify` for the tile {tile.name} again"):
        mosaic_block(Window(0, 0, *valley.frame.shape), valley.frame, [source], VALUES)


LARGE = """
import sys
from pathlib import Path
import numpy as np
from landcover_jobs.configuration.reading import read_map
from landcover_jobs.grid.tiles import read_tiles
from landcover_jobs.folder import MapFolder
from landcover_jobs.product.mosaic import Source, write_layers
def peak():  # of this process alone; getrusage counts what the process that started it had
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
folder, configuration = MapFolder(Path(sys.argv[2])), read_map(Path(sys.argv[1]))
tiles, frame = read_tiles(folder)
chosen = [tile for tile in tiles if folder.predictions(2019, tile.name).is_file()]
sources = [Source.checked(tile, folder.predictions(2019, tile.name), frame, 3) for tile in chosen]
before = peak()
target = folder.root / "large"
target.mkdir()
_, counts = write_layers(target, frame, sources, configuration, {})
print(before, peak(), int(counts.pixels[0]), frame.height * frame.width)
"""


def test_a_large_sparse_mosaic_takes_little_memory(make, random_scores):
    """7,000 x 7,000 pixels with tiles in two corners: memory is that of blocks; scores of it all take 588 MB."""
    made = make(height=7_000, width=7_000, tile=500, overlap=0)
    for tile in (made.tiles[0], made.tiles[-1]):
        made.predict(2019, tile, random_scores(3, tile.frame.shape, 5), np.ones(tile.frame.shape))
    done = subprocess.run(
        [sys.executable, "-c", LARGE, str(made.file), str(made.folder.root)],
        env={"PYTHONPATH": ":".join(sys.path)}, capture_output=True, text=True, check=False, timeout=250,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    before, peak, empty, pixels = (int(word) for word in done.stdout.split())
    assert empty == pixels - 2 * 500 * 500
    assert (peak - before) / 1024 < 250
    with rasterio.open(made.folder.root / "large" / "classes.tif") as file:
        assert file.read(1, window=((0, 500), (0, 500))).all()
        assert not file.read(1, window=((500, 1000), (0, 500))).any()
