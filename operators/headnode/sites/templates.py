"""Launchers and environments whose values a template gives: taken as they are until they are rendered.

Airflow renders the text within a launcher when the task runs, ``Torchrun(nodes="{{ params.nodes }}")``. Until then such
a value stands unchecked; ``refuse_templates`` sees to it that none is ever used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_serializer,
)

from headnode.errors import JobSpecError

_LONGEST_SHOWN: Final = 300


def is_template(value: Any) -> bool:
    """Whether ``value`` is a text that is to be rendered, or a flat list or dict that holds one."""
    if isinstance(value, Mapping):
        return any(_is_template_text(part) for pair in value.items() for part in pair)
    if isinstance(value, list | tuple):
        return any(map(_is_template_text, value))
    return _is_template_text(value)


class Templated(BaseModel):
    """A description of some kind that lets templates stand in its fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str

    @field_validator("*", mode="wrap")
    @classmethod
    def _templates_stand(cls, value: Any, check: ValidatorFunctionWrapHandler) -> Any:
        return value if is_template(value) else check(value)

    @model_serializer(mode="wrap")
    def _with_its_kind(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Within another description, too, where defaults are left out.
        return {**serialize(self), "kind": self.kind}


T = TypeVar("T", bound=Templated)


def described(field: str, value: Any, known: Mapping[str, type[T]], *, what: str, there_are: str) -> T:
    """Return what ``value``, a dict, describes by its ``kind``, one of ``known``; ``what`` it is to be, in words.

    Raises:
        JobSpecError: there is no such kind, or a value of it can't be right.
    """
    kind = value.get("kind") if isinstance(value, Mapping) else None
    if not isinstance(kind, str) or kind not in known:
        raise JobSpecError(field, f"{_short(repr(value))} is no {what}; there are {there_are}")
    try:
        return known[kind].model_validate({str(name): part for name, part in value.items()})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        problem = first["msg"].removeprefix("Value error, ")
        place = ".".join(map(str, first["loc"]))
        raise JobSpecError(field, _short(f"{place}: {problem}" if place else problem)) from error


def refuse_templates(description: BaseModel, field: str) -> None:
    """Refuse a description in which a template is left, for its values were not checked.

    Raises:
        JobSpecError: there is one; the message names it.
    """
    for name in type(description).model_fields:
        value = getattr(description, name)
        if isinstance(value, BaseModel):
            refuse_templates(value, field)
        elif isinstance(value, tuple | list) and any(isinstance(each, BaseModel) for each in value):
            for each in value:
                refuse_templates(each, field)
        elif is_template(value):
            raise JobSpecError(field, f"{name}: {_short(repr(value))} holds a template that was not rendered")


def _is_template_text(value: Any) -> bool:
    return isinstance(value, str) and ("{{" in value or "{%" in value)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."
