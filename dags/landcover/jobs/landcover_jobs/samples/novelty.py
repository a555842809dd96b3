"""Whether samples have changed so much since the last search of hyperparameters that another one is due."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from landcover_jobs.configuration.map_configuration import MapConfiguration
from landcover_jobs.folder import MapFolder
from landcover_jobs.job import StepError, write_json
from landcover_jobs.samples.training_set import TrainingSet

ROUNDED = 3  # decimals of coordinates that are compared


def last_search(folder: MapFolder) -> Path:
    """Return the file that names the samples of the last search."""
    return folder.root / "tuning" / "last.json"


def note_search(folder: MapFolder, key: str) -> None:
    """Note that hyperparameters were searched on the samples of a key."""
    write_json(last_search(folder), {"key": key})


def new_share(folder: MapFolder, training_set: TrainingSet, key: str) -> float:
    """Return which share of the pixels were not in the samples of the last search, by place and label.

    It is 1 where there was no search, or its samples are gone.
    """
    last = _last_key(folder)
    if last is None:
        return 1.0
    if last == key:
        return 0.0
    try:
        before = TrainingSet.load(folder.samples(last))
    except StepError:
        return 1.0
    known = _identities(before)
    now = _identities(training_set)
    return len(now - known) / len(now)


def needs_search(folder: MapFolder, configuration: MapConfiguration, training_set: TrainingSet, key: str) -> bool:
    """Tell whether the configuration asks for a search now (`tuning.when`)."""
    tuning = configuration.tuning
    if tuning.when == "never" or "transformer" not in configuration.model.kinds:
        return False
    if _last_key(folder) is None:
        return True
    if tuning.when == "once":
        return False
    share = new_share(folder, training_set, key)
    return share > 0 and share >= tuning.changed_share


def _last_key(folder: MapFolder) -> str | None:
    path = last_search(folder)
    if not path.is_file():
        return None
    return str(json.loads(path.read_text(encoding="utf-8"))["key"])


def _identities(training_set: TrainingSet) -> set[tuple[float, float, int]]:
    x, y = np.round(training_set.x, ROUNDED).tolist(), np.round(training_set.y, ROUNDED).tolist()
    return set(zip(x, y, training_set.labels.tolist(), strict=True))
