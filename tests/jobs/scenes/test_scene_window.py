"""Only the area's window of remote rasters."""

import numpy as np
import pytest
import rasterio
from landcover_jobs.configuration.images import Transfer
from landcover_jobs.grid.frame import Frame, Window
from landcover_jobs.scenes.fetched import Wanted, entries, missing
from landcover_jobs.scenes.fetching import fetch_all
from landcover_jobs.scenes.footprint import footprint
from scene_catalogue import impatient, write_raster
from stac_server import Drop, Silent, Status, served

LARGE = Frame("EPSG:32631", 600_000.0, 5_700_000.0, 10.0, 2000, 2000)
PART = LARGE.part(Window(700, 1100, 100, 150))
PATIENT = Transfer(**impatient(mode="window"))


@pytest.fixture(scope="module")
def pixels():
    """Return pixels that do not compress."""
    return np.random.default_rng(3).integers(1, 60_000, LARGE.shape).astype(np.uint16)


@pytest.fixture
def server(tmp_path, pixels):
    """Serve one large raster in tiles."""
    tiles = {"tiled": True, "blockxsize": 256, "blockysize": 256}
    write_raster(tmp_path / "served" / "B4.tif", pixels, LARGE, **tiles)
    with served(tmp_path / "served") as server:
        yield server


def wanted_of(server, tmp_path, frame=PART, name="B4") -> Wanted:
    """Return the window of a frame."""
    return Wanted("S2_A", name, f"{server.url}/{name}.tif", "", tmp_path / "scenes", footprint(frame))


def test_only_the_window_is_fetched(server, tmp_path, pixels):
    """Its pixels are the file's own, on the file's own grid; little else has been read."""
    wanted = wanted_of(server, tmp_path)
    outcome = fetch_all([wanted], PATIENT)
    assert (outcome.fetched, outcome.broken) == (1, {})
    with rasterio.open(wanted.target) as raster:
        found = raster.read(1)
        own = Frame(LARGE.crs, raster.transform.c, raster.transform.f, raster.transform.a, *raster.shape)
        assert raster.nodata == 0
        assert raster.is_tiled
    window = LARGE.window_of(own)
    np.testing.assert_array_equal(found, pixels[window.slices])
    inside = own.window_of(PART)
    assert inside.row >= 4
    assert inside.column >= 4
    assert inside.row + 100 + 4 <= own.height
    assert inside.column + 150 + 4 <= own.width
    assert outcome.bytes < 200_000
    ranges = [each.range for each in server.requests if each.range]
    assert ranges
    read = sum(int(last) - int(first) + 1 for first, _, last in (each[6:].partition("-") for each in ranges))
    assert read < (tmp_path / "served" / "B4.tif").stat().st_size / 4


def test_the_same_window_is_not_fetched_twice_and_another_one_is(server, tmp_path):
    """A larger area needs more of each file."""
    wanted = wanted_of(server, tmp_path)
    fetch_all([wanted], PATIENT)
    before = len(server.requests)
    assert fetch_all([wanted], PATIENT).reused == 1
    assert len(server.requests) == before
    larger = wanted_of(server, tmp_path, LARGE.part(Window(600, 1000, 300, 400)))
    assert missing([larger]) == [larger]
    assert fetch_all([larger], PATIENT).fetched == 1
    with rasterio.open(larger.target) as raster:
        assert raster.shape >= (300, 400)


def test_a_file_that_shows_nothing_of_the_area_is_noted(server, tmp_path, capsys):
    """Its footprint touched, its pixels do not: there is nothing to fetch, now or later."""
    away = Frame(LARGE.crs, LARGE.left + 100_000, LARGE.top, 10.0, 10, 10)
    wanted = wanted_of(server, tmp_path, away)
    assert fetch_all([wanted], PATIENT).broken == {}
    assert entries(wanted.folder)["B4"].outside
    assert missing([wanted]) == []
    assert "shows nothing of the area" in capsys.readouterr().out


@pytest.mark.parametrize("fault", [[Status(503)] * 2, [Drop(100)], [Silent()]])
def test_a_server_that_fails_for_a_while_is_asked_again(server, tmp_path, pixels, fault):
    """By GDAL itself, or by another attempt."""
    server.faults["B4.tif"] = list(fault)
    wanted = wanted_of(server, tmp_path)
    assert fetch_all([wanted], Transfer(**impatient(mode="window", timeout_seconds=1))).broken == {}
    with rasterio.open(wanted.target) as raster:
        own = Frame(LARGE.crs, raster.transform.c, raster.transform.f, raster.transform.a, *raster.shape)
        np.testing.assert_array_equal(raster.read(1), pixels[LARGE.window_of(own).slices])


def test_a_file_that_is_not_there_is_named_at_once(server, tmp_path):
    """404 does not pass."""
    outcome = fetch_all([wanted_of(server, tmp_path, name="B9")], PATIENT)
    assert "GDAL cannot open it" in outcome.broken["S2_A"]
    assert "B9.tif" in outcome.broken["S2_A"]


def test_a_file_that_is_no_raster_is_given_up(server, tmp_path):
    """The sentence has GDAL's reason."""
    (server.folder / "B8.tif").write_text("no raster at all")
    outcome = fetch_all([wanted_of(server, tmp_path, name="B8")], PATIENT)
    assert "scene S2_A, B8" in outcome.broken["S2_A"]


def test_a_bucket_is_read_through_s3(server, tmp_path, pixels, monkeypatch):
    """GDAL's /vsis3 and the variables of the environment; this server answers as a bucket without login does."""
    for name, value in {
        "AWS_S3_ENDPOINT": server.url.removeprefix("http://"),
        "AWS_HTTPS": "NO",
        "AWS_VIRTUAL_HOSTING": "FALSE",
        "AWS_NO_SIGN_REQUEST": "YES",
    }.items():
        monkeypatch.setenv(name, value)
    bucket = server.folder / "eodata"
    bucket.mkdir()
    (server.folder / "B4.tif").rename(bucket / "B4.tif")
    wanted = Wanted("S2_A", "B4", "s3://eodata/B4.tif", "", tmp_path / "scenes", footprint(PART))
    assert fetch_all([wanted], PATIENT).broken == {}
    with rasterio.open(wanted.target) as raster:
        own = Frame(LARGE.crs, raster.transform.c, raster.transform.f, raster.transform.a, *raster.shape)
        np.testing.assert_array_equal(raster.read(1), pixels[LARGE.window_of(own).slices])
