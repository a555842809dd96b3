"""What tasks hand to each other and to people: chosen settings, scores as a table, the event of a published map."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from airflow.sdk import Asset
from airflow.sdk.exceptions import AirflowSkipException

EVENT = ("year", "version", "accuracy", "map")
MOST_LINES = 60


def tuned_settings(ti: Any, folds: int) -> str:
    """Return the best parameters of each fold's study as JSON, `{"0": {...}}`; `{}` where none was searched for.

    A study whose trials were all given up early has no best one: its fold is left out.
    """
    found = {}
    for fold in range(folds):
        result = ti.xcom_pull(task_ids=f"tune.fold_{fold}")
        if result is not None and result["best"] is not None:
            found[str(fold)] = result["best"]["params"]
    return json.dumps(found, sort_keys=True)


def as_table(result: Mapping[str, Any]) -> str:
    """Return a result's numbers and words as a table in Markdown, the parts of parts by their paths."""
    lines = [f"| {name} | {value} |" for name, value in _flat("", result)]
    left = len(lines) - MOST_LINES
    more = [f"\nand {left} more, in the task's XCom"] if left > 0 else []
    return "\n".join(["| | |", "|---|---|", *lines[:MOST_LINES], *more])


def announced(result: Mapping[str, Any], asset: Asset, outlet_events: Any) -> dict[str, Any]:
    """Put into the asset's event which map this is and how good; end the task as skipped where nothing is new.

    Raises:
        AirflowSkipException: nothing was published, since the same version was there.
    """
    if not result["published"]:
        raise AirflowSkipException(f"version {result['version']} of {result['year']} was there already")
    extra = {name: result[name] for name in EVENT}
    outlet_events[asset].extra = extra
    return extra


def _flat(path: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from _flat(f"{path}.{name}" if path else str(name), part)
    elif isinstance(value, list | tuple) and any(isinstance(part, Mapping | list | tuple) for part in value):
        for number, part in enumerate(value):
            yield from _flat(f"{path}.{number}", part)
    else:
        shown = f"{value:.4g}" if isinstance(value, float) else str(value)
        yield path, shown.replace("|", "\\|").replace("\n", " ")
