"""One task for each step of a map: a Slurm job, an array over the tiles, a study, a training."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from airflow.sdk import BaseOperator
from landcover_jobs.configuration.catalogue import as_variable
from landcover_jobs.configuration.learning import Resources, StepName
from landcover_jobs.configuration.map_configuration import MapConfiguration

from headnode import SlurmArrayOperator, SlurmJobOperator, Torchrun, TrainOperator, TuneOperator
from landcover_dags.settings import CODE, Settings

TIME_LIMIT, MEMORY = "01:00:00", "2G"
OBJECTIVE = "landcover_jobs.learning.objective:objective"
# Trials are compared after a quarter and a half of their epochs; the worse half ends there.
RUNGS, REDUCTION = 4, 2
DATA = "{{ params.data }}"
YEAR = "{{ map_year(params, dag_run) }}"
TILES = "0-{{ ti.xcom_pull(task_ids='search')['tiles'] - 1 }}"
SETTINGS = "{{ tuned_settings(ti, %d) }}"


@dataclass(frozen=True)
class Steps:
    """Makes a map's tasks; what a run's params say stands in lists and variables alone, which no shell reads."""

    configuration: MapConfiguration
    settings: Settings

    def job(self, step: StepName) -> SlurmJobOperator:
        """Return the task of a step that is one job."""
        return SlurmJobOperator(task_id=step, command=self._command(step), **self._common(step))

    def array(self, step: StepName) -> SlurmArrayOperator:
        """Return the task of a step with an element for each tile that `search` has found."""
        return SlurmArrayOperator(
            task_id=step,
            command=self._command(step),
            array=TILES,
            max_running=self._resources(step).max_running,
            element_retries=1,
            **self._common(step),
        )

    def rollback(self) -> SlurmJobOperator:
        """Return the task that makes an older version of a year the current one."""
        command = [*self._python("rollback"), "--year", "{{ params.year }}", "--version", "{{ params.version }}"]
        return SlurmJobOperator(task_id="rollback", command=command, **self._common("publish"))

    def tune(self, fold: int) -> TuneOperator:
        """Return the task of one fold's study, which never looks at the fold."""
        tuning, resources = self.configuration.tuning, self._resources("tune")
        common = self._common("tune")
        common["env"] |= {"LANDCOVER_DATA": DATA, "LANDCOVER_FOLD": str(fold)}
        return TuneOperator(
            task_id=f"fold_{fold}",
            objective=OBJECTIVE,
            direction="maximize",
            trials=tuning.trials,
            workers=min(tuning.workers, tuning.trials),
            sampler="tpe",
            pruner={"kind": "asha", "min_resource": max(tuning.epochs // RUNGS, 1), "reduction_factor": REDUCTION},
            seed=self.configuration.model.seed + fold,
            python=self.settings.python,
            nodes=resources.nodes,
            gpus_per_node=resources.gpus_per_node,
            **common,
        )

    def train(self) -> TrainOperator:
        """Return the task that trains over the nodes by torchrun, and goes on from its checkpoint."""
        resources, common = self._resources("train"), self._common("train")
        common["env"] |= {"LANDCOVER_SETTINGS": SETTINGS % self.configuration.validation.folds}
        if (resources.nodes or 1) == 1:
            # The processes of one node meet there, whatever the network calls it.
            common["env"] = {"MASTER_ADDR": "127.0.0.1", **common["env"]}
        return TrainOperator(
            task_id="train",
            command=self._command("train"),
            launch=Torchrun(processes_per_node=resources.tasks_per_node),
            nodes=resources.nodes,
            gpus_per_node=resources.gpus_per_node,
            metric="macro_f1",
            mode="max",
            setup=self.settings.setup,
            trigger_rule="none_failed_min_one_success",
            **common,
        )

    def _python(self, step: str) -> list[str]:
        return [self.settings.python, "-m", f"landcover_jobs.steps.{step}", "--data", DATA]

    def _command(self, step: str) -> list[str]:
        return [*self._python(step), "--year", YEAR]

    def _resources(self, step: StepName) -> Resources:
        return self.configuration.resources.get(step, Resources())

    def _common(self, step: StepName) -> dict[str, Any]:
        """Return what all kinds of tasks take alike."""
        resources = self._resources(step)
        cpus = resources.cpus_per_task or 1
        fields: dict[str, Any] = {
            "slurm_conn_id": self.settings.connection,
            "code": CODE,
            "time_limit": resources.time_limit or TIME_LIMIT,
            "cpus_per_task": cpus,
            "memory": resources.memory or MEMORY,
            "partition": resources.partition,
            # As many threads as cores, also where libraries count the node's instead of the job's.
            "env": {
                "OMP_NUM_THREADS": str(cpus),
                **self.settings.variables,
                "LANDCOVER_MAP": as_variable(self.configuration),
            },
        }
        if step not in ("tune", "train"):
            extra = {"nodes": resources.nodes, "ntasks_per_node": resources.tasks_per_node}
            fields |= extra | {"gpus_per_node": resources.gpus_per_node}
        return fields


def in_order(*tasks: BaseOperator) -> None:
    """Let each task follow the one before it."""
    for before, after in pairwise(tasks):
        before.set_downstream(after)
