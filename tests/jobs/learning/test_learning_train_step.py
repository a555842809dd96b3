"""The step `train` and the objective, on a folder with everything that they read."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch
from landcover_jobs.inference.classifier import Classifier
from landcover_jobs.learning.model_set import ModelSet
from landcover_jobs.learning.objective import objective
from landcover_jobs.learning.plan import read_samples

JOBS = Path(__file__).parents[3] / "dags/landcover/jobs"


def train(ground, *, processes=1, **variables):
    """Run the step, and return it."""
    return subprocess.run(
        words(ground, processes), env=environment(ground, variables), capture_output=True, text=True, timeout=200,
        check=False,
    )  # fmt: skip


def words(ground, processes=1):
    """Return the command."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    return [sys.executable, *launcher, "-m", "landcover_jobs.steps.train", "--data", str(ground.data), "--year", "2018"]


def environment(ground, variables):
    """Return a job's environment."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "HEADNODE_"))}
    return own | ground.variables | {"PYTHONPATH": str(JOBS), "OMP_NUM_THREADS": "1"} | variables


def metrics(said):
    """Return what TrainOperator reads."""
    return [json.loads(text) for text in re.findall(r"METRICS (\{.*\})", said)]


def member_files(models):
    """Return the content of each member."""
    return {path.name: path.read_bytes() for path in sorted(models.folder.glob("*without*")) if path.suffix != ".onnx"}


@pytest.fixture
def trained(ground, tmp_path):
    """Return a folder in which the step has run with two processes, and what it said."""
    made = ground()
    result = tmp_path / "result.json"
    done = train(made, processes=2, HEADNODE_RESULT=str(result), HEADNODE_CHECKPOINT=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    return made, done.stdout, json.loads(result.read_text())


def test_it_trains_exports_judges_and_is_not_done_twice(trained, tmp_path):
    """Two kinds, two draws, three folds; what is left is what classifying reads."""
    made, said, result = trained
    models = ModelSet.current(made.folder)
    record = models.record
    assert (result["key"], result["reused"], result["better"]) == (models.key, False, models.better)
    assert (record["trials"], record["folds"], record["periods"], record["processes"]) == (2, 3, 12, 2)
    assert record["features"] == ["B3", "B4", "B8A", "NDVI"]
    assert record["classes"] == ["Water", "Grass", "Forest"]
    assert all(share >= 0.99 for share in record["parity"].values())
    assert record["scores"]["random_forest"]["classes"]["macro_f1"] > 0.6
    assert record["scores"]["random_forest"]["groups"]["overall_accuracy"] > 0.6
    for kind in record["kinds"]:
        file = Classifier(models.exported(kind, 1, 2))
        assert file.probabilities(np.zeros((3, 12, 4), np.float32), np.zeros((3, 12), bool)).shape == (3, 3)
    lines = metrics(said)
    assert {(line["member"], line["epoch"]) for line in lines if "member" in line} == {
        (f"transformer-trial{trial}-without{fold}", epoch)
        for trial in (0, 1)
        for fold in range(3)
        for epoch in range(1, 7)
    }
    assert {line["kind"]: line["macro_f1"] for line in lines if "kind" in line} == {
        kind: record["scores"][kind]["classes"]["macro_f1"] for kind in record["kinds"]
    }
    assert not list(tmp_path.glob("*.pt"))
    before = {path: path.stat().st_mtime_ns for path in models.folder.rglob("*") if path.is_file()}
    again = train(made, processes=1)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "reusing the models" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in models.folder.rglob("*") if path.is_file()} == before


def test_killed_between_members_it_trains_only_the_missing(ground):
    """What is there stays as it is; together they are the models of a job that was not killed."""
    made = ground(kinds=["transformer"], epochs=3)
    done = train(made)
    assert done.returncode == 0, done.stdout + done.stderr
    models = ModelSet.current(made.folder)
    whole = member_files(models)
    lost = models.folder / "transformer-trial1-without1.pt"
    lost.unlink()
    (models.folder / "training.json").unlink()
    done = train(made)
    assert "5 of 6 models are there already" in done.stdout
    assert {line["member"] for line in metrics(done.stdout) if "member" in line} == {lost.stem}
    again = torch.load(lost, weights_only=True)["weights"]
    lost.write_bytes(whole[lost.name])
    before = torch.load(lost, weights_only=True)["weights"]
    assert all(torch.equal(again[name], each) for name, each in before.items())


def test_warned_it_ends_with_75_and_goes_on(ground, tmp_path):
    """What was under way is in the job's own place for checkpoints."""
    made = ground(kinds=["transformer"], epochs=200)
    variables = {"HEADNODE_CHECKPOINT": str(tmp_path)}
    process = subprocess.Popen(words(made), env=environment(made, variables), stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if "METRICS" in line:
            break
    process.send_signal(signal.SIGUSR1)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 75
    assert "what is needed to go on is saved" in said
    assert len(list(tmp_path.glob("*-transformer-trial0-without0.pt"))) == 1


def test_new_settings_make_new_models_and_are_kept(ground):
    """With them, the search is noted; the run after it needs no variable to use them again."""
    made = ground(kinds=["transformer"], epochs=1)
    settings = {str(fold): {"width": 8, "layers": 1, "heads": 2} for fold in range(3)}
    first = train(made, LANDCOVER_SETTINGS=json.dumps(settings))
    assert first.returncode == 0, first.stdout + first.stderr
    models = ModelSet.current(made.folder)
    assert models.record["settings"]["2"]["width"] == 8
    again = train(made)
    assert "reusing the models" in again.stdout
    assert ModelSet.current(made.folder).key == models.key


def test_wrong_settings_end_it_in_a_sentence(ground):
    """No traceback, exit code 1."""
    done = train(ground(), LANDCOVER_SETTINGS='{"0": {"width": 7}}')
    assert done.returncode == 1
    assert "$LANDCOVER_SETTINGS: fold 0: width" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_a_study_finds_settings_that_train_takes(ground, monkeypatch, tmp_path):
    """The objective reports, can be gone on with, and never sees the fold that the study is for."""
    made = ground(epochs=2)
    for name, value in {**made.variables, "LANDCOVER_FOLD": "1", "HEADNODE_TRIAL_DIRECTORY": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=1))
    asked = study.ask()
    value = objective(asked)
    reported = study.trials[0].intermediate_values
    assert sorted(reported) == [1, 2, 3, 4]
    assert reported[4] == value
    assert (tmp_path / "training.pt").is_file()
    key, samples = read_samples(made.configuration, made.folder)
    spoilt = samples.labels.copy()
    spoilt[samples.folds == 1] = 2 - spoilt[samples.folds == 1]
    object.__setattr__(samples, "labels", spoilt)
    samples.save(made.folder.samples(key))
    (tmp_path / "training.pt").unlink()
    again = optuna.trial.FixedTrial(asked.params)
    assert objective(again) == value


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"LANDCOVER_FOLD": "3"}, "has the folds 0 to 2"),
        ({"LANDCOVER_FOLD": ""}, "LANDCOVER_FOLD is not set"),
        ({"LANDCOVER_FOLD": "0", "LANDCOVER_MAP": "{}"}, "LANDCOVER_MAP"),
    ],
)
def test_an_objective_that_can_t_know_its_samples_says_so(ground, monkeypatch, variables, expected):
    """By the variable's name."""
    for name, value in {**ground().variables, **variables}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Exception, match=expected):
        objective(optuna.trial.FixedTrial({}))
