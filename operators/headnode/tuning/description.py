"""The description of a study, checked when the DAG is parsed and again when its templates are rendered. Pure."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping
from typing import Any, Final

from headnode.errors import JobSpecError
from headnode.sites.catalogue import nearest
from headnode.slurm.jobspec import whole_number

MAX_TRIALS: Final = 10_000
MAX_WORKERS: Final = 1000
_OBJECTIVE: Final = re.compile(r"(?:[\w./-]+\.py|[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):[A-Za-z_]\w*")

# What Optuna's classes take (5.0; 4.0 takes the same), by the names that they have there; ``int``, ``float``, ``bool``.
SAMPLERS: Final[dict[str, dict[str, type]]] = {
    "tpe": {
        "n_startup_trials": int,
        "n_ei_candidates": int,
        "multivariate": bool,
        "group": bool,
        "constant_liar": bool,
    },
    "random": {},
    "cmaes": {
        "n_startup_trials": int,
        "popsize": int,
        "consider_pruned_trials": bool,
        "use_separable_cma": bool,
        "with_margin": bool,
        "lr_adapt": bool,
    },
    "grid": {},
}
PRUNERS: Final[dict[str, dict[str, type]]] = {
    "asha": {"min_resource": int, "reduction_factor": int, "min_early_stopping_rate": int, "bootstrap_count": int},
    "hyperband": {"min_resource": int, "max_resource": int, "reduction_factor": int, "bootstrap_count": int},
    "median": {"n_startup_trials": int, "n_warmup_steps": int, "interval_steps": int, "n_min_trials": int},
    "none": {},
}
_LEAST: Final = {
    "min_resource": 1,
    "max_resource": 1,
    "reduction_factor": 2,
    "interval_steps": 1,
    "n_min_trials": 1,
    "n_ei_candidates": 1,
    "popsize": 2,
}


def describe_study(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the study as it travels to the cluster: what ``on_cluster.setting.Study`` takes, as JSON types.

    Raises:
        JobSpecError: a field can't be right.
    """
    sampler = parse_sampler(fields["sampler"])
    grid = grid_points(sampler["space"]) if sampler["kind"] == "grid" else []
    trials = _trials(fields.get("trials"), grid)
    workers = _count("workers", fields["workers"], MAX_WORKERS)
    if workers > trials:
        raise JobSpecError(
            "workers", f"{workers} are more than the {trials} trials, so that some would have nothing to do"
        )
    direction = fields["direction"]
    if direction not in ("maximize", "minimize"):
        raise JobSpecError("direction", f"{direction!r} must be 'maximize' or 'minimize'")
    return {
        "objective": parse_objective(fields["objective"]),
        "trials": trials,
        "workers": workers,
        "maximize": direction == "maximize",
        "sampler": {name: value for name, value in sampler.items() if name != "space"},
        "pruner": parse_pruner(fields["pruner"]),
        "seed": _seed(fields.get("seed")),
        "max_failures": _count("max_failures", fields["max_failures"], MAX_TRIALS),
        "lost_seconds": _seconds(fields["lost_seconds"]),
        "grid": grid[:trials],
    }


def parse_objective(value: Any) -> str:
    """Return ``tune.py:objective`` or ``package.module:objective``. Raises JobSpecError."""
    if not isinstance(value, str) or not _OBJECTIVE.fullmatch(value):
        problem = f"{value!r} must name a function in the code: 'tune.py:objective' or 'package.module:objective'"
        raise JobSpecError("objective", problem)
    path = value.partition(":")[0]
    if path.endswith(".py") and (path.startswith("/") or ".." in path.split("/")):
        raise JobSpecError("objective", f"{path!r} must be a file in the folder of code=")
    return value


def parse_sampler(value: Any) -> dict[str, Any]:
    """Return the sampler as a dict with its ``kind`` and Optuna's arguments; of a grid, with its ``space``.

    Raises:
        JobSpecError: there is no such sampler, or it has no such argument.
    """
    if isinstance(value, Mapping) and value.get("kind") == "grid":
        if rest := sorted(map(str, value.keys() - {"kind", "space"})):
            raise JobSpecError("sampler", f"a grid has a space= and nothing else, not {rest[0]!r}")
        return {"kind": "grid", "space": _space(value.get("space"))}
    if value == "grid":
        raise JobSpecError("sampler", "a grid needs its points: {'kind': 'grid', 'space': {'lr': [0.1, 0.01], ...}}")
    return _kind("sampler", value, SAMPLERS)


def parse_pruner(value: Any) -> dict[str, Any]:
    """Return the pruner as a dict with its ``kind`` and Optuna's arguments; None is ``none``.

    Raises:
        JobSpecError: there is no such pruner, or it has no such argument.
    """
    return _kind("pruner", "none" if value is None else value, PRUNERS)


def grid_points(space: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    """Return all points of a grid, the last parameter changing first."""
    return [dict(zip(space, values, strict=True)) for values in itertools.product(*space.values())]


def _kind(field: str, value: Any, known: Mapping[str, Mapping[str, type]]) -> dict[str, Any]:
    given = {"kind": value} if isinstance(value, str) else value
    if not isinstance(given, Mapping) or not isinstance(given.get("kind"), str):
        raise JobSpecError(field, f"{value!r} must be a name, or a dict with its 'kind' and Optuna's arguments")
    kind = given["kind"]
    if kind not in known:
        raise JobSpecError(field, f"there is no {field} {kind!r}{nearest(kind, known)}")
    arguments = {
        name: _argument(field, kind, name, each, known[kind]) for name, each in given.items() if name != "kind"
    }
    return {"kind": kind, **arguments}


def _argument(field: str, kind: str, name: Any, value: Any, known: Mapping[str, type]) -> Any:
    if name == "seed":
        raise JobSpecError(field, "the seed is the study's: give seed= to the operator")
    if name not in known:
        there_are = nearest(str(name), known) if known else "; it has none"
        raise JobSpecError(field, f"{kind!r} has no argument {name!r}{there_are}")
    wanted = known[name]
    if name in ("min_resource", "max_resource") and value == "auto":
        return value
    if wanted is bool and isinstance(value, bool):
        return value
    least = _LEAST.get(name, 0)
    if wanted is int and _is_count(value, least):
        return int(value)
    what = "True or False" if wanted is bool else f"a whole number from {least}"
    raise JobSpecError(field, f"{name}={value!r} of {kind!r} must be {what}")


def _is_count(value: Any, least: int) -> bool:
    try:
        return int(whole_number(value)) >= least
    except (TypeError, ValueError):
        return False


def _space(value: Any) -> dict[str, list[Any]]:
    if not isinstance(value, Mapping) or not value:
        raise JobSpecError("sampler", "the space of a grid must be a dict of a list of values for each parameter")
    points = 1
    for name, values in value.items():
        fine = isinstance(name, str) and isinstance(values, list | tuple) and values
        if not fine or not all(isinstance(each, str | int | float | bool | None) for each in values):
            raise JobSpecError("sampler", f"the grid's {name!r} must be a list of numbers, texts, True, False or None")
        if any(isinstance(each, float) and not math.isfinite(each) for each in values):
            raise JobSpecError("sampler", f"the grid's {name!r} has a value that is not finite")
        points *= len(values)
    if points > MAX_TRIALS:
        raise JobSpecError("sampler", f"the grid has {points} points, and {MAX_TRIALS} are the most")
    return {name: list(values) for name, values in value.items()}


def _trials(value: Any, grid: list[dict[str, Any]]) -> int:
    if value is None and grid:
        return len(grid)
    if value is None:
        raise JobSpecError("trials", "say how many trials there are to be")
    trials = _count("trials", value, MAX_TRIALS)
    if grid and trials > len(grid):
        raise JobSpecError("trials", f"{trials} are more than the {len(grid)} points of the grid; leave trials= out")
    return trials


def _count(field: str, value: Any, most: int) -> int:
    try:
        number = whole_number(value)
    except ValueError as error:
        raise JobSpecError(field, str(error)) from None
    if not isinstance(number, int) or not 1 <= number <= most:
        raise JobSpecError(field, f"{value!r} must be a whole number from 1 to {most}")
    return number


def _seed(value: Any) -> int | None:
    if value is None:
        return None
    try:
        number = whole_number(value)
    except ValueError as error:
        raise JobSpecError("seed", str(error)) from None
    if not isinstance(number, int) or number < 0:
        raise JobSpecError("seed", f"{value!r} must be a whole number from 0")
    return number


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= 24 * 3600:
        raise JobSpecError("lost_seconds", f"{value!r} must be a number of seconds from 1 to 86400")
    return float(value)
