"""Objectives on the cluster, which write down each start and end, and keep their steps in the trial's directory."""

import json
import os
import time
from pathlib import Path

import optuna

STEPS = 9


def note(**what):
    """Add a line to the test's file: short enough to be written in one piece."""
    line = json.dumps({"pid": os.getpid(), "trial": int(os.environ["HEADNODE_TRIAL"]), **what}) + "\n"
    with Path(os.environ["EVENTS"]).open("a") as file:
        file.write(line)


def objective(trial):
    """Look at a parabola, better from step to step; the later trials wait for the gate."""
    x = trial.suggest_float("x", -10, 10)
    kind = trial.suggest_categorical("kind", ["flat", "round"])
    saved = Path(os.environ["HEADNODE_TRIAL_DIRECTORY"], "state.json")
    step, first_x = json.loads(saved.read_text()) if saved.exists() else (0, x)
    note(event="start", step=step, x=x, first_x=first_x)
    while step < STEPS:
        saved.with_suffix(".new").write_text(json.dumps([step, x]))
        saved.with_suffix(".new").replace(saved)
        while (
            int(os.environ["HEADNODE_TRIAL"]) > int(os.environ["OPEN_TRIALS"]) and not Path(os.environ["GATE"]).exists()
        ):
            time.sleep(0.1)
        time.sleep(1.0 if step == 0 else 0.2)
        step += 1
        trial.report(-((x - 2) ** 2) * (STEPS + 1 - step), step)
        if trial.should_prune():
            note(event="end", state="pruned")
            raise optuna.TrialPruned
    note(event="end", state="complete")
    return -((x - 2) ** 2) + (0.5 if kind == "round" else 0)


def on_grid(trial):
    """Return the sum of a grid's values; one of its points has none."""
    first, second = trial.suggest_int("first", 1, 3), trial.suggest_categorical("second", [10, 20])
    if (first, second) == (2, 20):
        raise ValueError("no sum for 2 and 20")
    return first + second


def raising(trial):
    """Fail, always."""
    raise ValueError(f"no use for {trial.suggest_int('n', 1, 1)}")
