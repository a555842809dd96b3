"""Blocks out of fetched scenes: on the frame's own grid, on others, of several types, and damaged files."""

import numpy as np
import pytest
import rasterio
from landcover_jobs.folder import MapFolder
from landcover_jobs.grid.frame import Frame, Window
from landcover_jobs.job import StepError
from landcover_jobs.scenes.cube import read_block
from landcover_jobs.scenes.fetched import Entry, note_all
from landcover_jobs.scenes.footprint import footprint, touching
from landcover_jobs.scenes.inventory import Scene, scene_folder
from rasterio.warp import Resampling, reproject
from scene_catalogue import BANDS, MASK, map_of, write_raster

FRAME = Frame("EPSG:32631", 600_000.0, 5_700_000.0, 10.0, 60, 80)
SOURCE = {"kind": "folder", "path": "/nowhere"}


@pytest.fixture
def folder(tmp_path):
    """Return a map's empty folder."""
    return MapFolder(tmp_path)


@pytest.fixture
def plain():
    """Return a map of the frame."""
    return map_of(SOURCE, FRAME)


def keep(folder, name, files, *, day=1) -> Scene:
    """Write a scene as `fetch` leaves it; `files` has pixels and frame, and settings of the file, of each band."""
    first = next(iter(files.values()))[1]
    scene = Scene(name, f"2018-05-{day:02}T10:00:00+00:00", footprint(first), dict.fromkeys(files, ""), {})
    place, found = scene_folder(folder.scenes, scene), {}
    for band, (pixels, frame, *settings) in files.items():
        path = place / f"{band}.tif"
        write_raster(path, pixels, frame, **(settings[0] if settings else {}))
        found[band] = Entry(path.name, "", "", path.stat().st_size, "")
    note_all(place, name, found)
    return scene


def noise(frame, seed=1, dtype=np.uint16, low=1, high=9000):
    """Return pixels that are all different, more or less."""
    return np.random.default_rng(seed).integers(low, high, frame.shape).astype(dtype)


def test_a_block_is_the_files_pixels(folder, plain):
    """Scenes and bands in the order given, any window, nothing else changed."""
    pixels = {band: noise(FRAME, seed) for seed, band in enumerate((*BANDS, MASK))}
    first = keep(folder, "A", {band: (values, FRAME) for band, values in pixels.items()})
    second = keep(folder, "B", {band: (values[::-1], FRAME) for band, values in pixels.items()}, day=2)
    window = Window(7, 11, 20, 30)
    block = read_block([second, first], folder, ["B4", MASK], FRAME.part(window), plain)
    assert block.dtype == np.uint16
    assert block.shape == (2, 2, 20, 30)
    for place, band in enumerate(("B4", MASK)):
        np.testing.assert_array_equal(block[1, place], pixels[band][window.slices])
        np.testing.assert_array_equal(block[0, place], pixels[band][::-1][window.slices])


def test_scenes_of_the_same_day_stay_apart(folder, plain):
    """Two acquisitions, two rows."""
    scenes = [keep(folder, name, {"B4": (noise(FRAME, seed), FRAME)}) for seed, name in enumerate("AB")]
    block = read_block(scenes, folder, ["B4"], FRAME, plain)
    assert (block[0] != block[1]).any()


def test_where_a_scene_shows_nothing_there_is_no_data(folder):
    """The band's nodata in bands, and a value that is not clear in the mask, whether 0 is clear or not."""
    east = Frame(FRAME.crs, FRAME.left + 400, FRAME.top - 200, 10.0, 60, 80)
    files = {"B4": (noise(east), east, {"nodata": None}), MASK: (noise(east, high=5), east, {"nodata": None})}
    scene = keep(folder, "A", files)
    bands = {"B4": {"nodata": 65535}}
    for clear, unclear in (([4, 5], 0), ([0, 1, 3], 2)):
        rule = {"cloud_mask": {"band": MASK, "clear": clear}}
        block = read_block([scene], folder, ["B4", MASK], FRAME, map_of(SOURCE, FRAME, bands=bands, composites=rule))
        np.testing.assert_array_equal(block[0, 0, 20:, 40:], files["B4"][0][:40, :40])
        np.testing.assert_array_equal(block[0, 1, 20:, 40:], files[MASK][0][:40, :40])
        assert (block[0, 0, :20] == 65535).all()
        assert (block[0, 0, :, :40] == 65535).all()
        assert (block[0, 1, :20] == unclear).all()
    bits = {"cloud_mask": {"band": MASK, "clouded_bits": [3, 4]}}
    block = read_block([scene], folder, [MASK], FRAME, map_of(SOURCE, FRAME, bands=bands, composites=bits))
    assert (block[0, 0, :20] == 8).all()


def test_a_files_own_nodata_becomes_the_bands(folder):
    """A file says 9, the map says 0."""
    pixels = noise(FRAME)
    pixels[:5] = 9
    scene = keep(folder, "A", {"B4": (pixels, FRAME, {"nodata": 9})})
    block = read_block([scene], folder, ["B4"], FRAME, map_of(SOURCE, FRAME, bands={"B4": {"nodata": 0}}))
    assert (block[0, 0, :5] == 0).all()
    np.testing.assert_array_equal(block[0, 0, 5:] == 0, pixels[5:] == 9)


def test_scenes_that_do_not_touch_the_frame_are_not_opened(folder, plain):
    """Their files may be anything; they are nothing but no data."""
    away = Frame(FRAME.crs, FRAME.left + 50_000, FRAME.top, 10.0, 60, 80)
    near = keep(folder, "A", {"B4": (noise(FRAME), FRAME)})
    far = keep(folder, "B", {"B4": (noise(away), away)})
    (scene_folder(folder.scenes, far) / "B4.tif").write_bytes(b"broken")
    block = read_block([near, far], folder, ["B4"], FRAME, plain)
    assert (block[0] > 0).all()
    assert (block[1] == 0).all()
    assert touching([near, far], FRAME) == [near]


def test_types_are_widened_not_cut(folder):
    """A scene of int16 with negative values beside one of uint16."""
    first = keep(folder, "A", {"B4": (noise(FRAME, low=40_000, high=60_000), FRAME)})
    negative = noise(FRAME, dtype=np.int16, low=-3000, high=0)
    second = keep(folder, "B", {"B4": (negative, FRAME, {"nodata": -32768})})
    block = read_block([first, second], folder, ["B4"], FRAME, map_of(SOURCE, FRAME, bands={"B4": {"nodata": -32768}}))
    assert block.dtype == np.int32
    assert block[0].min() >= 40_000
    np.testing.assert_array_equal(block[1, 0], negative)


def test_floats_and_their_nan_stay(folder):
    """Sources with reflectance as floating point."""
    pixels = noise(FRAME).astype(np.float32) / 10_000
    pixels[0] = np.nan
    scene = keep(folder, "A", {"B4": (pixels, FRAME, {"nodata": np.nan})})
    block = read_block([scene], folder, ["B4"], FRAME, map_of(SOURCE, FRAME, bands={"B4": {"nodata": None}}))
    np.testing.assert_array_equal(block[0, 0], pixels)


@pytest.mark.parametrize("method", ["nearest", "bilinear"])
def test_another_projection_is_resampled_as_gdal_does(folder, method):
    """The band as configured, the mask always by its nearest pixel; GDAL itself is the oracle."""
    other = Frame("EPSG:3035", 3_933_000.0, 3_164_000.0, 20.0, 150, 200)
    west, south, east, north = footprint(FRAME)
    box = footprint(other)
    assert box[0] < west < east < box[2]
    assert box[1] < south < north < box[3]
    rows, columns = np.mgrid[:150, :200]
    smooth = (2000 + 1000 * np.sin(rows / 15) + 500 * np.cos(columns / 11)).astype(np.uint16)
    mask = ((rows // 7 + columns // 5) % 9 + 1).astype(np.uint8)
    scene = keep(folder, "A", {"B4": (smooth, other), MASK: (mask, other)})
    configuration = map_of(SOURCE, FRAME, bands={"B4": {"resampling": method}})
    block = read_block([scene], folder, ["B4", MASK], FRAME, configuration)
    for place, (pixels, way) in enumerate(((smooth, Resampling[method]), (mask, Resampling.nearest))):
        expected = np.zeros(FRAME.shape, pixels.dtype)
        reproject(
            pixels, expected, src_transform=other.transform, src_crs=other.crs, src_nodata=0,
            dst_transform=FRAME.transform, dst_crs=FRAME.crs, dst_nodata=0, resampling=way,
        )  # fmt: skip
        assert (expected > 0).all()
        difference = np.abs(block[0, place].astype(int) - expected)
        # Both go through GDAL's warper, whose approximation of the way differs by less than a pixel.
        assert (difference == 0).mean() > 0.97
        assert np.isin(block[0, place], np.unique(pixels)).all() or way is not Resampling.nearest
        assert place == 1 or difference.max() <= 60


def test_coarser_bands_come_onto_the_finer_grid(folder):
    """20 m into 10 m, the same corner: by the nearest pixel each value is there four times."""
    coarse = Frame(FRAME.crs, FRAME.left, FRAME.top, 20.0, 30, 40)
    pixels = noise(coarse)
    scene = keep(folder, "A", {"B11": (pixels, coarse)})
    configuration = map_of(SOURCE, FRAME, bands={"B11": {"resampling": "nearest"}})
    block = read_block([scene], folder, ["B11"], FRAME, configuration)
    np.testing.assert_array_equal(block[0, 0], pixels.repeat(2, axis=0).repeat(2, axis=1))


def test_the_edge_of_a_resampled_scene_is_no_data(folder):
    """Beyond it nothing is invented, and no data is not mixed into its pixels."""
    coarse = Frame(FRAME.crs, FRAME.left, FRAME.top, 20.0, 15, 40)
    scene = keep(folder, "A", {"B11": (np.full(coarse.shape, 5000, np.uint16), coarse)})
    block = read_block([scene], folder, ["B11"], FRAME, map_of(SOURCE, FRAME, bands={"B11": {}}))
    assert (block[0, 0, :30] == 5000).all()
    assert (block[0, 0, 31:] == 0).all()


def damage_truncated(path):
    """Leave half of the file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def damage_bytes(path):
    """Keep the size, and break the head of the compressed pixels."""
    content = bytearray(path.read_bytes())
    with rasterio.open(path) as raster:
        begin = int(raster.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1))
    content[begin : begin + 200] = bytes(200)
    path.write_bytes(bytes(content))


def damage_gone(path):
    """Remove the file."""
    path.unlink()


@pytest.mark.parametrize("damage", [damage_truncated, damage_bytes, damage_gone])
def test_a_damaged_file_is_an_error_not_zeros(folder, plain, damage):
    """The sentence names the scene, the band, the file and what to do."""
    scene = keep(folder, "S2_X", {"B4": (noise(FRAME), FRAME)})
    path = scene_folder(folder.scenes, scene) / "B4.tif"
    damage(path)
    with pytest.raises(StepError) as caught:
        read_block([scene], folder, ["B4"], FRAME, plain)
    for words in ("scene S2_X, B4", str(path), "delete it and run `fetch` again", "source.exclude"):
        assert words in str(caught.value)


def test_a_damaged_file_on_another_grid_is_an_error(folder, plain):
    """Also through odc-stac."""
    coarse = Frame(FRAME.crs, FRAME.left, FRAME.top, 20.0, 30, 40)
    scene = keep(folder, "S2_X", {"B4": (noise(coarse), coarse)})
    damage_bytes(scene_folder(folder.scenes, scene) / "B4.tif")
    with pytest.raises(StepError, match=r"scene S2_X, B4: .* is damaged"):
        read_block([scene], folder, ["B4"], FRAME, plain)


@pytest.mark.parametrize("grid", ["own", "other"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.99])
def test_a_file_that_was_truncated_at_its_source_is_an_error(folder, plain, grid, share):
    """Its size is what it was fetched with, its head (at the front, as in all cloud-optimised files) says more."""
    frame = FRAME if grid == "own" else Frame(FRAME.crs, FRAME.left, FRAME.top, 20.0, 30, 40)
    scene = keep(folder, "S2_X", {"B4": (noise(frame), frame, {"driver": "COG", "blocksize": 128})})
    path = scene_folder(folder.scenes, scene) / "B4.tif"
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    note_all(path.parent, "S2_X", {"B4": Entry("B4.tif", "", "", path.stat().st_size, "")})
    with pytest.raises(StepError, match=r"scene S2_X, B4: .* is damaged"):
        read_block([scene], folder, ["B4"], FRAME, plain)


def test_a_scene_that_is_not_fetched_says_so(folder, plain):
    """Of a band, or of all of it."""
    scene = keep(folder, "S2_X", {"B4": (noise(FRAME), FRAME)})
    with pytest.raises(StepError, match=r"scene S2_X, B3: not fetched yet; run the step `fetch`"):
        read_block([scene], folder, ["B3"], FRAME, plain)


def test_no_scene_is_an_empty_block(folder, plain):
    """Nothing touches the frame."""
    assert read_block([], folder, ["B4", MASK], FRAME, plain).shape == (0, 2, 60, 80)


def test_coordinates_that_are_a_little_off_are_the_same_grid(folder, plain):
    """A tenth of a millimetre is no reason to resample."""
    off = Frame(FRAME.crs, FRAME.left + 1e-4, FRAME.top - 1e-4, 10.0, 60, 80)
    pixels = noise(off)
    scene = keep(folder, "A", {"B4": (pixels, off)})
    np.testing.assert_array_equal(read_block([scene], folder, ["B4"], FRAME, plain)[0, 0], pixels)
