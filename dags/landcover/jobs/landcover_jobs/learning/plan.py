"""What is to be trained, from what and where it goes: the same on every process, from the same inputs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from landcover_jobs.configuration.map_configuration import MapConfiguration
from landcover_jobs.folder import MapFolder
from landcover_jobs.grid.tiles import read_tiles
from landcover_jobs.job import StepError, read_json
from landcover_jobs.learning.folds import Member, inner_fold, inner_rows, learning_rows, members_of
from landcover_jobs.learning.recipe import Labelled, Recipe
from landcover_jobs.learning.settings import FoldSettings
from landcover_jobs.preparation.normalisation import Normalisation
from landcover_jobs.preparation.year import normalisation_of
from landcover_jobs.records import code_key, key_of
from landcover_jobs.samples.training_set import TrainingSet

CODE = (
    "inference.export",
    "inference.plain_transformer",
    "inference.tree_graph",
    "learning",
    "preparation.normalisation",
    "product.predictions",
    "samples.training_set",
    "validation.accuracy",
)
TRANSFORMER = "transformer"


@dataclass(frozen=True)
class Plan:
    """A training of all members."""

    configuration: MapConfiguration
    folder: MapFolder
    samples_key: str
    samples: TrainingSet
    normalisation: Normalisation
    settings: FoldSettings

    @property
    def key(self) -> str:
        """The short name of all that the models are made from."""
        configuration = self.configuration
        parts = {
            "samples": self.samples_key,
            "normalisation": self.normalisation.as_dict(),
            "model": configuration.model.model_dump(mode="json"),
            "settings": self.settings.as_dict() if TRANSFORMER in configuration.model.kinds else None,
            "classes": [list(configuration.class_names), list(configuration.class_values)],
            "groups": {name: list(values) for name, values in configuration.validation.groups.items()},
            "folds": configuration.validation.folds,
            "code": code_key(*CODE),
        }
        return key_of(parts)

    @property
    def target(self) -> Path:
        """The folder of the models."""
        return self.folder.models(self.key)

    @property
    def members(self) -> tuple[Member, ...]:
        """All models there are to be."""
        trials, folds = len(self.samples.trials), self.configuration.validation.folds
        return members_of(self.configuration.model.kinds, trials, folds)

    def path(self, member: Member) -> Path:
        """Return the file of a fitted member."""
        return self.target / f"{member.name}{'.pt' if member.kind == TRANSFORMER else '.joblib'}"

    def checkpoint(self, member: Member) -> Path:
        """Return where a member is kept while it is trained; the job's own place where it has one."""
        given = os.environ.get("HEADNODE_CHECKPOINT")
        name = f"{self.key}-{member.name}.pt"
        return Path(given, name) if given else self.target / "checkpoints" / name

    def labelled(self) -> Labelled:
        """Return all pixels as models see them."""
        features = self.normalisation.apply(self.samples.features)
        return Labelled(features, self.samples.series.hidden, self.samples.labels)

    def rows(self, member: Member) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_] | None]:
        """Return the pixels that a member learns from, and where its training is to be stopped early those for that."""
        if member.kind != TRANSFORMER or self.configuration.model.patience_epochs is None:
            return learning_rows(self.samples, member.trial, member.fold), None
        inner = inner_fold(member.fold, self.configuration.validation.folds)
        learning = learning_rows(self.samples, member.trial, member.fold, without=inner)
        return learning, inner_rows(self.samples, member.trial, inner)

    def recipe(self, member: Member) -> Recipe:
        """Return how a transformer is trained."""
        model = self.configuration.model
        return Recipe(
            settings=self.settings.of_fold[member.fold],
            epochs=model.epochs,
            seed=self.seed(member),
            batch=model.batch,
            patience_epochs=model.patience_epochs,
            mixed_precision=model.mixed_precision,
        )

    def seed(self, member: Member) -> int:
        """Return a member's own seed."""
        return self.configuration.model.seed + 100 * member.trial + member.fold


def read_samples(configuration: MapConfiguration, folder: MapFolder) -> tuple[str, TrainingSet]:
    """Return the key of the training set that counts now, and the set.

    Raises:
        StepError: there is none, or it is of other composites, bands, classes or folds than the map has now.
    """
    key = str(read_json(folder.current_samples, made_by="sample")["key"])
    samples = TrainingSet.load(folder.samples(key))
    found, wanted = samples.features.shape[1:], (configuration.composites.periods, len(configuration.features))
    if found != wanted:
        raise StepError(
            f"the samples {key} have {found[0]} composites of {found[1]} features, the map has {wanted[0]} of "
            f"{wanted[1]}: run the step `sample` again"
        )
    for what, values, count in (
        ("class", samples.labels, len(configuration.classes)),
        ("fold", samples.folds, configuration.validation.folds),
    ):
        if len(values) and values.max() >= count:
            raise StepError(
                f"the samples {key} have {what} {int(values.max())}, counted from 0, where the map has {count}: run "
                "the step `sample` again"
            )
    return key, samples


def plan_of(configuration: MapConfiguration, folder: MapFolder, settings: FoldSettings) -> Plan:
    """Return the training of the samples that count now, normalised as their year is over all tiles.

    Raises:
        StepError: samples, tiles or composites of the training year are missing, or are of another map.
    """
    key, samples = read_samples(configuration, folder)
    tiles, _ = read_tiles(folder)
    normalisation = normalisation_of(folder, configuration.training_year, tiles)
    return Plan(configuration, folder, key, samples, normalisation, settings)
