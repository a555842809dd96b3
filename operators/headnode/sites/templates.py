"""Launchers and environments whose values a template gives: taken as they are until they are rendered.

Airflow renders the text within a launcher when the task runs, ``Torchrun(nodes="{{ params.nodes }}")``. Until then such
a value stands unchecked; ``refuse_templates`` sees to it that none is ever used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_serializer,
)

from headnode.errors import JobSpecError


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
            raise JobSpecError(field, f"{name}: {value!r} holds a template that was not rendered")


def _is_template_text(value: Any) -> bool:
    return isinstance(value, str) and ("{{" in value or "{%" in value)
