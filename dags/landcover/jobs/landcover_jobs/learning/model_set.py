"""A set of models: one member for each kind, trial and fold, and the record of how good they are.

A member of (trial t, fold f) has learnt from the pixels of draw t outside fold f. `training.json` has, beside its key:
`kinds`, `better`, `trials`, `folds`, `classes` (names), `features`, `periods`, `normalisation` (of the training year),
`scores` (for each kind: overall accuracy, macro F1 of classes and of groups, on folds no member saw), `settings` (of
the transformer, for each fold), `parity` (for each kind: share of equal classes, ONNX beside its origin), `samples`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landcover_jobs.folder import MapFolder
from landcover_jobs.job import StepError
from landcover_jobs.preparation.normalisation import Normalisation

RECORD = "training.json"


@dataclass(frozen=True)
class ModelSet:
    """The models in one folder."""

    folder: Path
    record: dict[str, Any]

    @property
    def key(self) -> str:
        """The short name of everything that these models were made from."""
        return self.folder.name

    @property
    def better(self) -> str:
        """The kind that draws the map."""
        return str(self.record["better"])

    @property
    def training_normalisation(self) -> Normalisation:
        """That of the training year."""
        return Normalisation.from_dict(self.record["normalisation"])

    def exported(self, kind: str, trial: int, fold: int) -> Path:
        """Return a member as ONNX."""
        return self.folder / f"{member_name(kind, trial, fold)}.onnx"

    @classmethod
    def current(cls, folder: MapFolder) -> ModelSet:
        """Return the set that counts now.

        Raises:
            StepError: none was trained.
        """
        if not folder.current_models.is_file():
            raise StepError(f"{folder.current_models} is missing: run the step `train` first")
        key = str(json.loads(folder.current_models.read_text(encoding="utf-8"))["key"])
        path = folder.models(key) / RECORD
        if not path.is_file():
            raise StepError(f"{path} is missing: run the step `train` again")
        return cls(folder.models(key), json.loads(path.read_text(encoding="utf-8")))


def member_name(kind: str, trial: int, fold: int) -> str:
    """Return the file name, without its suffix, of the member that never saw a fold."""
    return f"{kind}-trial{trial}-without{fold}"
