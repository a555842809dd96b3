"""Launchers: how programs of each kind are started over the nodes of a job.

launcher    what every launcher is
shell       pieces of shell text that they share
torchrun    PyTorch DDP
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from headnode.errors import JobSpecError
from headnode.sites.launchers.launcher import Launcher
from headnode.sites.launchers.torchrun import Torchrun

LAUNCHERS: Final[dict[str, type[Launcher]]] = {
    "torchrun": Torchrun,
}


def parse_launcher(value: Any) -> Launcher:
    """Return the launcher that ``value`` is or describes (a dict with its ``kind``).

    Raises:
        JobSpecError: there is no such launcher, or a value of it can't be right.
    """
    if isinstance(value, Launcher):
        return value
    if not isinstance(value, Mapping) or value.get("kind") not in LAUNCHERS:
        known = ", ".join(each.__name__ for each in LAUNCHERS.values())
        raise JobSpecError("launch", f"{value!r} is no launcher; there are {known}")
    try:
        return LAUNCHERS[value["kind"]].model_validate(dict(value))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise JobSpecError("launch", f"{place}: {first['msg'].removeprefix('Value error, ')}") from error
