"""Tune the transformer with Optuna: an array over one journal file, a study for each fold of the cross-validation.

The study of a fold sees only the other folds: it trains on three of them and is scored on the fourth. So the blocks
that later judge a fold's model have chosen neither its weights nor its settings. Element e works on the study
e mod FOLDS; more elements than folds share studies. What was tried before a retry is kept.
"""

from __future__ import annotations

from typing import Any

import optuna
import torch
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from landcover_jobs.accuracy import scores
from landcover_jobs.classes import NAMES
from landcover_jobs.folds import FOLDS
from landcover_jobs.job import StepError, arguments, array_element, run, say
from landcover_jobs.layout import REFERENCE_YEAR, Layout
from landcover_jobs.scene import load_reference, load_series, pixel_folds
from landcover_jobs.transformer import PixelTransformer, Settings, fit, hidden_months, probabilities

TRIALS = 5
EPOCHS = 16
SCORED_EPOCHS = (3, 7, 11, 15)
SEED = 7


def open_storage(layout: Layout) -> JournalStorage:
    """Open the journal that all elements append to."""
    layout.models.mkdir(parents=True, exist_ok=True)
    return JournalStorage(JournalFileBackend(str(layout.models / "study.journal")))


def suggest(trial: optuna.Trial) -> Settings:
    """Choose settings for one trial."""
    return Settings(
        width=trial.suggest_categorical("width", [32, 48]),
        layers=trial.suggest_int("layers", 1, 3),
        dropout=trial.suggest_float("dropout", 0.0, 0.3),
        learning_rate=trial.suggest_float("learning_rate", 1e-3, 8e-3, log=True),
        weight_decay=trial.suggest_float("weight_decay", 1e-3, 1e-1, log=True),
        month_dropout=trial.suggest_float("month_dropout", 0.0, 0.3),
    )


class Objective:
    """Train on three folds, score on a fourth, never look at the fold that the study is for."""

    def __init__(self, layout: Layout, fold: int) -> None:
        series, self.labels, folds = load_series(layout, REFERENCE_YEAR), load_reference(layout), pixel_folds()
        self.features, self.hidden = series.features, hidden_months(series.observations)
        usable = (self.labels >= 0) & series.seen
        inner = (fold + 1) % FOLDS
        self.scored = usable & (folds == inner)
        self.trained = usable & (folds != inner) & (folds != fold)

    def score(self, trial: optuna.Trial) -> float:
        """Return the macro F1 that a trial's settings reach, or stop half-way where others were better."""
        latest = 0.0

        def after_epoch(epoch: int, model: PixelTransformer) -> None:
            nonlocal latest
            if epoch not in SCORED_EPOCHS:
                return
            said = probabilities(model, self.features[self.scored], self.hidden[self.scored]).argmax(axis=1)
            latest = scores(self.labels[self.scored], said, NAMES)["macro_f1"]
            trial.report(latest, epoch + 1)
            if trial.should_prune():
                raise optuna.TrialPruned

        fit(
            self.features[self.trained],
            self.hidden[self.trained],
            self.labels[self.trained],
            classes=len(NAMES),
            settings=suggest(trial),
            epochs=EPOCHS,
            seed=SEED,
            after_epoch=after_epoch,
        )
        return latest


def open_study(layout: Layout, fold: int, element: int) -> optuna.Study:
    """Open or begin a fold's study, and give up what this element had under way when it was interrupted."""
    study = optuna.create_study(
        study_name=f"fold-{fold}",
        storage=open_storage(layout),
        sampler=optuna.samplers.TPESampler(seed=SEED + element, n_startup_trials=3),
        pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=4, reduction_factor=2),
        direction="maximize",
        load_if_exists=True,
    )
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if trial.user_attrs.get("element") == element:
            study.tell(trial.number, state=TrialState.FAIL)
    if not study.get_trials(deepcopy=False):
        default = Settings().as_dict()
        study.enqueue_trial({name: value for name, value in default.items() if name != "heads"})
    return study


def best_settings(layout: Layout) -> list[Settings]:
    """Return the best settings of each fold's study."""
    if not (layout.models / "study.journal").is_file():
        raise StepError(f"there is no study in {layout.models}: run the step `tune` first")
    storage = open_storage(layout)
    chosen = []
    for fold in range(FOLDS):
        try:
            chosen.append(Settings(**optuna.load_study(study_name=f"fold-{fold}", storage=storage).best_params))
        except (KeyError, ValueError) as error:
            raise StepError(f"the study of fold {fold} has no finished trial: run element {fold} of `tune`") from error
    return chosen


def main() -> dict[str, Any]:
    """Work on one study until it has its trials."""
    layout, element = Layout(arguments("tune").data), array_element()
    fold = element % FOLDS
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study, objective = open_study(layout, fold, element), Objective(layout, fold)

    def marked(trial: optuna.Trial) -> float:
        trial.set_user_attr("element", element)
        return objective.score(trial)

    def tell(_study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        state, value = trial.state.name.lower(), trial.value or 0
        say(f"fold {fold}, trial {trial.number} {state}: macro F1 {value:.3f} {trial.params}")

    done = (TrialState.COMPLETE, TrialState.PRUNED)
    if len(study.get_trials(deepcopy=False, states=done)) < TRIALS:
        study.optimize(marked, callbacks=[tell, optuna.study.MaxTrialsCallback(TRIALS, states=done)])
    trials = study.get_trials(deepcopy=False)
    return {
        "fold": fold,
        "trials": len(trials),
        "pruned": sum(trial.state is TrialState.PRUNED for trial in trials),
        "best_macro_f1": study.best_value,
        "best": study.best_params,
    }


if __name__ == "__main__":
    run(main)
