"""``TrainOperator``: distributed training that goes on from its checkpoint, with its metrics as the result."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from airflow.sdk import Context

from headnode.errors import JobSpecError
from headnode.operators.python_files import as_text
from headnode.operators.slurm_job import SlurmJobOperator
from headnode.slurm.policy import Resubmit
from headnode.slurm.script import at_end
from headnode.triggers.slurm_job import SlurmJobTrigger

if TYPE_CHECKING:
    from headnode.sites.launchers.launcher import Launcher

GATHERER: Final = Path(__file__).with_name("gather_metrics.py")
_GO_ON: Final = Resubmit(times=10)
_MODE = Literal["min", "max"]


class TrainOperator(SlurmJobOperator):
    """Trains over the nodes of a job, by PyTorch's ``torchrun`` where nothing else is said.

    A job that runs out of time is submitted again and goes on from what it has saved in ``$HEADNODE_CHECKPOINT``. What
    the program prints as ``METRICS {"epoch": 3, "loss": 0.41}`` is in the task's log at once, and in its result: a dict
    with the ``best`` and the ``last`` of these reports, all of them as ``history`` (a long one thinned out), how many
    were ``reported``, and as ``result`` what the program has written to ``$HEADNODE_RESULT``. ``docs/training.md`` has
    a whole program.

    :param command: the program with its arguments; ``train.py`` is started by Python
    :param launch: how it is started: ``Torchrun()`` by default, ``DeepSpeed()``, ``Horovod()``, ``Mpi()``, ...
    :param nodes: on how many nodes; and ``gpus_per_node``, all that a node of the site has by default
    :param metric: the name of the number that tells how good the model is; may be a template
    :param mode: whether the ``min`` or the ``max`` of it is best
    :param on_timeout: how often it may go on, ``Resubmit(times=10)``; None to fail at the time limit
    :param job: everything else that ``SlurmJobOperator`` takes, but ``script`` and ``start_from_trigger``
    """

    template_fields: Sequence[str] = (*SlurmJobOperator.template_fields, "metric")

    def __init__(
        self,
        *,
        command: Sequence[str] | str,
        launch: Launcher | Mapping[str, Any] | None = None,
        nodes: int | str | None = None,
        gpus_per_node: int | str | None = None,
        metric: str = "loss",
        mode: _MODE = "min",
        on_timeout: Resubmit | None = _GO_ON,
        setup: str | None = None,
        **job: Any,
    ) -> None:
        _check(job, metric, mode)
        gather = at_end(f'python3 -I "$HEADNODE_DIRECTORY/{GATHERER.name}"')
        self.metric = metric
        self.mode = mode
        super().__init__(
            command=command,
            launch={"kind": "torchrun"} if launch is None else launch,
            nodes=nodes,
            gpus_per_node=gpus_per_node,
            on_timeout=on_timeout,
            setup=f"{setup}\n{gather}" if setup else gather,
            **job,
        )

    def _trigger(self, context: Context, adopt_owners: list[str], *, takes_arguments: bool = False) -> SlurmJobTrigger:
        trigger = super()._trigger(context, adopt_owners, takes_arguments=takes_arguments)
        wanted = json.dumps({"metric": self.metric, "mode": self.mode}).encode()
        own = {GATHERER.name: GATHERER.read_bytes(), "metric.json": wanted}
        trigger.files = (trigger.files or {}) | as_text(own)
        return trigger


def _check(job: Mapping[str, Any], metric: Any, mode: Any) -> None:
    task = f"(task {job.get('task_id')!r})"
    if job.get("script") is not None:
        raise JobSpecError("script", f"can't be given, a training is a program that is launched; give command= {task}")
    if job.get("start_from_trigger"):
        raise JobSpecError("start_from_trigger", f"is not for trainings, whose files a worker sends {task}")
    if not isinstance(metric, str) or not metric.strip():
        raise JobSpecError("metric", f"must be the name of a number that the job reports, not {metric!r} {task}")
    if mode not in get_args(_MODE):
        raise JobSpecError("mode", f"{mode!r} must be 'min' or 'max' {task}")
