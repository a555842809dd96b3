"""Which of an operator's values are known when the DAG is parsed, and what rendered text means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from airflow.sdk.definitions._internal.mixins import DependencyMixin

# A command that is only known later still is one, so that "exactly one of command and script" can be checked.
_STANDS_FOR_COMMAND: Final = "rendered later"
_EMPTY: Final = ("", "None", None)
_DESCRIPTIONS: Final = frozenset({"launch", "environment"})


def is_templated(value: Any) -> bool:
    """Whether ``value`` gets its meaning only when the task runs: a template, or another task's output."""
    if isinstance(value, str):
        return "{{" in value or "{%" in value
    if isinstance(value, Mapping):
        return any(is_templated(part) for pair in value.items() for part in pair)
    if isinstance(value, list | tuple):
        return any(is_templated(part) for part in value)
    return isinstance(value, DependencyMixin)


def drop_templated(fields: Mapping[str, Any]) -> tuple[dict[str, Any], frozenset[str]]:
    """Return the fields that are known now, and the names of the others."""
    templated = frozenset(name for name, value in fields.items() if is_templated(value))
    known = {name: value for name, value in fields.items() if name not in templated}
    known |= dict.fromkeys(templated & {"command", "script"}, _STANDS_FOR_COMMAND)
    return known, templated


def empty_as_none(fields: Mapping[str, Any], templated: frozenset[str]) -> dict[str, Any]:
    """Return the rendered fields, where a template that rendered to nothing (or to None) means: not given.

    So it is with the values of a launcher and of an environment.
    """
    given = {name: None if name in templated and value in _EMPTY else value for name, value in fields.items()}
    for name in _DESCRIPTIONS & templated:
        if isinstance(value := given.get(name), Mapping):
            given[name] = {key: part for key, part in value.items() if part not in _EMPTY}
    return given
