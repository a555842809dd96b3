"""The same study by 1, 2 and 4 workers, one after the other."""

from __future__ import annotations

import os
from pathlib import Path

from airflow.sdk import DAG

from headnode import TuneOperator

JOBS_PYTHON = Path(__file__).parents[2] / ".venv-jobs/bin/python"

with DAG("studies", schedule=None):
    before = None
    for workers in map(int, os.environ.get("HEADNODE_BENCH_WORKERS", "1,2,4").split(",")):
        study = TuneOperator(
            task_id=f"workers_{workers}",
            objective="tune.py:objective",
            code="jobs",
            trials=int(os.environ.get("HEADNODE_BENCH_TRIALS", "24")),
            workers=workers,
            direction="maximize",
            sampler="random",
            seed=1,
            time_limit="30",
            python=str(JOBS_PYTHON),
        )
        if before is not None:
            before >> study
        before = study
