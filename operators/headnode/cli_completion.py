"""What a shell offers while a command is typed: systems, software and partitions of the catalogue."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import typer

from headnode.cli_catalogue import catalogue
from headnode.errors import HeadnodeError

if TYPE_CHECKING:
    from headnode.sites.system import System


def complete_system(incomplete: str) -> Iterator[str]:
    """Return the systems whose names begin so."""
    yield from _beginning(incomplete, catalogue().names())


def complete_software(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    """Return the software whose modules the named system has, or all that there is."""
    from headnode.sites.system import SOFTWARE  # noqa: PLC0415

    system = _named_system(ctx)
    yield from _beginning(incomplete, SOFTWARE if system is None else sorted(system.software))


def complete_launched(incomplete: str) -> Iterator[str]:
    """Return all software that headnode can start, whether or not the system has modules for it."""
    from headnode.sites.system import SOFTWARE  # noqa: PLC0415

    yield from _beginning(incomplete, SOFTWARE)


def complete_partition(ctx: typer.Context, incomplete: str) -> Iterator[tuple[str, str]]:
    """Return the partitions of the named system, each with what it has."""
    system = _named_system(ctx)
    for name in _beginning(incomplete, system.partitions if system is not None else ()):
        assert system is not None  # noqa: S101 - it has partitions
        partition = system.partitions[name]
        gpus = f"{partition.gpus} GPUs" if partition.gpus else "no GPUs" if partition.gpus == 0 else ""
        yield name, ", ".join(filter(None, [f"{partition.cores} cores" if partition.cores else "", gpus]))


def _named_system(ctx: typer.Context) -> System | None:
    # An option whose value is still missing leaves the arguments unread.
    name = ctx.params.get("system") or next(iter(ctx.args), None)
    with contextlib.suppress(HeadnodeError):
        return catalogue().system(name) if name else None
    return None


def _beginning(incomplete: str, names: Iterable[str]) -> Iterator[str]:
    return (name for name in names if name.startswith(incomplete))
