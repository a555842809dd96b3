"""The steps `search` and `fetch` as jobs run them, against a real server."""

import json
import shutil
import signal
import time

import numpy as np
import pytest
import rasterio
from landcover_jobs.configuration.reading import parse_map
from landcover_jobs.grid.frame import Window
from landcover_jobs.grid.tiles import read_tiles
from landcover_jobs.scenes.cube import read_block
from landcover_jobs.scenes.inventory import read_inventory
from landcover_jobs.scenes.romania import frame_of
from scene_catalogue import BANDS, COLLECTION, MASK, add_scene, impatient
from scene_steps import FILES, Steps, originals, stac_map
from stac_api import stac_api
from stac_server import Drop, Status, Truncated, WrongBytes


@pytest.fixture
def steps(server, cube, tmp_path):
    """Return the steps of a map of the served catalogue."""
    return Steps(tmp_path, stac_map(server, cube))


def test_search_and_fetch_of_a_year(server, steps):
    """Tiles, inventories of the year and of the labels' year, all files; the second run asks for no file."""
    result = steps.run("search", year=2019)
    assert result == {
        "year": 2019,
        "tiles": 4,
        "tile_names": ["r0c0", "r0c1", "r1c0", "r1c1"],
        "scenes": {"2018": 6, "2019": 6},
        "new": {"2018": 6, "2019": 6},
    }
    tiles, frame = read_tiles(steps.folder)
    assert [tile.name for tile in tiles] == result["tile_names"]
    assert frame.shape == (50, 50)
    assert [scene.date[:4] for scene in read_inventory(steps.folder.inventory(2018))] == ["2018"] * 6
    fetched = steps.run("fetch", year=2019)
    size = sum(path.stat().st_size for path in server.folder.rglob("*.tif"))
    assert fetched == {"fetched": 12 * FILES, "reused": 0, "bytes": size}
    assert steps.hashes() == originals(server)
    requests = server.count(".tif")
    assert requests == 12 * FILES
    assert steps.run("search", year=2019)["new"] == {"2018": 0, "2019": 0}
    assert steps.run("fetch", year=2019) == {"fetched": 0, "reused": 12 * FILES, "bytes": 0}
    assert server.count(".tif") == requests


def test_only_a_new_scene_is_fetched(server, steps, cube):
    """It came to the catalogue later."""
    late = add_scene(cube.isel(time=2), frame_of(cube), server.folder)
    root = server.folder / COLLECTION
    shutil.rmtree(root / late.id)
    links = json.loads((root / "collection.json").read_text())
    kept = [link for link in links["links"] if late.id not in link["href"]]
    (root / "collection.json").write_text(json.dumps(links | {"links": kept}))
    assert steps.run("search")["new"] == {"2018": 5}
    steps.run("fetch")
    (root / "collection.json").write_text(json.dumps(links))
    item = add_scene(cube.isel(time=2), frame_of(cube), server.folder)
    (root / late.id / f"{late.id}.json").write_text(json.dumps(item.to_dict(include_self_link=False)))
    before = server.count(".tif")
    assert steps.run("search")["new"] == {"2018": 1}
    assert steps.run("fetch") == {"fetched": FILES, "reused": 5 * FILES, "bytes": pytest.approx(20_000, rel=1)}
    asked = {each.path for each in server.requests if each.path.endswith(".tif")}
    assert server.count(".tif") == before + FILES
    assert sum(late.id in path for path in asked) == FILES


def test_a_killed_fetch_ends_with_the_same_files(server, steps):
    """SIGKILL in the middle; what was whole is not fetched again."""
    server.bytes_per_second = 20_000
    steps.run("search")
    process = steps.start("fetch")
    end = time.monotonic() + 30
    while len(list(steps.folder.scenes.rglob("*.tif"))) < 6:
        assert time.monotonic() < end, "no file has come"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    whole = len(list(steps.folder.scenes.rglob("*.tif")))
    assert whole < 6 * FILES
    server.bytes_per_second = None
    half = steps.folder.scenes / read_inventory(steps.folder.inventory(2018))[0].id / ".item-12345678.json"
    half.parent.mkdir(exist_ok=True)
    half.write_text("{")
    result = steps.run_alone("fetch")
    assert result["reused"] >= whole - 4
    assert result["fetched"] + result["reused"] == 6 * FILES
    year = {name: digest for name, digest in originals(server).items() if name.startswith("S2_2018")}
    assert steps.hashes() == year
    assert list(steps.folder.scenes.rglob("*.part*")) == []
    assert list(steps.folder.scenes.rglob(".*")) == []


def test_faults_on_the_way_change_nothing(server, steps):
    """Dropped, busy, wrong and short answers: the files are the same."""
    steps.run("search")
    server.faults |= {
        "B3.tif": [Drop(300), Status(503)],
        "B4.tif": [WrongBytes()],
        "B11.tif": [Truncated(100)],
        "SCL.tif": [Status(429, retry_after="0"), Drop(0)],
    }
    result = steps.run("fetch")
    assert result["fetched"] == 6 * FILES
    year = {name: digest for name, digest in originals(server).items() if name.startswith("S2_2018")}
    assert steps.hashes() == year


def test_a_broken_scene_fails_the_step_after_the_others_have_come(server, steps):
    """The sentence names it; the next run only tries what lacks."""
    steps.run("search")
    broken = sorted((server.folder / COLLECTION).glob("S2_2018*"))[1]
    (broken / "B4.tif").write_bytes(b"something else")
    said = steps.fail("fetch")
    assert f"scene {broken.name}, B4" in said
    assert "fetched twice" in said
    assert len(steps.hashes()) == 6 * FILES - 1
    before = server.count(".tif")
    steps.fail("fetch")
    assert server.count(".tif") == before + 2
    steps.write(steps.content | {"source": steps.content["source"] | {"exclude": [broken.name]}})
    assert steps.run("search")["scenes"] == {"2018": 5}
    assert steps.run("fetch") == {"fetched": 0, "reused": 5 * FILES, "bytes": 0}


def test_broken_scenes_may_be_left_out_one_in_ten(server, steps):
    """Named in the result and in the log; the inventory goes on without. Two of twelve are too many."""
    source = steps.content["source"]
    steps.write(steps.content | {"source": source | {"transfer": impatient(broken_scenes="leave_out")}})
    steps.run("search", year=2019)
    first, second = sorted((server.folder / COLLECTION).glob("S2_2018*"))[:2]
    (first / "B4.tif").unlink()
    result = steps.run("fetch", year=2019)
    assert result["left_out"] == [first.name]
    assert f"LEFT OUT of the map: scene {first.name}" in steps.said
    assert first.name not in {scene.id for scene in read_inventory(steps.folder.inventory(2018))}
    assert len(read_inventory(steps.folder.inventory(2019))) == 6
    steps.run("search", year=2019)
    (second / "B4.tif").unlink()
    (steps.folder.scenes / second.name / "B4.tif").unlink()
    said = steps.fail("fetch", year=2019)
    assert first.name in said
    assert second.name in said


def test_verify_finds_what_the_size_does_not_show(server, steps):
    """A file that was changed on the disk is fetched again."""
    steps.run("search")
    steps.run("fetch")
    path = next(steps.folder.scenes.rglob("B4.tif"))
    path.write_bytes(bytes(path.stat().st_size))
    assert steps.run("fetch")["fetched"] == 0
    assert steps.run("fetch", "--verify")["fetched"] == 1
    assert steps.hashes().items() <= originals(server).items()


def test_an_old_map_on_the_network_is_fetched_once(server, steps):
    """Beside the scenes, by its own name."""
    (server.folder / "old").mkdir()
    (server.folder / "old" / "clc.tif").write_bytes(b"an old map")
    steps.write(steps.content | {"old_map": steps.content["old_map"] | {"path": f"{server.url}/old/clc.tif"}})
    steps.run("search")
    assert steps.run("fetch")["fetched"] == 6 * FILES + 1
    assert (steps.folder.old_map / "clc.tif").read_bytes() == b"an old map"
    assert steps.run("fetch")["fetched"] == 0
    assert server.count("clc.tif") == 1


def test_what_is_wrong_is_said_in_a_sentence(steps):
    """Fetch before search; a year without scenes; an area that the images do not show; a server that is not there."""
    assert "run the step `search`" in steps.fail("fetch")
    assert "no scene of the collection 'sentinel2'" in steps.fail("search", year=2017)
    content = steps.content
    steps.write(content | {"area": {"bbox": [10.0, 45.0, 10.1, 45.1]}})
    assert "touches the area" in steps.fail("search")
    steps.write(content | {"source": content["source"] | {"url": "http://127.0.0.1:1/catalog.json"}})
    assert "http://127.0.0.1:1/catalog.json could not be searched" in steps.fail("search")
    steps.write(content | {"bands": {"B99": {}}})
    assert "no asset 'B99'" in steps.fail("search")


def test_a_folder_of_the_cluster_and_a_catalogue_on_the_disk(server, steps):
    """Their files are linked."""
    content = steps.content | {"source": {"kind": "stac", "url": str(server.folder), "collection": COLLECTION}}
    steps.write(content)
    assert steps.run("search")["scenes"] == {"2018": 6}
    assert steps.run("fetch") == {"fetched": 6 * FILES, "reused": 0, "bytes": 0}
    assert all(path.is_symlink() for path in steps.folder.scenes.rglob("*.tif"))
    pattern = f"{COLLECTION}/S2_{{date}}/{{band}}.tif"
    steps.write(
        content | {"name": "folder", "source": {"kind": "folder", "path": str(server.folder), "pattern": pattern}}
    )
    assert steps.run("search")["scenes"] == {"2018": 6}
    assert steps.run("fetch") == {"fetched": 6 * FILES, "reused": 0, "bytes": 0}


def test_windows_give_the_pixels_that_whole_files_give(server, steps, cube):
    """From an API; only the area's part of each file is kept, and a block of a tile is the same."""
    frame = frame_of(cube)
    part = frame.part(Window(10, 15, 20, 25))
    catalogue = server.folder / "catalog.json"
    with stac_api(catalogue, server.url) as api:
        source = steps.content["source"] | {"url": api, "transfer": impatient(mode="window")}
        area = {"area": {"bounds": list(part.bounds)}, "source": source}
        steps.write(steps.content | area)
        assert steps.run("search")["new"] == {"2018": 6}
    assert steps.run("fetch")["fetched"] == 6 * FILES
    configuration = parse_map(steps.content, "test")
    scenes = read_inventory(steps.folder.inventory(2018))
    found = read_block(scenes, steps.folder, [*BANDS, MASK], part, configuration)
    images = cube.sel(time="2018")
    for place, band in enumerate((*BANDS, MASK)):
        np.testing.assert_array_equal(found[:, place], np.nan_to_num(images[band].values)[:, 10:30, 15:40])
    with rasterio.open(next(steps.folder.scenes.rglob("B4.tif"))) as raster:
        assert max(raster.shape) < 50
    assert steps.run("fetch")["reused"] == 6 * FILES


def test_two_fetches_of_one_map_wait_for_each_other(server, steps):
    """Two years share the scenes of the labels' year: each file comes once, and both end well."""
    server.bytes_per_second = 40_000
    steps.run("search", year=2018)
    steps.run("search", year=2019)
    both = [steps.start("fetch", year=2018), steps.start("fetch", year=2019)]
    said = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert server.count(".tif") == 12 * FILES
    assert steps.hashes() == originals(server)
