"""Hyperparameter searches: one that is disturbed, a grid, and two that fail."""

from pathlib import Path

from airflow.sdk import DAG

from headnode import Resubmit, TuneOperator

JOBS_PYTHON = str(Path(__file__).parents[3] / ".venv-jobs/bin/python")

with DAG("studies", schedule=None, max_active_tasks=8, params={"events": "", "gate": ""}):
    TuneOperator(
        task_id="disturbed",
        objective="tune.py:objective",
        code="jobs/study",
        trials=24,
        workers=4,
        nodes=2,
        direction="maximize",
        pruner={"kind": "asha", "min_resource": 1, "reduction_factor": 3},
        seed=7,
        lost_seconds=2,
        time_limit="10",
        python=JOBS_PYTHON,
        env={"EVENTS": "{{ params.events }}", "GATE": "{{ params.gate }}", "OPEN_TRIALS": 14},
        on_timeout=Resubmit(signal_seconds=5),
    )
    TuneOperator(
        task_id="grid",
        objective="tune.py:on_grid",
        code="jobs/study",
        workers=2,
        direction="minimize",
        sampler={"kind": "grid", "space": {"first": [1, 2, 3], "second": [10, 20]}},
        python=JOBS_PYTHON,
    )
    TuneOperator(
        task_id="raising",
        objective="tune.py:raising",
        code="jobs/study",
        trials="{{ 5 + 1 }}",
        direction="minimize",
        sampler="random",
        python=JOBS_PYTHON,
        retries=0,
    )
    TuneOperator(
        task_id="without_optuna",
        objective="tune.py:raising",
        code="jobs/study",
        trials=2,
        direction="minimize",
        python="/usr/bin/python3",
        retries=0,
    )
