"""``TuneOperator``: one Airflow task, one hyperparameter search by workers on a cluster."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from airflow.sdk import Context

from headnode.errors import JobSpecError
from headnode.operators.python_files import as_text, content_digest, interpreter_words
from headnode.operators.slurm_job import SlurmJobOperator
from headnode.sites.catalogue import nearest
from headnode.sites.launchers.optuna import OptunaWorkers
from headnode.slurm.policy import Resubmit
from headnode.templated import is_templated
from headnode.triggers.slurm_job import SlurmJobTrigger
from headnode.tuning.description import MAX_TRIALS, describe_study
from headnode.tuning.launching import TuneWorkers
from headnode.tuning.packing import study_files

_STUDY_FIELDS: Final = ("objective", "trials", "workers", "direction", "sampler", "pruner", "seed", "max_failures")
# What stands for a field that is rendered later, so that the others can be checked.
_STAND_INS: Final = {
    "objective": "rendered.later:objective",
    "workers": 1,
    "direction": "minimize",
    "sampler": "tpe",
    "pruner": "none",
    "seed": None,
    "max_failures": 1,
}
_OWNED: Final = {
    "command": "is what the objective is",
    "script": "is what the objective is",
    "launch": "is the workers' own; give workers=, nodes= and gpus_per_node=",
    "ntasks": "is the number of workers; give workers=",
    "ntasks_per_node": "is the number of workers by that of nodes; give workers= and nodes=",
    "components": "is not for studies",
    "start_from_trigger": "is not for studies",
}


class TuneOperator(SlurmJobOperator):
    """Searches for the best hyperparameters by N trials on M workers, which share one Optuna study.

    ``objective`` is a plain objective of Optuna, ``objective(trial: optuna.Trial) -> float``, in the folder ``code``.
    Each trial that ends, and the best so far, are a line in the task's log. The XCom ``return_value`` is a dict with
    the ``best`` trial and all ``trials`` (number, value, params, state, seconds, worker, intermediate values), and the
    paths of Optuna's ``journal`` and of ``trials_file``, which holds a line of JSON for each.

    Exactly N trials finish. A trial whose worker was killed is gone on with by another, with the same parameters and
    the same ``$HEADNODE_TRIAL_DIRECTORY``, in which an objective keeps its checkpoints; so is one that the job's time
    limit ended, in the job after it. ``docs/tuning.md`` has a complete example.

    :param objective: ``tune.py:objective``, a file in ``code`` and a function of it, or ``package.module:objective``
    :param trials: how many trials are to finish; of a grid, all of its points by default
    :param workers: how many trials run at a time, each one task of Slurm with ``cpus_per_task`` and its share of the
        node's GPUs; they are spread evenly over ``nodes``
    :param direction: ``maximize`` or ``minimize``
    :param sampler: ``tpe``, ``random`` or ``cmaes``; with arguments of Optuna's a dict,
        ``{"kind": "tpe", "multivariate": True}``; or all points of ``{"kind": "grid", "space": {"lr": [0.1, 0.01]}}``
    :param pruner: ``none``, ``asha`` (SuccessiveHalvingPruner), ``hyperband`` or ``median``; with arguments a dict,
        ``{"kind": "asha", "min_resource": 3, "reduction_factor": 4}``
    :param seed: makes the samplers' draws the same each time
    :param max_failures: so many trials in a row that raise fail the task, with the last one's exception. A trial that
        failed is replaced by another, on a grid it is left
    :param lost_seconds: how long a worker may give no sign of life before others go on with its trial
    :param python: the Python on the cluster that has Optuna, or a list of words that start one
    :param on_timeout: ``Resubmit()`` by default: the workers are warned, and another job goes on with the study
    :param kwargs: what ``SlurmJobOperator`` takes but ``command``, ``script``, ``launch``, ``ntasks``,
        ``ntasks_per_node``, ``components`` and ``start_from_trigger``
    """

    template_fields: Sequence[str] = (*SlurmJobOperator.template_fields, *_STUDY_FIELDS, "python")

    def __init__(
        self,
        *,
        objective: str,
        direction: str,
        trials: int | str | None = None,
        workers: int | str = 1,
        sampler: str | Mapping[str, Any] = "tpe",
        pruner: str | Mapping[str, Any] | None = "none",
        seed: int | str | None = None,
        max_failures: int | str = 3,
        lost_seconds: float = 60,
        python: str | Sequence[str] = "python3",
        on_timeout: Resubmit | None = Resubmit(),  # noqa: B008 - it is frozen
        **kwargs: Any,
    ) -> None:
        for name, problem in _OWNED.items():
            if kwargs.pop(name, None) is not None:
                raise JobSpecError(name, f"{problem}, and can't be given (task {kwargs.get('task_id')!r})")
        self.objective = objective
        self.trials = trials
        self.workers = workers
        self.direction = direction
        self.sampler = dict(sampler) if isinstance(sampler, Mapping) else sampler
        self.pruner = dict(pruner) if isinstance(pruner, Mapping) else pruner
        self.seed = seed
        self.max_failures = max_failures
        self.lost_seconds = lost_seconds
        self.python = python if isinstance(python, str) else list(python)
        try:
            self._check_study(kwargs.get("code"))
            _check_spread(workers, kwargs.get("nodes"))
            launch = OptunaWorkers.model_construct(workers=workers)  # checked with the job's other fields
        except JobSpecError as error:
            raise JobSpecError(error.field, f"{error.problem} (task {kwargs.get('task_id')!r})") from error
        if kwargs.get("nodes") not in (None, 1, "1"):
            # Without it the whole job ends with one of its nodes.
            kwargs["sbatch_options"] = {"no-kill": True, **(kwargs.get("sbatch_options") or {})}
        super().__init__(command=["the study's own"], launch=launch, on_timeout=on_timeout, **kwargs)

    def _check_study(self, code: str | None) -> None:
        """Check what is known when the DAG is parsed, by the same function as in ``execute``."""
        given = {name: getattr(self, name) for name in _STUDY_FIELDS}
        known = {name: _STAND_INS.get(name) if is_templated(value) else value for name, value in given.items()}
        if is_templated(self.trials) or (self.trials is None and is_templated(self.sampler)):
            on_grid = isinstance(known["sampler"], Mapping) and known["sampler"].get("kind") == "grid"
            known["trials"] = None if on_grid else MAX_TRIALS
        describe_study({**known, "lost_seconds": self.lost_seconds})
        if not is_templated(self.python):
            interpreter_words(self.python)
        if not is_templated(self.objective) and self.objective.partition(":")[0].endswith(".py") and not code:
            raise JobSpecError("code", f"give the folder that holds {self.objective.partition(':')[0]!r}")

    def _check_literals(self) -> frozenset[str]:
        templated = super()._check_literals()
        dag = self._dag
        if dag is not None and not is_templated(self.objective) and not is_templated(self.code):
            try:
                self._find_objective(dag.fileloc)
            except JobSpecError as error:
                raise JobSpecError(error.field, f"{error.problem} (task {self.task_id!r})") from error
        return templated

    def _trigger(self, context: Context, adopt_owners: list[str], *, takes_arguments: bool = False) -> SlurmJobTrigger:
        given = {name: getattr(self, name) for name in _STUDY_FIELDS}
        for name in ("trials", "seed"):
            given[name] = None if given[name] in ("", "None") else given[name]
        study = describe_study({**given, "lost_seconds": self.lost_seconds})
        self._find_objective(context["dag"].fileloc)
        files = study_files(study)
        digest = content_digest(files)
        self.command = [f"{study['objective']}-{digest[:16]}", *interpreter_words(self.python)]
        self.launch = self._workers(study["workers"])
        trigger = super()._trigger(context, adopt_owners, takes_arguments=takes_arguments)
        trigger.files = {**(trigger.files or {}), **as_text(files)}
        return trigger

    def _workers(self, workers: int) -> TuneWorkers:
        """Return the launcher, to which the job's own counts go: it is no launcher that a dict can describe."""
        counts = {}
        for name in ("nodes", "gpus_per_node", "cpus_per_task"):
            if (value := getattr(self, name)) not in (None, "", "None"):
                counts[name] = value
            setattr(self, name, None)
        return TuneWorkers.model_validate({"workers": workers, **counts})

    def _find_objective(self, dag_file: str) -> None:
        """Refuse an objective that its file does not define; what a module imports is not looked at."""
        where, _, name = self.objective.partition(":")
        if not where.endswith(".py") or not self.code:
            return
        from headnode.hooks.code_archive import resolve_code_folder  # noqa: PLC0415 - as in SlurmJobOperator

        folder = Path(resolve_code_folder(self.code, dag_file))
        path = folder / where
        if not path.is_file():
            there = [each.relative_to(folder).as_posix() for each in folder.rglob("*.py")][:1000]
            raise JobSpecError("objective", f"there is no file {where!r} in {str(folder)!r}{nearest(where, there)}")
        try:
            module = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError) as error:
            raise JobSpecError("objective", f"{where!r} can't be read by Python: {error}") from error
        defined = _defined(module)
        if name not in defined and "*" not in defined:
            raise JobSpecError("objective", f"{where!r} has no {name!r}{nearest(name, defined)}")


def _check_spread(workers: Any, nodes: Any) -> None:
    """Refuse what the launcher would, which asks only where the site is known."""
    if nodes is None or is_templated(workers) or is_templated(nodes):
        return
    try:
        rest = int(workers) % int(nodes)
    except (TypeError, ValueError, ZeroDivisionError):
        return  # no number, which is refused with the job's other fields
    if rest or int(workers) < int(nodes):
        raise JobSpecError("workers", f"{workers} can't be shared out evenly over {nodes} nodes")


def _defined(module: ast.Module) -> set[str]:
    """Return the names that a module may define, ``*`` where it imports all of another."""
    names: set[str] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.alias):
            names.add(node.asname or node.name)
    return names
