"""Conditions on scenes, as the API's `query` extension writes them: `{"eo:cloud_cover": {"lte": 60}}`."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

from landcover_jobs.configuration.images import StacSource
from landcover_jobs.job import StepError

CLOUDS = "eo:cloud_cover"
OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "neq": operator.ne,
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
    "in": lambda value, wanted: value in wanted,
    "startsWith": lambda value, wanted: str(value).startswith(wanted),
    "endsWith": lambda value, wanted: str(value).endswith(wanted),
    "contains": lambda value, wanted: wanted in value,
}


def conditions_of(source: StacSource) -> dict[str, dict[str, Any]]:
    """Return `source.query` and the greatest cloud cover.

    Raises:
        StepError: a condition is not written as the extension wants it.
    """
    conditions: dict[str, dict[str, Any]] = {}
    for name, condition in source.query.items():
        if not isinstance(condition, Mapping) or not condition.keys() <= OPERATORS.keys():
            raise StepError(
                f"source.query.{name}: {condition!r} is no condition; write e.g. {{eq: VALUE}}, with one of "
                f"{', '.join(OPERATORS)}"
            )
        conditions[name] = dict(condition)
    if source.max_cloud_percent is not None:
        conditions[CLOUDS] = conditions.get(CLOUDS, {}) | {"lte": source.max_cloud_percent}
    return conditions


def holds(properties: Mapping[str, Any], conditions: Mapping[str, Mapping[str, Any]]) -> bool:
    """Tell whether a scene meets all conditions; one on a property that it does not have is not met."""
    return all(
        name in properties and _compared(properties[name], comparison, value)
        for name, condition in conditions.items()
        for comparison, value in condition.items()
    )


def _compared(found: Any, comparison: str, value: Any) -> bool:
    try:
        return bool(OPERATORS[comparison](found, value))
    except TypeError:
        return False
