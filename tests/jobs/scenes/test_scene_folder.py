"""Scenes in a folder on the cluster, whatever the pattern of their names."""

import numpy as np
import pytest
from landcover_jobs.grid.frame import Frame
from landcover_jobs.job import StepError
from landcover_jobs.scenes.fetched import wanted_of
from landcover_jobs.scenes.fetching import fetch_all, transfer_of
from landcover_jobs.scenes.folder import search
from landcover_jobs.scenes.footprint import footprint
from scene_catalogue import map_of, write_raster

FRAME = Frame("EPSG:32631", 600_000.0, 5_700_000.0, 10.0, 20, 30)
MAP = {"bands": {"B3": {"asset": "B03"}, "B4": {"asset": "B04"}}, "composites": {"cloud_mask": {"clear": [4]}}}


def archive(root, names, frame=FRAME):
    """Write a raster under each name."""
    for name in names:
        write_raster(root / name, np.ones(frame.shape, np.uint16), frame)
    return root


def found(root, pattern, year=2018, **source):
    """Search as the step does."""
    settings = {"kind": "folder", "path": str(root), "pattern": pattern} | source
    configuration = map_of(settings, FRAME, **MAP)
    return search(configuration, configuration.source, root, [footprint(FRAME)], year)


PATTERNS = {
    "{date}/{band}.tif": [
        f"{date}/{band}.tif" for date in (20180301, 20170301) for band in ("B03", "B04", "SCL", "B08")
    ],
    "{band}_{date}.tif": ["B03_20180301.tif", "B04_20180301.tif", "SCL_20180301.tif", "B08_20180301.tif"],
    "*/T31UFS_{date}T*_{band}_?0m.jp2.tif": [
        f"R/T31UFS_20180301T104021_{band}_20m.jp2.tif" for band in ("B03", "B04", "SCL", "B08")
    ],
    "{band}/{date}/{date}_{band}.tif": [f"{band}/20180301/20180301_{band}.tif" for band in ("B03", "B04", "SCL")],
}  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_finds_the_scenes_of_the_year(tmp_path, pattern):
    """The date and all bands, whatever else is in the names; other years and bands are left."""
    archive(tmp_path, PATTERNS[pattern])
    (scene,) = found(tmp_path, pattern)
    assert scene.date == "2018-03-01T00:00:00+00:00"
    assert list(scene.assets) == ["B3", "B4", "SCL"]
    for band, asset in (("B3", "B03"), ("B4", "B04"), ("SCL", "SCL")):
        name = next(name for name in PATTERNS[pattern] if asset in name and "2018" in name)
        assert scene.assets[band] == str(tmp_path / name)
    assert scene.bbox == pytest.approx(footprint(FRAME))
    assert "20180301" in scene.id
    assert all(letter.isalnum() or letter in "_-." for letter in scene.id)


def test_scenes_of_the_same_day_differ_in_the_rest_of_the_name(tmp_path):
    """Two tiles of one day are two scenes."""
    bands = ("B03", "B04", "SCL")
    archive(tmp_path, [f"T31U{square}_20180301_{band}.tif" for square in ("FS", "ES") for band in bands])
    scenes = found(tmp_path, "T*_{date}_{band}.tif")
    assert sorted(scene.id for scene in scenes) == ["T31UES_20180301", "T31UFS_20180301"]
    assert [scene.id for scene in found(tmp_path, "T*_{date}_{band}.tif", exclude=["T31UES_20180301"])] == [
        "T31UFS_20180301"
    ]


def test_a_scene_without_a_band_is_named(tmp_path):
    """With the files that are there."""
    archive(tmp_path, ["20180301/B03.tif", "20180301/SCL.tif"])
    with pytest.raises(StepError, match=r"scene 20180301 has no asset 'B04' for the band B4; there are: B03, SCL"):
        found(tmp_path, "{date}/{band}.tif")


def test_no_scene_of_the_year_here(tmp_path):
    """None that matches, or all of them elsewhere; no folder at all."""
    with pytest.raises(StepError, match=r"no scene of 2018 .* 0 of this year match"):
        found(tmp_path, "{date}/{band}.tif")
    away = Frame(FRAME.crs, FRAME.left + 50_000, FRAME.top, 10.0, 20, 30)
    archive(tmp_path, ["20180301/B03.tif", "20180301/B04.tif", "20180301/SCL.tif"], away)
    with pytest.raises(StepError, match=r"no scene of 2018 .* 1 of this year match"):
        found(tmp_path, "{date}/{band}.tif")
    with pytest.raises(StepError, match="is no folder"):
        found(tmp_path / "nowhere", "{date}/{band}.tif")


def test_a_date_that_is_none_is_an_error(tmp_path):
    """The 39th of the 19th month."""
    archive(tmp_path, [f"20181939/{band}.tif" for band in ("B03", "B04", "SCL")])
    with pytest.raises(StepError, match=r"20181939 is no date"):
        found(tmp_path, "{date}/{band}.tif")


def test_a_file_that_is_no_raster_is_an_error(tmp_path):
    """Its name is told."""
    archive(tmp_path, [f"20180301/{band}.tif" for band in ("B03", "B04", "SCL")])
    for band in ("B03", "B04", "SCL"):
        (tmp_path / "20180301" / f"{band}.tif").write_text("no raster")
    with pytest.raises(StepError, match=r"20180301/.*tif is no raster"):
        found(tmp_path, "{date}/{band}.tif")


def test_a_changed_file_is_another_content(tmp_path):
    """So that composites are made anew; the fetch then uses the new file."""
    archive(tmp_path / "in", PATTERNS["{date}/{band}.tif"])
    (before,) = found(tmp_path / "in", "{date}/{band}.tif")
    configuration = map_of({"kind": "folder", "path": "/"}, FRAME)
    wanted = wanted_of(before, tmp_path / "scenes")
    assert fetch_all(wanted, transfer_of(configuration.source)).fetched == 3
    write_raster(tmp_path / "in" / "20180301" / "B03.tif", np.zeros(FRAME.shape, np.uint16), FRAME)
    (after,) = found(tmp_path / "in", "{date}/{band}.tif")
    assert after.content["B3"] != before.content["B3"]
    assert after.content["B4"] == before.content["B4"]
    outcome = fetch_all(wanted_of(after, tmp_path / "scenes"), transfer_of(configuration.source))
    assert (outcome.fetched, outcome.reused, outcome.bytes) == (1, 2, 0)
