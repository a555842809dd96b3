"""The step: what it writes, that it does not do the same twice, and when it asks for a search of hyperparameters."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from landcover_jobs.samples.novelty import last_search, needs_search, new_share, note_search
from landcover_jobs.samples.training_set import TrainingSet

JOBS = Path(__file__).parents[3] / "dags" / "landcover" / "jobs"


def run(ground, tmp_path):
    """Run the step as the job does; return its outcome and its result, None where it failed."""
    result = tmp_path / "result.json"
    result.unlink(missing_ok=True)
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "HEADNODE_"))}
    variables = {"LANDCOVER_MAP": ground.map.model_dump_json(), "HEADNODE_RESULT": str(result), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "landcover_jobs.steps.sample", "--data", str(tmp_path), "--year", "2019"],
        cwd=JOBS, env=outside | variables, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    return done, json.loads(result.read_text()) if result.is_file() else None


def test_a_rerun_does_nothing_new(ground, tmp_path):
    """The first run chooses; the second says that the samples stay; changed composites or labels make others."""
    ground.samples(selection="reliable", trials=2)
    done, first = run(ground, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert first["classes"].keys() == {"Water", "Grass", "Forest"}
    assert first["pixels"] == sum(first["classes"].values())
    assert (first["new_share"], first["tune"], first["dropped"]) == (1.0, True, [])
    folder = ground.folder.samples(first["key"])
    assert json.loads(ground.folder.current_samples.read_text()) == {"key": first["key"]}
    assert TrainingSet.load(folder).trials.shape == (2, first["pixels"])
    made = (folder / "samples.npz").stat().st_mtime_ns
    done, again = run(ground, tmp_path)
    assert again == first
    assert "they stay" in done.stdout
    assert (folder / "samples.npz").stat().st_mtime_ns == made
    note_search(ground.folder, first["key"])
    _, searched = run(ground, tmp_path)
    assert (searched["new_share"], searched["tune"]) == (0.0, False)


def test_a_missing_step_before_is_named(ground, tmp_path):
    """Composites of a tile are not there."""
    ground.folder.composites(2018, "east").with_suffix(".json").unlink()
    done, result = run(ground, tmp_path)
    assert (done.returncode, result) == (1, None)
    assert "run the step `prepare` first" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_missing_old_map_is_named(ground, tmp_path):
    """On the cluster, where it was said to be."""
    (ground.folder.root / "old.tif").unlink()
    done, _ = run(ground, tmp_path)
    assert done.returncode == 1
    assert "old.tif is missing: put it there, or correct old_map.path" in done.stdout


def kept(ground, key, labels):
    """Keep a training set of pixels in a row with these labels."""
    count = len(labels)
    found = TrainingSet(
        np.zeros((count, 12, 3), dtype=np.float32), np.ones((count, 12), dtype=np.uint8), np.array(labels),
        np.zeros(count, dtype=np.int64), np.arange(count) * 10.0, np.zeros(count), np.ones((1, count), dtype=bool),
    )  # fmt: skip
    found.save(ground.folder.samples(key))
    return found


def test_how_much_is_new_since_the_last_search(ground):
    """A place with another label is new; so is a new place; all is new without a search or its samples."""
    before = kept(ground, "before", [0] * 10)
    now = kept(ground, "now", [0] * 8 + [1] * 2 + [0] * 10)
    assert new_share(ground.folder, now, "now") == 1.0
    note_search(ground.folder, "before")
    assert new_share(ground.folder, now, "now") == pytest.approx(12 / 20)
    assert new_share(ground.folder, before, "before") == 0.0
    assert json.loads(last_search(ground.folder).read_text()) == {"key": "before"}
    note_search(ground.folder, "gone")
    assert new_share(ground.folder, now, "now") == 1.0


@pytest.mark.parametrize(
    ("when", "share", "searched", "due"),
    [
        ("never", 0.0, False, False),
        ("once", 0.9, False, True),
        ("once", 0.0, True, False),
        ("changed", 0.9, False, True),
        ("changed", 0.6, True, True),
        ("changed", 0.61, True, False),
    ],
)
def test_when_a_search_is_due(ground, when, share, searched, due):
    """As tuning.when says; 60 % of the samples are new."""
    kept(ground, "before", [0] * 8)
    now = kept(ground, "now", [0] * 8 + [1] * 12)
    if searched:
        note_search(ground.folder, "before")
    ground.content["tuning"] = {"when": when, "changed_share": share}
    assert needs_search(ground.folder, ground.map, now, "now") is due


def test_trees_alone_need_no_search(ground):
    """The search is the transformer's."""
    now = kept(ground, "now", [0, 1])
    ground.content["model"] = {"kinds": ["random_forest"]}
    assert not needs_search(ground.folder, ground.map, now, "now")
