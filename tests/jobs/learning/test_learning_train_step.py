"""The step `train` and the objective, on a folder with everything that they read."""

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch
from landcover_jobs.inference.classifier import Classifier
from landcover_jobs.job import StepError
from landcover_jobs.learning.ensemble import _check_parity, train_members
from landcover_jobs.learning.model_set import ModelSet
from landcover_jobs.learning.objective import objective
from landcover_jobs.learning.plan import plan_of, read_samples
from landcover_jobs.learning.settings import untuned_settings
from landcover_jobs.learning.training import Interrupted
from landcover_jobs.learning.workers import Workers
from landcover_jobs.samples.novelty import last_search
from landcover_jobs.steps import train

JOBS = Path(__file__).parents[3] / "dags/landcover/jobs"
SETTINGS = {str(fold): {"width": 8, "layers": 1, "heads": 2} for fold in range(3)}


def words(ground, processes=1):
    """Return the command of the step."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    return [sys.executable, *launcher, "-m", "landcover_jobs.steps.train", "--data", str(ground.data), "--year", "2018"]


def environment(ground, **variables):
    """Return a job's environment."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "HEADNODE_"))}
    return own | ground.variables | {"PYTHONPATH": str(JOBS), "OMP_NUM_THREADS": "1"} | variables


def metrics(said):
    """Return what TrainOperator reads."""
    return [json.loads(text) for text in re.findall(r"METRICS (\{.*\})", said)]


@pytest.fixture
def run_here(monkeypatch):
    """Return a function that runs the step in this process."""

    def run(ground, **variables):
        monkeypatch.setattr(sys, "argv", ["train", "--data", str(ground.data), "--year", "2018"])
        for name, value in (ground.variables | variables).items():
            monkeypatch.setenv(name, value)
        before = signal.getsignal(signal.SIGUSR1)
        try:
            return train.main()
        finally:
            signal.signal(signal.SIGUSR1, before)

    return run


def test_it_trains_exports_judges_and_is_not_done_twice(ground, tmp_path, run_here, capsys):
    """Two kinds, two draws, three folds, by two processes; what is left is what classifying reads."""
    made = ground(epochs=2)
    env = environment(made, HEADNODE_CHECKPOINT=str(tmp_path), LANDCOVER_SETTINGS=json.dumps(SETTINGS))
    done = subprocess.run(words(made, 2), env=env, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    models = ModelSet.current(made.folder)
    record = models.record
    assert (record["trials"], record["folds"], record["periods"], record["processes"]) == (2, 3, 12, 2)
    assert record["features"] == ["B3", "B4", "B8A", "NDVI"]
    assert record["classes"] == ["Water", "Grass", "Forest"]
    assert record["settings"]["2"]["width"] == 8
    assert all(share >= 0.99 for share in record["parity"].values())
    assert record["scores"]["random_forest"]["classes"]["macro_f1"] > 0.6
    assert record["scores"]["random_forest"]["groups"]["overall_accuracy"] > 0.6
    for kind in record["kinds"]:
        file = Classifier(models.exported(kind, 1, 2))
        assert file.probabilities(np.zeros((3, 12, 4), np.float32), np.zeros((3, 12), bool)).shape == (3, 3)
    lines = metrics(done.stdout)
    assert {(line["member"], line["epoch"]) for line in lines if "member" in line} == {
        (f"transformer-trial{trial}-without{fold}", epoch) for trial in (0, 1) for fold in range(3) for epoch in (1, 2)
    }
    assert {line["kind"]: line["macro_f1"] for line in lines if "kind" in line} == {
        kind: record["scores"][kind]["classes"]["macro_f1"] for kind in record["kinds"]
    }
    assert not list(tmp_path.glob("*.pt"))
    # What the search has found is kept: without its answer the same models are wanted again.
    assert json.loads(last_search(made.folder).read_text())["key"] == "0a1b"
    before = {path: path.stat().st_mtime_ns for path in models.folder.rglob("*") if path.is_file()}
    made.folder.current_models.unlink()
    result = run_here(made)
    assert (result["key"], result["reused"], result["better"]) == (models.key, True, models.better)
    assert "reusing the models" in capsys.readouterr().out
    assert ModelSet.current(made.folder).key == models.key
    assert {path: path.stat().st_mtime_ns for path in models.folder.rglob("*") if path.is_file()} == before


def test_killed_between_members_it_trains_only_the_missing(ground, capsys):
    """What is there stays as it is; together they are the models of a job that was not killed."""
    made = ground(epochs=2)
    plan = plan_of(made.configuration, made.folder, untuned_settings(made.configuration))
    train_members(plan, Workers(), lambda: False)
    whole = {plan.path(member): plan.path(member).read_bytes() for member in plan.members}
    assert len(whole) == 12
    lost = [plan.path(plan.members[4]), plan.path(plan.members[7])]
    for path in lost:
        path.unlink()
    capsys.readouterr()
    train_members(plan, Workers(), lambda: False)
    said = capsys.readouterr().out
    assert "10 of 12 models are there already" in said
    assert {line["member"] for line in metrics(said)} == {lost[0].stem}
    again = {path: path.read_bytes() for path in whole}
    assert {path for path in whole if again[path] != whole[path]} <= {lost[0]}
    first = torch.load(lost[0], weights_only=True)["weights"]
    lost[0].write_bytes(whole[lost[0]])
    assert all(
        torch.equal(first[name], each) for name, each in torch.load(lost[0], weights_only=True)["weights"].items()
    )


def test_warned_while_trees_grow_it_stops_before_the_next_member(ground):
    """What is finished stays."""
    made = ground(kinds=["random_forest"])
    plan = plan_of(made.configuration, made.folder, untuned_settings(made.configuration))
    with pytest.raises(Interrupted):
        train_members(plan, Workers(), lambda: plan.path(plan.members[1]).exists())
    assert [plan.path(member).exists() for member in plan.members] == [True, True, False, False, False, False]


def test_warned_it_ends_with_75_and_goes_on(ground, tmp_path):
    """What was under way is in the job's own place for checkpoints."""
    made = ground(kinds=["transformer"], epochs=200)
    env = environment(made, HEADNODE_CHECKPOINT=str(tmp_path))
    with subprocess.Popen(words(made), env=env, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if "METRICS" in line:
                break
        process.send_signal(signal.SIGUSR1)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 75
    assert "what is needed to go on is saved" in said
    assert len(list(tmp_path.glob("*-transformer-trial0-without0.pt"))) == 1


def test_what_the_models_are_made_from_is_in_their_name(ground):
    """Settings, samples, normalisation: any of them changed makes other models."""
    made = ground()
    plan = plan_of(made.configuration, made.folder, untuned_settings(made.configuration))
    other = made.configuration.model_copy(update={"model": made.configuration.model.model_copy(update={"trees": 11})})
    changed = [
        replace(plan, samples_key="0a1c"),
        replace(plan, normalisation=replace(plan.normalisation, mean=plan.normalisation.mean + 1)),
        replace(plan, configuration=other),
    ]
    assert len({plan.key, *(each.key for each in changed)}) == 4
    again = plan_of(made.configuration, made.folder, replace(untuned_settings(made.configuration), origin="kept"))
    assert again.key == plan.key


def test_an_exported_model_that_says_otherwise_is_refused(tmp_path):
    """One pixel between two classes is no reason."""
    _check_parity(tmp_path / "member.onnx", 199 / 200, 200)
    with pytest.raises(StepError, match=r"member.onnx says another class .* for 1.00% of 200 pixels"):
        _check_parity(tmp_path / "member.onnx", 198 / 200, 200)


def test_wrong_settings_end_it_in_a_sentence(ground):
    """No traceback, exit code 1."""
    made = ground()
    env = environment(made, LANDCOVER_SETTINGS='{"0": {"width": 7}}')
    done = subprocess.run(words(made), env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "$LANDCOVER_SETTINGS: fold 0: width" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_a_study_never_sees_the_fold_that_it_is_for(ground, monkeypatch, tmp_path):
    """The objective reports each few epochs; wrong labels in that fold change nothing."""
    made = ground()
    for name, value in {**made.variables, "LANDCOVER_FOLD": "1", "HEADNODE_TRIAL_DIRECTORY": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=1))
    asked = study.ask()
    value = objective(asked)
    reported = study.trials[0].intermediate_values
    assert sorted(reported) == [1, 2, 3, 4]
    assert reported[4] == value
    (tmp_path / "training.pt").unlink()
    key, samples = read_samples(made.configuration, made.folder)
    wrong = np.where(samples.folds == 1, 2 - samples.labels, samples.labels)
    replace(samples, labels=wrong).save(made.folder.samples(key))
    assert objective(optuna.trial.FixedTrial(asked.params)) == value


def test_a_trial_goes_on_where_another_worker_was(ground, monkeypatch, tmp_path):
    """From the checkpoint that is saved before each report, to the same value."""
    made = ground()
    for name, value in {**made.variables, "LANDCOVER_FOLD": "0", "HEADNODE_TRIAL_DIRECTORY": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=1))
    asked = study.ask()
    value = objective(asked)
    (tmp_path / "training.pt").unlink()

    class Ending(optuna.trial.FixedTrial):
        def report(self, value, step):  # noqa: ARG002 - as Optuna has it
            if step == 2:
                raise SystemExit

    with pytest.raises(SystemExit):
        objective(Ending(asked.params))
    reported = {}

    class Noting(optuna.trial.FixedTrial):
        def report(self, value, step):
            reported[step] = value

    assert objective(Noting(asked.params)) == value
    assert reported == {step: study.trials[0].intermediate_values[step] for step in (2, 3, 4)}


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
    with pytest.raises(StepError, match=expected):
        objective(optuna.trial.FixedTrial({}))
