"""The step `prepare` on real GeoTIFF files: what it writes, when it writes nothing, how it fails and goes on."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
from landcover_jobs.folder import MapFolder
from landcover_jobs.job import StepError
from landcover_jobs.preparation.block import by_period, composites_of
from landcover_jobs.preparation.normalisation import Statistics
from landcover_jobs.preparation.store import open_store
from landcover_jobs.scenes.inventory import read_inventory, write_inventory
from landcover_jobs.steps import fetch, prepare, search

JOBS = Path(__file__).parents[3] / "dags" / "landcover" / "jobs"


def write_image(folder, date, bands, frame):
    """Write one date as the folder source wants it."""
    (folder / date).mkdir(parents=True)
    profile = {"driver": "GTiff", "dtype": "uint16", "count": 1, "height": frame.height, "width": frame.width}
    profile |= {"crs": frame.crs, "transform": frame.transform, "nodata": 0, "compress": "deflate"}
    for name, pixels in bands.items():
        with rasterio.open(folder / date / f"{name}.tif", "w", **profile) as file:
            file.write(pixels, 1)


class Run:
    """A map's data folder, its images, and its steps."""

    def __init__(self, root, monkeypatch, configuration, cube, frame) -> None:
        self.root, self.monkeypatch, self.cube, self.frame = root, monkeypatch, cube, frame
        self.folder = MapFolder(root / configuration.name)
        self.configuration = configuration
        self.images = self.folder.root / "images"
        self.path = self.folder.composites(2018, "r-2600c5200")
        for number, date in enumerate(cube.dates):
            bands = dict(zip(cube.bands, cube.values[number], strict=True))
            write_image(self.images, date[:10].replace("-", ""), bands, frame)

    def step(self, module, configuration=None):
        """Run a step in this process."""
        self.monkeypatch.setattr(sys, "argv", ["step", "--data", str(self.root), "--year", "2018"])
        self.monkeypatch.setenv("LANDCOVER_MAP", (configuration or self.configuration).model_dump_json())
        self.monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "0")
        return module.main()

    def find(self):
        """Run the steps before."""
        self.step(search)
        self.step(fetch)
        (tile,) = json.loads(self.folder.tiles.read_text())["tiles"]
        self.path = self.folder.composites(2018, tile["name"])

    def prepare(self, **changes):
        """Run the step with a changed configuration."""
        return self.step(prepare, self.configuration.model_copy(update=changes))

    def start(self, log):
        """Run it in a process of its own."""
        environment = os.environ | {
            "LANDCOVER_MAP": self.configuration.model_dump_json(),
            "SLURM_ARRAY_TASK_ID": "0",
            "PYTHONPATH": str(JOBS),
        }
        command = [sys.executable, "-m", "landcover_jobs.steps.prepare", "--data", str(self.root), "--year", "2018"]
        return subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)


@pytest.fixture
def make_run(tmp_path, monkeypatch, make_map, frame):
    """Return what makes a map whose scenes are fetched."""

    def make(cube, *, block=25):
        mask = {"band": "SCL", "clear": [4], "grow_pixels": 1}
        small = make_map(composites={"cloud_mask": mask, "block_pixels": block})
        found = Run(tmp_path, monkeypatch, small, cube, frame)
        found.find()
        return found

    return make


@pytest.fixture
def run(make_run, make_cube):
    """Return a map with 9 scenes, fetched."""
    return make_run(make_cube(21, dates=9))


def digests(folder):
    """Return the hash of every file below a folder."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_the_composites_are_those_of_the_images(run):
    """Read from GeoTIFF files block by block, they are what the whole images in memory give."""
    result = run.prepare()
    expected = composites_of(run.cube, by_period(run.cube.scenes, run.configuration), run.frame, run.configuration)
    group = open_store(run.path)
    assert np.array_equal(group["bands"][:], expected.bands)
    assert np.array_equal(group["observations"][:], expected.observations)
    counts = expected.observations.sum(axis=0, dtype=np.int64)
    assert result["tile"] == run.path.stem
    assert (result["year"], result["years"], result["dates"]) == (2018, [2018], 9)
    assert result["clear_observations_mean"] == pytest.approx(counts.mean(), abs=0.005)
    assert result["pixels_never_seen"] == int((counts == 0).sum())


def test_the_record_says_what_was_seen(run):
    """Statistics over the features, dates, scenes and shares."""
    run.prepare()
    record = json.loads(run.path.with_suffix(".json").read_text())
    assert record["dates"] == sorted(date[:10] for date in run.cube.dates)
    assert len(record["scenes"]) == 9
    assert record["pixels"] == 40 * 50
    assert record["clear_share"] == 1 - record["pixels_never_seen"] / 2000
    statistics = Statistics.from_dict(record["statistics"])
    assert statistics.count == 2000 - record["pixels_never_seen"]
    assert statistics.mean.shape == (12, 3)
    assert [each.name for each in run.path.parent.iterdir() if each.name.startswith(".")] == []


def test_the_same_inputs_are_not_prepared_again(run, capsys):
    """Nothing is written; the result is the same, and the log says why."""
    first = run.prepare()
    before = {file: file.stat().st_mtime_ns for file in run.path.parent.rglob("*")}
    assert run.prepare() == first
    assert {file: file.stat().st_mtime_ns for file in run.path.parent.rglob("*")} == before
    assert "composites of the same 9 scenes are there" in capsys.readouterr().out


def test_a_new_scene_makes_the_tile_anew_and_one_elsewhere_does_not(run, frame, capsys):
    """A scene in the next valley is none of the tile's."""
    run.prepare()
    key = json.loads(run.path.with_suffix(".json").read_text())["key"]
    pixels = dict.fromkeys(run.cube.bands, np.full(frame.shape, 4, dtype=np.uint16))
    far = type(frame)(frame.crs, frame.left + 9000, frame.top, 20.0, *frame.shape)
    first, second = [day for day in ("20180131", "20180201", "20180202") if not (run.images / day).exists()][:2]
    write_image(run.images, first, pixels, far)
    run.find()
    run.prepare()
    assert "9 scenes are there" in capsys.readouterr().out
    write_image(run.images, second, pixels, frame)
    run.find()
    run.prepare()
    record = json.loads(run.path.with_suffix(".json").read_text())
    assert record["key"] != key
    assert len(record["scenes"]) == 10


def test_a_month_without_a_clear_pixel_is_said(make_run, make_cube, capsys):
    """In the log, the record and the result; it is no error."""
    cube = make_cube(3, dates=5)
    result = make_run(cube).prepare()
    months = sorted({int(date[5:7]) for date in cube.dates})
    empty = [month - 1 for month in range(1, 13) if month not in months]
    assert result["empty_periods"] == empty
    numbers = ", ".join(str(month + 1) for month in empty)
    said = f"no clear pixel at all in months {numbers}; their composites are interpolated"
    assert said in capsys.readouterr().out


def test_a_tile_without_scenes_says_where_to_look(run):
    """An empty inventory of the tile: its name, the year, and the fields."""
    write_inventory(run.folder.inventory(2018), [], "none")
    with pytest.raises(StepError, match=rf"tile {run.path.stem}: no scene of 2018 shows it; check source"):
        run.prepare()


def test_a_tile_that_is_seen_too_little_fails_with_its_composites_kept(run):
    """A lower bar takes them as they are."""
    values = run.cube.values.copy()
    values[:, 2, :30] = 9
    for number, scene in enumerate(read_inventory(run.folder.inventory(2018))):
        with rasterio.open(Path(scene.assets["SCL"]), "r+") as file:
            file.write(values[number, 2], 1)
    run.find()
    strict = run.configuration.composites.model_copy(update={"least_clear_share": 0.5})
    with pytest.raises(StepError, match=r"only 2\d\.\d% of its pixels are seen on any of 9 dates, less than"):
        run.prepare(composites=strict)
    before = digests(run.path)
    assert run.prepare()["clear_share"] < 0.3
    assert digests(run.path) == before


def test_a_truncated_scene_is_named_and_its_repair_lets_the_tile_go_on(run):
    """What is finished stays; the tile is not there before it is whole."""
    scene = read_inventory(run.folder.inventory(2018))[7]
    file = Path(scene.assets["B8"])
    content, modified = file.read_bytes(), file.stat()
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(StepError, match=rf"scene {scene.id}, B8: .* is damaged"):
        run.prepare()
    assert not run.path.exists()
    file.write_bytes(content)
    os.utime(file, ns=(modified.st_atime_ns, modified.st_mtime_ns))
    run.prepare()
    expected = composites_of(run.cube, by_period(run.cube.scenes, run.configuration), run.frame, run.configuration)
    assert np.array_equal(open_store(run.path)["bands"][:], expected.bands)


def test_a_killed_job_goes_on_and_writes_the_same_bytes(make_run, make_cube, tmp_path):
    """SIGKILL, twice, in the middle of the tile's 12 blocks; the third job does what is missing."""
    run, seen = make_run(make_cube(21, dates=5), block=16), []
    for least in (2, 5):
        with (tmp_path / "log").open("w") as log:
            process = run.start(log)
            deadline = time.monotonic() + 60
            while len(seen) < least and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.002)
                journals = run.path.parent.glob(".*.work/blocks.jsonl")
                seen = [line for journal in journals for line in journal.read_text().splitlines()]
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL, (tmp_path / "log").read_text()
        assert not run.path.exists()
    run.prepare()
    killed, record = digests(run.path), json.loads(run.path.with_suffix(".json").read_text())
    for file in sorted(run.path.rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    run.path.rmdir()
    run.prepare()
    assert digests(run.path) == killed
    assert json.loads(run.path.with_suffix(".json").read_text()) == record
