"""The objective of a fold's study: macro F1 on an inner fold, with nothing of the fold that the study is for.

TuneOperator calls `objective` on the cluster. $LANDCOVER_DATA and $LANDCOVER_MAP say which samples, $LANDCOVER_FOLD
whose study it is: training is on all folds but that one and the next, which scores. So the pixels that judge a fold's
model in the end have chosen neither its weights nor its settings.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import optuna

from landcover_jobs.configuration.learning import TransformerSettings
from landcover_jobs.configuration.map_configuration import MapConfiguration
from landcover_jobs.configuration.reading import ConfigurationError, parse_map
from landcover_jobs.folder import MapFolder
from landcover_jobs.invocation import MAP_VARIABLE
from landcover_jobs.job import StepError
from landcover_jobs.learning.folds import inner_fold, inner_rows, learning_rows
from landcover_jobs.learning.plan import plan_of
from landcover_jobs.learning.recipe import Progress, Recipe
from landcover_jobs.learning.settings import untuned_settings
from landcover_jobs.learning.training import fit
from landcover_jobs.learning.transformer import days_of_periods
from landcover_jobs.learning.workers import joined

DATA_VARIABLE, FOLD_VARIABLE = "LANDCOVER_DATA", "LANDCOVER_FOLD"
WIDTHS = (32, 48, 64)
SCORES_OF_A_TRIAL = 4
CHECKPOINT = "training.pt"


def objective(trial: optuna.Trial) -> float:
    """Return the macro F1 that a trial's settings reach on the inner fold, or stop half-way where others were better.

    Raises:
        StepError: a variable is missing, or there are no samples.
        optuna.TrialPruned: half-way.
    """
    configuration, folder, fold = _asked()
    plan = plan_of(configuration, folder, untuned_settings(configuration))
    inner = inner_fold(fold, configuration.validation.folds)
    samples = plan.labelled()
    learning = samples.only(learning_rows(plan.samples, 0, fold, without=inner))
    epochs = configuration.tuning.epochs
    recipe = Recipe(
        settings=suggested(trial, configuration.model.transformer),
        epochs=epochs,
        seed=configuration.model.seed,
        batch=configuration.model.batch,
        score_every=max(1, epochs // SCORES_OF_A_TRIAL),
        mixed_precision=configuration.model.mixed_precision,
    )
    latest = 0.0

    def after_epoch(progress: Progress) -> None:
        nonlocal latest
        if progress.macro_f1 is None:
            return
        latest = progress.macro_f1
        trial.report(latest, progress.epoch)
        if progress.epoch < epochs and trial.should_prune():
            raise optuna.TrialPruned

    with joined() as workers:
        fit(
            learning,
            classes=len(configuration.classes),
            days=days_of_periods(configuration.composites.periods),
            recipe=recipe,
            inner=samples.only(inner_rows(plan.samples, 0, inner)),
            workers=workers,
            checkpoint=_checkpoint(),
            after_epoch=after_epoch,
        )
    return latest


def suggested(trial: optuna.Trial, base: TransformerSettings) -> TransformerSettings:
    """Choose settings for a trial; what is not searched is as the map has it."""
    widths = [width for width in WIDTHS if width % (2 * base.heads) == 0] or [base.width]
    found = {
        "width": trial.suggest_categorical("width", widths),
        "layers": trial.suggest_int("layers", 1, 3),
        "dropout": trial.suggest_float("dropout", 0.0, 0.3),
        "learning_rate": trial.suggest_float("learning_rate", 1e-3, 8e-3, log=True),
        "weight_decay": trial.suggest_float("weight_decay", 1e-3, 1e-1, log=True),
        "period_dropout": trial.suggest_float("period_dropout", 0.0, 0.3),
    }
    return TransformerSettings(**(base.model_dump() | found))


def _asked() -> tuple[MapConfiguration, MapFolder, int]:
    missing = [name for name in (DATA_VARIABLE, MAP_VARIABLE, FOLD_VARIABLE) if not os.environ.get(name)]
    if missing:
        raise StepError(f"${missing[0]} is not set: the objective learns from it which samples it searches with")
    try:
        configuration = parse_map(json.loads(os.environ[MAP_VARIABLE]), f"${MAP_VARIABLE}")
    except (ConfigurationError, ValueError) as error:
        raise StepError(str(error)) from error
    text, folds = os.environ[FOLD_VARIABLE], configuration.validation.folds
    if not text.isdigit() or int(text) >= folds:
        raise StepError(f"${FOLD_VARIABLE} is {text!r}, where {configuration.name} has the folds 0 to {folds - 1}")
    root = Path(os.environ[DATA_VARIABLE]).expanduser().resolve() / configuration.name
    return configuration, MapFolder(root), int(text)


def _checkpoint() -> Path | None:
    given = os.environ.get("HEADNODE_TRIAL_DIRECTORY")
    return Path(given, CHECKPOINT) if given else None
