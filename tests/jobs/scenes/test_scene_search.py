"""Searching a real STAC API, and a static catalogue over HTTP and on the disk."""

import json
import threading
import time
from pathlib import Path

import numpy as np
import pystac
import pytest
import xarray as xr
from landcover_jobs.grid.frame import Frame
from landcover_jobs.job import StepError
from landcover_jobs.scenes import stac
from landcover_jobs.scenes.footprint import footprint
from landcover_jobs.scenes.romania import frame_of
from scene_catalogue import BANDS, COLLECTION, MASK, build_catalogue, cube_of, impatient, map_of, real_cube
from stac_api import free_port, stac_api
from stac_server import Drop, Silent, Status, served, serving


@pytest.fixture(scope="module")
def cube():
    """Return images of one year and a bit of the next."""
    return cube_of(real_cube()).sel(time=slice("2018-06-01", "2019-02-28"))


@pytest.fixture(scope="module")
def catalogue(cube, tmp_path_factory):
    """Return a catalogue on the disk."""
    return build_catalogue(cube, tmp_path_factory.mktemp("catalogue") / "root")


@pytest.fixture
def frame(cube):
    """Return where the images lie."""
    return frame_of(cube)


def names_of(cube: xr.Dataset, year: int) -> list[str]:
    """Return the items' names, from the images themselves."""
    times = cube["time"].sel(time=str(year)).values.astype("datetime64[D]")
    return [f"S2_{time.replace('-', '')}" for time in np.datetime_as_string(times)]


def search(url: str, frame: Frame, year: int = 2018, boxes=None, bands=None, **source):
    """Search as the step does."""
    settings = {"kind": "stac", "url": url, "collection": COLLECTION, "transfer": impatient()} | source
    more = {} if bands is None else {"bands": bands}
    configuration = map_of(settings, frame, **more)
    return stac.search(configuration, configuration.source, url, boxes or [footprint(frame)], year)


@pytest.fixture(params=["api", "http", "disk"])
def address(request, catalogue):
    """Return the same catalogue as an API, over HTTP and on the disk."""
    if request.param == "disk":
        yield str(catalogue)
        return
    with serving(catalogue.parent) as url:
        if request.param == "http":
            yield f"{url}/catalog.json"
            return
        with stac_api(catalogue, url) as api:
            yield api


def test_the_scenes_of_the_year_are_found(address, catalogue, cube, frame, monkeypatch):
    """All pages of them, each with the addresses, sizes and checksums of the bands and of the mask."""
    monkeypatch.setattr(stac, "ITEMS_A_PAGE", 3)
    scenes = search(address, frame)
    assert sorted(scene.id for scene in scenes) == names_of(cube, 2018)
    scene = min(scenes, key=lambda each: each.date)
    assert scene.date.endswith("+00:00")
    assert list(scene.assets) == [*BANDS, MASK]
    assert scene.bbox == pytest.approx(footprint(frame))
    for band, written in scene.assets.items():
        path = catalogue.parent / COLLECTION / scene.id / f"{band}.tif"
        assert written.endswith(f"/{COLLECTION}/{scene.id}/{band}.tif")
        assert json.loads(scene.content[band])["size"] == path.stat().st_size
        assert json.loads(scene.content[band])["checksum"].startswith("1220")


def test_cloudier_scenes_are_left_out(address, cube, frame):
    """Also by servers that have not the extension `query`, as this one has not."""
    clouds = {
        item.id: item.properties["eo:cloud_cover"]
        for item in pystac.Catalog.from_file(address).get_items(recursive=True)
    } if not address.startswith("http") else None  # fmt: skip
    scenes = {scene.id for scene in search(address, frame, max_cloud_percent=30)}
    assert scenes < set(names_of(cube, 2018))
    if clouds is not None:
        assert scenes == {name for name in names_of(cube, 2018) if clouds[name] <= 30}


def test_a_year_without_scenes_says_what_was_asked(address, frame):
    """Area, year, collection and address are in the sentence."""
    with pytest.raises(StepError) as caught:
        search(address, frame, year=1999)
    for words in ("1999", COLLECTION, address, "22.14", "45.2"):
        assert words in str(caught.value)


def test_an_area_elsewhere_has_no_scenes(address, frame):
    """A degree to the east."""
    west, south, east, north = footprint(frame)
    with pytest.raises(StepError, match="no scene of the collection"):
        search(address, frame, boxes=[(west + 1, south, east + 1, north)])


def test_only_scenes_that_touch_a_tile_count(address, frame):
    """The rectangle around two tiles holds the images, but neither tile does."""
    west, south, east, north = footprint(frame)
    boxes = [(west - 2, south, west - 1, north), (east + 1, south, east + 2, north)]
    with pytest.raises(StepError, match="no scene of the collection"):
        search(address, frame, boxes=boxes)


def test_excluded_scenes_are_left_out(address, cube, frame):
    """By their ids."""
    first, *others = names_of(cube, 2018)
    assert sorted(scene.id for scene in search(address, frame, exclude=[first])) == others


def test_a_scene_without_a_band_names_what_there_is(address, frame):
    """The map wants an asset that the collection has not."""
    with pytest.raises(StepError) as caught:
        search(address, frame, bands={"blue": {"asset": "B02"}})
    for words in ("S2_2018", "'B02'", "blue", "B11, B3, B4, B8A, SCL"):
        assert words in str(caught.value)


def test_bands_may_have_other_names_than_their_assets(address, frame):
    """`bands.green.asset: B3`."""
    scenes = search(address, frame, bands={"green": {"asset": "B3"}})
    assert all(scene.assets["green"].endswith("/B3.tif") for scene in scenes)
    assert all(list(scene.assets) == ["green", MASK] for scene in scenes)


def test_a_collection_that_is_not_there(catalogue, frame):
    """A static catalogue names those that are."""
    with serving(catalogue.parent) as url, pytest.raises(StepError, match=f"no collection 'landsat'.*{COLLECTION}"):
        search(f"{url}/catalog.json", frame, collection="landsat")


def test_a_server_that_fails_for_a_while_is_asked_again(catalogue, cube, frame, capsys):
    """Busy, a dropped connection in the middle of an answer, no answer at all: each once; the log says so."""
    with served(catalogue.parent) as server:
        server.faults["catalog.json"] = [Status(503), Drop(20)]
        server.faults["collection.json"] = [Silent(), Status(429, retry_after="0")]
        transfer = impatient(timeout_seconds=0.4)
        scenes = search(f"{server.url}/catalog.json", frame, transfer=transfer)
    assert sorted(scene.id for scene in scenes) == names_of(cube, 2018)
    said = capsys.readouterr().out
    for words in ("503", "429", "attempt 2 of 3", "attempt 3 of 3"):
        assert words in said


def test_a_server_that_stays_away_is_given_up(frame):
    """The sentence names the address."""
    address = f"http://127.0.0.1:{free_port()}/catalog.json"
    with pytest.raises(StepError, match=f"{address} could not be searched.*3 attempts in a row"):
        search(address, frame)


def test_a_stac_api_that_is_started_again_meanwhile_is_waited_for(catalogue, cube, frame):
    """The search begins while the server is away."""
    port, found = free_port(), []
    address = f"http://127.0.0.1:{port}"
    transfer = impatient(attempts=50, wait_seconds=0.1)
    searching = threading.Thread(target=lambda: found.extend(search(address, frame, transfer=transfer)))
    searching.start()
    time.sleep(0.5)
    with stac_api(catalogue, "http://127.0.0.1:1", port):
        searching.join(timeout=20)
    assert sorted(scene.id for scene in found) == names_of(cube, 2018)


@pytest.mark.parametrize("content", ["{", "[]", '{"type": "Feature"}', '{"type": "Catalog", "id": "x"}', "\x00"])
def test_what_is_no_catalogue_is_refused(tmp_path, frame, content):
    """Broken JSON, another JSON, half a catalogue: one sentence with the address."""
    (tmp_path / "catalog.json").write_text(content)
    with serving(tmp_path) as url, pytest.raises(StepError, match=f"{url}/catalog.json"):
        search(f"{url}/catalog.json", frame)


def test_a_folder_stands_for_its_catalogue(catalogue, cube, frame):
    """`url: /archive` is `/archive/catalog.json`; one that is not there is named."""
    assert len(search(str(catalogue.parent), frame)) == len(names_of(cube, 2018))
    with pytest.raises(StepError, match="/nowhere is no STAC"):
        search("/nowhere", frame)


def test_conditions_go_to_a_server_that_knows_them(catalogue, frame):
    """An API with the extension `query` is asked for the few scenes that are wanted."""
    item = json.loads(next(catalogue.parent.glob(f"{COLLECTION}/S2_2018*/*.json")).read_text())
    item["properties"]["eo:cloud_cover"], item["links"] = 3.0, []
    for asset in item["assets"].values():
        asset["href"] = f"http://127.0.0.1:1/{asset['href']}"
    asked = []
    with served(Path(catalogue.parent)) as server:
        landing = {
            "type": "Catalog", "id": "api", "description": "an API", "stac_version": "1.0.0",
            "conformsTo": [
                f"https://api.stacspec.org/v1.0.0/{part}" for part in ("core", "item-search", "item-search#query")
            ],
            "links": [
                {"rel": "self", "href": server.url}, {"rel": "root", "href": server.url},
                {"rel": "search", "href": f"{server.url}/search", "method": "POST", "type": "application/geo+json"},
            ],
        }  # fmt: skip
        server.answers["/"] = server.answers[""] = lambda _: json.dumps(landing).encode()
        page = {"type": "FeatureCollection", "links": [], "features": [item]}
        server.answers["/search"] = lambda body: asked.append(json.loads(body)) or json.dumps(page).encode()
        scenes = search(server.url, frame, max_cloud_percent=20, query={"platform": {"eq": "sentinel-2a"}})
    assert [scene.id for scene in scenes] == [item["id"]]
    assert asked[0]["query"] == {"platform": {"eq": "sentinel-2a"}, "eo:cloud_cover": {"lte": 20}}
    assert asked[0]["collections"] == [COLLECTION]
    assert asked[0]["bbox"] == pytest.approx(footprint(frame))


def test_a_condition_that_is_none_is_refused(catalogue, frame):
    """`platform: sentinel-2a` is written without the comparison."""
    with pytest.raises(StepError, match=r"source.query.platform.*eq"):
        search(str(catalogue), frame, query={"platform": "sentinel-2a"})


def test_an_unknown_checksum_is_said_and_not_looked_at(tmp_path, cube, frame, capsys):
    """The size still counts."""
    catalogue = build_catalogue(cube.isel(time=slice(0, 1)), tmp_path)
    file = next(tmp_path.glob(f"{COLLECTION}/*/S2*.json"))
    content = json.loads(file.read_text())
    content["assets"]["B3"]["file:checksum"] = "7f0100"
    file.write_text(json.dumps(content))
    scene = search(str(catalogue), frame)[0]
    assert set(json.loads(scene.content["B3"])) == {"size", "other_checksum"}
    assert "its checksum is not looked at" in capsys.readouterr().out


def test_scenes_without_a_box_or_a_date_of_their_own(tmp_path, cube, frame):
    """The geometry and the beginning of the acquisition stand for them; without these, it is an error."""
    catalogue = build_catalogue(cube.isel(time=slice(0, 1)), tmp_path)
    file = next(tmp_path.glob(f"{COLLECTION}/*/S2*.json"))
    content = json.loads(file.read_text())
    begin = content["properties"]["datetime"]
    content["properties"] |= {"datetime": None, "start_datetime": begin, "end_datetime": begin}
    box = content["bbox"]
    content["bbox"] = [box[0], box[1], 100.0, box[2], box[3], 900.0]
    file.write_text(json.dumps(content))
    scene = search(str(catalogue), frame)[0]
    assert scene.bbox == pytest.approx(footprint(frame))
    assert scene.date[:10] == begin[:10]


def test_items_may_lie_in_catalogues_of_their_own(tmp_path, cube, frame):
    """A collection with a catalogue for each year and month, as large static catalogues are laid out."""
    catalogue = pystac.Catalog.from_file(build_catalogue(cube, tmp_path / "flat"))
    catalogue.make_all_asset_hrefs_absolute()
    catalogue.get_child(COLLECTION).generate_subcatalogs("${year}/${month}")
    catalogue.normalize_and_save(str(tmp_path / "deep"), pystac.CatalogType.SELF_CONTAINED)
    assert len(list((tmp_path / "deep" / COLLECTION / "2018").iterdir())) > 1
    with serving(tmp_path / "deep") as url:
        assert sorted(scene.id for scene in search(f"{url}/catalog.json", frame)) == names_of(cube, 2018)
    scenes = search(str(tmp_path / "deep"), frame)
    assert sorted(scene.id for scene in scenes) == names_of(cube, 2018)
    assert all(Path(address).is_file() for scene in scenes for address in scene.assets.values())
