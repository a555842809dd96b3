"""N plain tasks that start in the triggerer: headnode's, and as a control tasks that only sleep there."""

import json
import os
from typing import Any, NoReturn

from airflow.sdk import DAG, BaseOperator, Context
from airflow.triggers.base import StartTriggerArgs

from headnode import SlurmJobOperator

PLAN = json.loads(os.environ["HEADNODE_BENCH_PLAN"])


class Sleep(BaseOperator):
    """Waits in the triggerer, from its start to its end."""

    def __init__(self, *, seconds: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.start_from_trigger = True
        self.start_trigger_args = StartTriggerArgs(
            trigger_cls="bench_control.SleepTrigger",
            trigger_kwargs={"seconds": seconds},
            next_method="execute_complete",
            timeout=None,
        )

    def execute(self, context: Context) -> NoReturn:
        """Never run: the task starts in the triggerer."""
        raise NotImplementedError


def plain(case: dict[str, Any], at: int) -> None:
    """Make a task of headnode."""
    SlurmJobOperator(
        task_id=f"job_{at}",
        slurm_conn_id=case["name"],
        start_from_trigger=True,
        time_limit=str(case["minutes_limit"]),
        command=["sh", "-c", f"sleep {case['seconds']}; date +%s.%N > {PLAN['ends']}/{case['name']}.{at}"],
    )


def control(case: dict[str, Any], at: int) -> None:
    """Make a task that sleeps."""
    Sleep(task_id=f"job_{at}", seconds=case["seconds"])


for case in PLAN["cases"]:
    if case["way"] in ("plain", "control"):
        for part, dag_id in enumerate(case["dag_ids"]):
            with DAG(dag_id, schedule=None) as dag:
                for at in range(part, case["jobs"], len(case["dag_ids"])):
                    {"plain": plain, "control": control}[case["way"]](case, at)
            globals()[dag_id] = dag
