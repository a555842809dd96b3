"""Search with Optuna: each worker takes trials from the study that all share until there are enough."""

import os
import time

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import MaxTrialsCallback
from optuna.trial import TrialState

TRIALS = 24


def objective(trial):
    """Return a loss that is least at (0.3, 3)."""
    trial.set_user_attr("worker", int(os.environ["SLURM_PROCID"]))
    trial.set_user_attr("node", os.environ["SLURMD_NODENAME"])
    rate, layers = trial.suggest_float("rate", 0.0, 1.0), trial.suggest_int("layers", 1, 5)
    time.sleep(0.5)  # here a model would be trained
    return (rate - 0.3) ** 2 + (layers - 3) ** 2


def main():
    """Join the study and work until it has its trials."""
    storage = JournalStorage(JournalFileBackend(os.environ["OPTUNA_JOURNAL"]))
    sampler = optuna.samplers.TPESampler(seed=int(os.environ["SLURM_PROCID"]), n_startup_trials=8)
    study = optuna.create_study(
        study_name=os.environ["OPTUNA_STUDY"], storage=storage, sampler=sampler, load_if_exists=True
    )
    enough = MaxTrialsCallback(TRIALS, states=(TrialState.COMPLETE,))
    study.optimize(objective, callbacks=[enough])
    print("worker", os.environ["SLURM_PROCID"], "is done:", study.best_params)  # noqa: T201 - the job's log


if __name__ == "__main__":
    main()
