"""The scenes out of the package's images: files that are the images, written once."""

import numpy as np
import pytest
import rasterio
from landcover_jobs.folder import MapFolder
from landcover_jobs.job import StepError
from landcover_jobs.scenes.cube import read_block
from landcover_jobs.scenes.fetched import missing, wanted_of
from landcover_jobs.scenes.footprint import footprint
from landcover_jobs.scenes.inventory import scene_folder
from landcover_jobs.scenes.romania import frame_of, write_scenes
from scene_catalogue import BANDS, MASK, cube_of, map_of, real_cube


@pytest.fixture(scope="module")
def cube():
    """Return the real images, or invented ones."""
    return cube_of(real_cube())


@pytest.fixture
def frame(cube):
    """Return where they lie."""
    return frame_of(cube)


def written(cube, frame, root, year=2018, **more):
    """Write a year's scenes."""
    configuration = map_of({"kind": "romania"}, frame, **more)
    return write_scenes(cube, configuration, MapFolder(root), [footprint(frame)], year)


def test_the_scenes_are_the_images(cube, frame, tmp_path):
    """All dates of the year, all bands, to the last digit; in a projection that has a name."""
    scenes = written(cube, frame, tmp_path)
    images = cube.sel(time="2018")
    assert [scene.date[:10] for scene in scenes] == [str(day)[:10] for day in images["time"].values]
    configuration = map_of({"kind": "romania"}, frame)
    block = read_block(scenes, MapFolder(tmp_path), [*BANDS, MASK], frame, configuration)
    for place, band in enumerate((*BANDS, MASK)):
        np.testing.assert_array_equal(block[:, place], np.nan_to_num(images[band].values))
    with rasterio.open(scene_folder(MapFolder(tmp_path).scenes, scenes[0]) / "B4.tif") as raster:
        assert raster.crs == rasterio.CRS.from_epsg(3035)
        assert raster.dtypes == ("uint16",)
        assert raster.res == (20.0, 20.0)


def test_nothing_is_written_twice(cube, frame, tmp_path):
    """And nothing is left for `fetch`; a file that is gone is written again."""
    scenes = written(cube, frame, tmp_path)
    folder = MapFolder(tmp_path).scenes
    wanted = [each for scene in scenes for each in wanted_of(scene, folder)]
    assert missing(wanted) == []
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.tif")}
    lost = wanted[3].target
    lost.unlink()
    written(cube, frame, tmp_path)
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*.tif")}
    assert after.keys() == before.keys()
    changed = {path.parent for path in after if after[path] != before[path]}
    assert changed == {lost.parent}


def test_what_the_package_has_not(cube, frame, tmp_path):
    """A year, a band, an area."""
    with pytest.raises(StepError, match="no Romanian images of 1999"):
        written(cube, frame, tmp_path, year=1999)
    with pytest.raises(StepError, match=r"no asset 'B99' for the band B99; there are: B11"):
        written(cube, frame, tmp_path, bands={"B99": {}})
    with pytest.raises(StepError, match="outside"):
        write_scenes(cube, map_of({"kind": "romania"}, frame), MapFolder(tmp_path), [(0.0, 0.0, 1.0, 1.0)], 2018)


def test_images_on_another_grid_are_refused(cube, frame, tmp_path):
    """Rows from the south would turn the map upside down."""
    with pytest.raises(StepError, match="north-west"):
        written(cube.isel(y=slice(None, None, -1)), frame, tmp_path)
