"""What the job leaves: the best trial and all trials, as much of it as Airflow takes, and a file with everything."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .setting import Study
from .slots import Attempt, State, best, finished

#: A little less than what headnode takes (256 KiB).
MAX_BYTES = 250 * 1024
_VALUES_KEPT = 20


def describe(study: Study, attempts: Iterable[Attempt]) -> dict[str, Any]:
    """Return the study's result with all of its trials, in the order of their numbers, from 1."""
    attempts = list(attempts)
    over = finished(attempts, on_grid=bool(study.grid))
    found = best(over.values(), maximize=study.maximize)
    failed = [each for each in attempts if each.state is State.FAILED and over.get(each.slot) is not each]
    rows = [_row(over[slot], attempts) for slot in sorted(over)]
    return {
        "best": _row(found, attempts) if found is not None else None,
        "trials": rows,
        "failed": [_row(each, attempts) for each in failed],
        "counts": {state: sum(row["state"] == state for row in rows) for state in ("complete", "pruned", "failed")},
        "objective": study.objective,
        "direction": "maximize" if study.maximize else "minimize",
    }


def _row(attempt: Attempt, attempts: Iterable[Attempt]) -> dict[str, Any]:
    parts = [each for each in attempts if each.slot == attempt.slot and each.attempt <= attempt.attempt]
    # ``began`` and ``seconds`` are those of the last part: when a worker that was killed had stopped nobody knows.
    row = {
        "number": attempt.slot + 1,
        "state": attempt.state.value,
        "value": _plain(attempt.value),
        "params": {name: _plain(value) for name, value in attempt.params.items()},
        "began": round(attempt.began, 3),
        "seconds": round(attempt.ended - attempt.began, 3) if attempt.ended is not None else None,
        "worker": attempt.worker,
        "intermediate_values": {str(step): _plain(value) for step, value in sorted(attempt.intermediate.items())},
        "optuna_number": attempt.number,
        "continued": sum(each.state is State.LEFT for each in parts),
    }
    return row | {"failure": attempt.failure} if attempt.failure else row


def _plain(value: Any) -> Any:
    """Return the value as strict JSON knows it: there is no infinity in it."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def fitting(result: dict[str, Any], *, maximize: bool, most_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """Return what fits of the result: first the curves get fewer values, then the worst trials are left out."""
    if _size(result) <= most_bytes:
        return result
    cut = {**result, "left_out": "intermediate values; trials_file has all"}
    for name in ("trials", "failed"):
        cut[name] = [{**row, "intermediate_values": _thinned(row["intermediate_values"])} for row in result[name]]
    if result["best"] is not None:
        cut["best"] = {**result["best"], "intermediate_values": _thinned(result["best"]["intermediate_values"])}
    if _size(cut) <= most_bytes:
        return cut
    sign = -1 if maximize else 1

    def rank(row: dict[str, Any]) -> tuple[bool, float]:
        complete = row["state"] == "complete" and isinstance(row["value"], (int, float))
        return (not complete, sign * row["value"] if complete else 0.0)

    rows = [{**row, "intermediate_values": {}} for row in sorted(result["trials"], key=rank)]
    cut |= {"failed": [], "left_out": _left_out(len(rows))}
    low, high = 0, len(rows)
    while low < high:
        middle = (low + high + 1) // 2
        if _size({**cut, "trials": rows[:middle]}) <= most_bytes:
            low = middle
        else:
            high = middle - 1
    kept = sorted(rows[:low], key=lambda row: int(row["number"]))
    return {**cut, "trials": kept, "left_out": _left_out(len(rows) - low)}


def _left_out(trials: int) -> str:
    return f"intermediate values, failed attempts and the {trials} worst trials; trials_file has all"


def write_all(result: dict[str, Any], path: Path) -> None:
    """Write a line of JSON for each trial, failed attempts too."""
    new = path.with_name(path.name + ".new")
    with new.open("w", encoding="utf-8") as file:
        for row in [*result["trials"], *result["failed"]]:
            file.write(json.dumps(row) + "\n")
    new.replace(path)


def _thinned(values: dict[str, Any]) -> dict[str, Any]:
    steps = list(values)
    if len(steps) <= _VALUES_KEPT:
        return values
    kept = {round(at * (len(steps) - 1) / (_VALUES_KEPT - 1)) for at in range(_VALUES_KEPT)}
    return {steps[at]: values[steps[at]] for at in sorted(kept)}


def _size(result: dict[str, Any]) -> int:
    return len(json.dumps(result).encode())
