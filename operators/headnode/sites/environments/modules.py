"""Modules of the site, from the catalogue or by name."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field

from headnode.errors import JobSpecError
from headnode.sites.environments.environment import Environment, Surroundings

_PLAIN = re.compile(r"[A-Za-z0-9_.+/@:$~-]+(?: [A-Za-z0-9_.+/@:$~-]+)*")
ModuleCommand = Annotated[str, Field(pattern=rf"^{_PLAIN.pattern}$")]


class Modules(Environment):
    """The modules that the catalogue has for ``software``, then ``commands`` (``load GCC Python``, ``use /path``)."""

    kind: Literal["modules"] = "modules"

    software: str | None = None
    commands: tuple[ModuleCommand, ...] = ()

    def __init__(self, software: str | None = None, **fields: object) -> None:
        super().__init__(**({"software": software} if software is not None else {}), **fields)

    def lines(self, surroundings: Surroundings) -> list[str]:
        """Return a ``module`` line for each command."""
        commands: tuple[str, ...] = ()
        variables: dict[str, str] = {}
        if self.software is not None:
            system = surroundings.system
            if system is None:
                raise JobSpecError("environment", f"Modules({self.software!r}) needs site=, whose modules it is about")
            stack = system.stack(self.software)
            if stack is None:
                known = ", ".join(sorted(system.software)) or "none"
                raise JobSpecError(
                    "environment",
                    f"the modules of {system.name} for {self.software!r} are unknown (known: {known}); give them,"
                    " Modules(commands=['load ...']), or find them with `module avail` there",
                )
            commands, variables = stack.modules, stack.environment
        lines = [f"module {command}" for command in (*commands, *self.commands)]
        return lines + [f"export {name}={value}" for name, value in variables.items()]
