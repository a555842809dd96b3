"""Real images of 2018: the composites are those of an earlier, plainer implementation, whose figures stand here.

It took numpy's nanmedian of whole images in float32, month by month, and interpolated over three years in a row.
"""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from landcover_jobs.folder import MapFolder
from landcover_jobs.grid.tiles import tiles_of
from landcover_jobs.preparation.store import open_store, read_block
from landcover_jobs.preparation.year import normalisation_of
from landcover_jobs.scenes.footprint import footprint
from landcover_jobs.scenes.inventory import write_inventory
from landcover_jobs.scenes.romania import frame_of, write_scenes
from landcover_jobs.steps.prepare import prepared

PROJECT = Path(__file__).parents[3]
OBSERVATIONS_SHA256 = "520fdc0edefc85763184fcb941c24977ae9980162a8c2f9882fdc353b762ba9f"
OBSERVATIONS = [343, 1571, 796, 9799, 5349, 2147, 7486, 7475, 2600, 7271, 1635, 0]
# Means over all pixels of B3, B4, B8A, B11, NDVI, NDMI, MNDWI, NDWI.
MEANS = {
    0: [0.1072133, 0.1079821, 0.258811, 0.1261544, 0.4403231, 0.3524907, -0.1055217, -0.4463093],
    6: [0.0534907, 0.0311993, 0.4154564, 0.1957937, 0.8584849, 0.3599982, -0.5714038, -0.7703058],
    11: [0.0797068, 0.0810453, 0.2527804, 0.1404331, 0.5270034, 0.2873282, -0.2854264, -0.5360198],
}
# Reflectance x 10,000 of the four bands in each month at (row, column).
PIXELS = {
    (17, 31): [
        [972, 966, 2550, 1090], [1151, 1139, 2403, 917], [1615, 1542, 1984, 685], [508, 478, 2467, 1728],
        [496, 217, 4349, 1734], [747, 483, 5426, 2368], [451, 244, 4358, 1944], [449, 283, 1942, 866],
        [421, 250, 3529, 1688], [434, 446, 2991, 1609], [613, 619, 2844, 1436], [792, 792, 2697, 1263],
    ],
    (40, 5): [
        [1488, 1478, 3016, 1081], [1819, 1825, 2896, 872], [1203, 1220, 2727, 1471], [586, 615, 2559, 2070],
        [472, 218, 4334, 1800], [1349, 1287, 5335, 3007], [484, 341, 2132, 1006], [344, 247, 2474, 1056],
        [388, 222, 3529, 1703], [496, 438, 3375, 1708], [827, 785, 3255, 1499], [1158, 1132, 3136, 1290],
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def prepared_2018(make_map, tmp_path_factory):
    """Return the map, its folder and its four tiles, with 2018 prepared from GeoTIFF files."""
    found = sorted(PROJECT.glob(".demo/**/source/sentinel2_20m.nc"))
    if not found:
        pytest.skip("the Romanian images are not here; `make demo` leaves them in .demo")
    with xr.open_dataset(found[0], engine="h5netcdf") as cube:
        frame = frame_of(cube)
        whole = make_map(
            source={"kind": "romania"},
            area={"bounds": list(frame.bounds)},
            grid={
                "kind": "regular", "crs": frame.crs, "resolution": 20.0, "tile_pixels": 25,
                "origin": [frame.left, frame.top],
            },
            bands={"B3": {}, "B4": {}, "B8A": {}, "B11": {}},
            composites={
                "cloud_mask": {"band": "SCL", "clear": [4, 5, 7]},
                "indices": {
                    "NDVI": ["B8A", "B4"], "NDMI": ["B8A", "B11"], "MNDWI": ["B3", "B11"], "NDWI": ["B3", "B8A"],
                },
                "block_pixels": 32,
            },
        )  # fmt: skip
        folder = MapFolder(tmp_path_factory.mktemp("real"))
        scenes = write_scenes(cube, whole, folder, [footprint(frame)], 2018)
    write_inventory(folder.inventory(2018), scenes, "the cube")
    tiles = tiles_of(whole)
    for tile in tiles:
        prepared(folder, whole, tile, 2018)
    return whole, folder, frame, tiles


def test_composites_of_real_images_are_those_of_the_plain_implementation(prepared_2018):
    """Observations to the pixel; reflectance to the store's rounding (medians of two may end in a half)."""
    whole, folder, frame, tiles = prepared_2018
    features = np.empty((12, 8, *frame.shape), dtype=np.float32)
    observations = np.empty((12, *frame.shape), dtype=np.uint8)
    for tile in tiles:
        window = frame.window_of(tile.frame)
        rows, columns = window.slices
        series = read_block(
            open_store(folder.composites(2018, tile.name)), window.moved(-window.row, -window.column), whole
        )
        shape = (window.height, window.width)
        features[:, :, rows, columns] = series.features.transpose(1, 2, 0).reshape(12, 8, *shape)
        observations[:, rows, columns] = series.observations.T.reshape(12, *shape)
    assert observations.sum(axis=(1, 2)).tolist() == OBSERVATIONS
    assert hashlib.sha256(observations.tobytes()).hexdigest() == OBSERVATIONS_SHA256
    for month, means in MEANS.items():
        assert features[month].mean(axis=(1, 2), dtype=np.float64) == pytest.approx(means, abs=5e-5)
    for (row, column), expected in PIXELS.items():
        assert np.abs(features[:, :4, row, column] * 10_000 - expected).max() < 1.001


def test_the_year_is_normalised_over_its_tiles(prepared_2018):
    """The mean of the four tiles is that of the whole image."""
    _, folder, _, tiles = prepared_2018
    assert len(tiles) == 4
    normalisation = normalisation_of(folder, 2018, tiles)
    for month, means in MEANS.items():
        assert normalisation.mean[month] == pytest.approx(means, abs=5e-5)
