"""Steps: what they write, that it is whole, and what they say when they can't go on."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from landcover_jobs.classes import CLASSES
from landcover_jobs.download import fetch_wheel, is_complete, sha256
from landcover_jobs.job import StepError, replacing, report, write_json
from landcover_jobs.layout import SCENE_SIZE, TILES, Layout, tile_window
from landcover_jobs.mosaic import CLASS_MAP, CONFIDENCE
from landcover_jobs.tune import Objective
from landcover_jobs.validate import VALIDATION
from rio_cogeo.cogeo import cog_validate

JOBS = Path(__file__).parents[2] / "dags" / "landcover" / "jobs"
PIXEL_METRES = 20.0


def run_step(step: str, layout: Layout, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a step as the job does."""
    command = [sys.executable, "-m", f"landcover_jobs.{step}", "--data", str(layout.root), *words]
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "HEADNODE_"))}
    return subprocess.run(
        command, cwd=JOBS, env=outside | env, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.fixture
def classified(tmp_path: Path) -> Layout:
    """Return a data folder as `classify` leaves it: vertical stripes of classes, and a corner never seen."""
    layout = Layout(tmp_path / "data")
    layout.reference.parent.mkdir(parents=True)
    profile = {"driver": "GTiff", "width": SCENE_SIZE, "height": SCENE_SIZE, "count": 1, "dtype": "uint8"}
    transform = rasterio.transform.from_origin(5_271_982, 2_533_004, PIXEL_METRES, PIXEL_METRES)
    with rasterio.open(layout.reference, "w", crs="EPSG:3035", transform=transform, nodata=255, **profile) as file:
        file.write(np.tile(np.repeat([10, 50, 90, 90, 90], 10), (SCENE_SIZE, 1)).astype(np.uint8), 1)
    probabilities = np.zeros((SCENE_SIZE, SCENE_SIZE, 3), dtype=np.float32)
    for column, index in ((slice(0, 10), 0), (slice(10, 20), 1), (slice(20, 50), 2)):
        probabilities[:, column, index] = 0.9
    probabilities[:2, :2] = np.nan
    for tile in range(TILES):
        part = probabilities[tile_window(tile)].reshape(-1, 3)
        seen = np.isfinite(part).all(axis=1)
        with replacing(layout.predictions(2019, tile)) as temporary:
            np.savez(temporary, observations=np.where(seen, 7, 0), transformer=part, random_forest=part)
    write_json(layout.training_record, {"better": "transformer"})
    return layout


def test_the_mosaic_is_a_cloud_optimised_map_with_colours_and_overviews(classified: Layout):
    """Classes keep their values in the overviews, because these take the most frequent one."""
    done = run_step("mosaic", classified, "--year", "2019")
    assert done.returncode == 0, done.stdout + done.stderr
    path = classified.mosaic(2019) / CLASS_MAP
    assert cog_validate(path)[0]
    with rasterio.open(path) as file:
        pixels, colours = file.read(1), file.colormap(1)
        assert file.crs.to_epsg() == 3035
        assert file.res == (PIXEL_METRES, PIXEL_METRES)
        assert file.overviews(1) == [2, 4]
        assert file.nodata == 0
        assert file.tags()["YEAR"] == "2019"
    assert pixels[:2, :2].tolist() == [[0, 0], [0, 0]]
    assert pixels[30, [5, 15, 40]].tolist() == [1, 2, 3]
    assert [colours[entry.value][:3] for entry in CLASSES] == [entry.colour for entry in CLASSES]
    with rasterio.open(path, overview_level=1) as file:
        assert set(np.unique(file.read(1))) <= {0, 1, 2, 3}
    with rasterio.open(classified.mosaic(2019) / CONFIDENCE) as file:
        assert sorted(np.unique(file.read(1))) == [90, 255]


def test_publishing_twice_is_publishing_once(classified: Layout, tmp_path: Path):
    """The version is named by its content; `current` leads to it; the result says where it is."""
    assert run_step("mosaic", classified, "--year", "2019").returncode == 0
    scores = {"forest": {"overall_accuracy": 0.97, "macro_f1": 0.9}}
    models = {"transformer": scores, "random_forest": scores}
    record = {"better": "transformer", "year": 2019, "map": scores, "year_models": models}
    write_json(classified.mosaic(2019) / VALIDATION, record | {"reference_year_models": models})
    results = []
    for name in ("first.json", "second.json"):
        done = run_step("publish", classified, "--year", "2019", HEADNODE_RESULT=str(tmp_path / name))
        assert done.returncode == 0, done.stdout + done.stderr
        results.append(json.loads((tmp_path / name).read_text()))
    home = classified.published(2019)
    assert sorted(path.name for path in home.iterdir()) == ["current", results[0]["version"]]
    assert (home / "current").resolve() == home / results[0]["version"]
    assert [result.pop("reused") for result in results] == [False, True]
    assert results[0] == results[1]
    assert json.loads((home / "current" / "metrics.json").read_text())["classes"][2]["colour"] == "#126136"
    assert (home / "current" / "quicklook.png").read_bytes().startswith(b"\x89PNG")


def test_a_study_never_sees_the_fold_that_it_is_for(monkeypatch: pytest.MonkeyPatch):
    """Its training and scoring pixels are disjoint, and neither is of its own fold."""
    from landcover_jobs import tune  # noqa: PLC0415 - patched: the scene is not on disk here
    from landcover_jobs.scene import Series, pixel_folds  # noqa: PLC0415

    pixels = SCENE_SIZE**2
    scene = Series(np.zeros((pixels, 12, 8), dtype=np.float32), np.ones((pixels, 12), dtype=np.uint8))
    monkeypatch.setattr(tune, "load_series", lambda _layout, _year: scene)
    monkeypatch.setattr(tune, "load_reference", lambda _layout: np.zeros(pixels, dtype=np.int64))
    for fold in range(5):
        objective = Objective(Layout(Path("unused")), fold)
        own = pixel_folds() == fold
        assert not (objective.trained & own).any()
        assert not (objective.scored & own).any()
        assert not (objective.trained & objective.scored).any()
        assert objective.trained.sum() == 3 * objective.scored.sum()


@pytest.mark.parametrize(
    ("step", "words", "env", "expected"),
    [
        ("prepare", ("--year", "2031"), {"SLURM_ARRAY_TASK_ID": "0"}, "choose one of 2016 to 2020"),
        ("prepare", ("--year", "2018"), {}, "SLURM_ARRAY_TASK_ID is not set"),
        ("prepare", ("--year", "2018"), {"SLURM_ARRAY_TASK_ID": "0"}, "run the step `download` first"),
        ("classify", ("--year", "2018"), {"SLURM_ARRAY_TASK_ID": "0"}, "run the step `train` first"),
        ("publish", ("--year", "2018"), {}, "run the steps `mosaic` and `validate` first"),
        ("distributed", (), {}, "inside" if os.environ.get("SLURM_JOB_ID") else "on the nodes of a Slurm job"),
    ],
)
def test_a_step_that_cannot_go_on_says_why_in_a_sentence(tmp_path: Path, step, words, env, expected):
    """One line, no traceback, exit code 1."""
    done = run_step(step, Layout(tmp_path), *words, **env)
    assert done.returncode == 1
    assert expected in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_without_an_index_the_download_names_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Compute nodes often have no network."""
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(StepError, match="run it on a node with network access"):
        fetch_wheel(tmp_path)


def test_a_changed_input_is_fetched_again(tmp_path: Path):
    """Only files whose hashes are those of the record count as downloaded."""
    layout = Layout(tmp_path)
    assert not is_complete(layout)
    layout.cube.parent.mkdir()
    layout.cube.write_bytes(b"cube")
    layout.reference.write_bytes(b"reference")
    files = {path.name: sha256(path) for path in (layout.cube, layout.reference)}
    write_json(layout.source_record, {"files": files})
    assert is_complete(layout)
    layout.cube.write_bytes(b"cub")
    assert not is_complete(layout)


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path: Path):
    """Readers see the old content or the new, never half."""
    path = tmp_path / "map.tif"
    path.write_text("old")

    def write_half() -> None:
        with replacing(path) as temporary:
            temporary.write_text("ne")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_result_goes_where_the_job_was_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As JSON; outside a job only to the log."""
    monkeypatch.setenv("HEADNODE_RESULT", str(tmp_path / "result.json"))
    report({"year": 2018})
    assert json.loads((tmp_path / "result.json").read_text()) == {"year": 2018}
