"""Environments: what a program finds when it starts.

environment    what every environment is, and how it is built
modules        the site's modules, from the catalogue
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import SerializeAsAny, ValidationError, field_validator

from headnode.errors import JobSpecError
from headnode.sites.environments.environment import Environment, Surroundings
from headnode.sites.environments.modules import Modules


class Environments(Environment):
    """Several environments, entered one after the other; of containers, the last is the outermost."""

    kind: Literal["environments"] = "environments"

    environments: tuple[SerializeAsAny[Environment], ...]

    @field_validator("environments", mode="before")
    @classmethod
    def _parsed(cls, value: Any) -> tuple[Environment, ...]:
        return tuple(parse_environment(each) for each in value)

    def lines(self, surroundings: Surroundings) -> list[str]:
        """Return the lines of each, in order."""
        return [line for each in self.environments for line in each.lines(surroundings)]

    def wrapper(self, surroundings: Surroundings) -> str:
        """Return the wrappers, the last one outermost."""
        return " ".join(filter(None, (each.wrapper(surroundings) for each in reversed(self.environments))))

    def parts(self) -> tuple[Environment, ...]:
        """Return what they are."""
        return self.environments


ENVIRONMENTS: Final[dict[str, type[Environment]]] = {
    "environments": Environments,
    "modules": Modules,
}


def parse_environment(value: Any) -> Environment:
    """Return the environment that ``value`` is or describes (a dict with its ``kind``).

    Raises:
        JobSpecError: there is no such environment, or a value of it can't be right.
    """
    if isinstance(value, Environment):
        return value
    if not isinstance(value, Mapping) or value.get("kind") not in ENVIRONMENTS:
        known = ", ".join(each.__name__ for each in ENVIRONMENTS.values() if each is not Environments)
        raise JobSpecError("environment", f"{value!r} is no environment; there are {known}")
    try:
        return ENVIRONMENTS[value["kind"]].model_validate(dict(value))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise JobSpecError("environment", f"{place}: {first['msg'].removeprefix('Value error, ')}") from error
