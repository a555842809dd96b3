"""Modules of the site, from the catalogue or by name."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from headnode.errors import JobSpecError
from headnode.sites.environments.environment import Environment, Surroundings
from headnode.sites.environments.shell_words import shell_word
from headnode.sites.system import Stack

_PLAIN = re.compile(r"[A-Za-z0-9_.+/@:${}~=-]+(?: [A-Za-z0-9_.+/@:${}~=-]+)*")
ModuleCommand = Annotated[str, Field(pattern=rf"^{_PLAIN.pattern}$")]

#: What ``module`` can be told to do; a command that begins with another word names modules to load.
_COMMANDS: Final = frozenset(
    {
        "add",
        "del",
        "load",
        "purge",
        "refresh",
        "reset",
        "restore",
        "rm",
        "save",
        "swap",
        "sw",
        "switch",
        "try-add",
        "try-load",
        "unload",
        "unuse",
        "update",
        "use",
    }
)

# What defines ``module`` is in files that login shells read, and scripts of one's own may begin otherwise.
_EXPLAIN_MISSING: Final = """\
if ! command -v module >/dev/null 2>&1; then
  echo "headnode: $(uname -n) has no command 'module' in this shell; a script must begin with '#!/bin/bash -l'" >&2
  exit 1
fi"""


class Modules(Environment):
    """The modules that the catalogue has for ``software``, then ``commands`` (``load GCC Python``, ``use /path``).

    The order is kept. ``purge`` unloads first what the site or a login shell has loaded.
    """

    kind: Literal["modules"] = "modules"

    software: Annotated[str, Field(max_length=100)] | None = None
    commands: tuple[ModuleCommand, ...] = ()
    purge: bool = False

    def __init__(self, software: str | None = None, **fields: Any) -> None:
        super().__init__(**({"software": software} if software is not None else {}), **fields)

    def lines(self, surroundings: Surroundings) -> list[str]:
        """Return its commands; a host without modules, or without one of these, ends the job with a sentence."""
        lines = [f"{line} || exit 1" if line.startswith("module load ") else line for line in self.key(surroundings)]
        return [*_EXPLAIN_MISSING.split("\n"), *lines] if lines else []

    def key(self, surroundings: Surroundings) -> list[str]:
        """Return the bare ``module`` lines, and the variables of the catalogue."""
        stack = self._stack(surroundings) if self.software is not None else Stack()
        commands = [*(["purge"] if self.purge else []), *stack.modules, *self.commands]
        lines = [f"module {_in_full(command)}" for command in commands]
        return lines + [f"export {name}={shell_word(value)}" for name, value in stack.environment.items()]

    def _stack(self, surroundings: Surroundings) -> Stack:
        system, software = surroundings.system, str(self.software)
        if system is None:
            raise JobSpecError("environment", f"Modules({software!r}) needs site=, whose modules it is about")
        stack = system.stack(software)
        if stack is None:
            known = ", ".join(sorted(system.software)) or "none"
            raise JobSpecError(
                "environment",
                f"the modules of {system.name} for {software!r} are unknown (known: {known}); give them,"
                " Modules(commands=['load ...']), or find them with `module avail` there",
            )
        if stack.partitions and surroundings.partition not in (None, *stack.partitions):
            raise JobSpecError(
                "environment",
                f"the modules of {system.name} for {software!r} are those of the partitions"
                f" {', '.join(stack.partitions)}, not of {surroundings.partition!r}; give them,"
                " Modules(commands=['load ...'])",
            )
        return stack


def _in_full(command: str) -> str:
    words = command.split()
    first = next((word for word in words if not word.startswith("-")), "")
    return " ".join(map(shell_word, words if first in _COMMANDS else ["load", *words]))
