"""The systems that are known: headnode's own files, and those in folders of the user, which win."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

import yaml

from headnode.errors import JobSpecError
from headnode.sites.system import System

_OWN = Path(__file__).parent


class Catalogue:
    """Systems by name or alias; a file is read when its system is asked for."""

    def __init__(self, folders: Sequence[Path | str] = ()) -> None:
        self._folders = [Path(folder) for folder in folders]

    def names(self) -> list[str]:
        """Return the systems' names, sorted."""
        return sorted(self._files())

    def system(self, name: str) -> System:
        """Return the system of that name or alias.

        Raises:
            JobSpecError: there is none, or its file can't be right.
        """
        wanted = name.strip().lower().replace("_", "-").replace(" ", "-")
        files = self._files()
        if wanted in files:
            return read_system(files[wanted])
        for path in files.values():
            system = read_system(path)
            if wanted in system.aliases:
                return system
        raise JobSpecError("site", f"there is no system {name!r}{nearest(wanted, files)}")

    def _files(self) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for folder in [_OWN, *self._folders]:
            found |= {path.stem: path for path in sorted(folder.glob("*.yaml"))}
        return found


@cache
def read_system(path: Path) -> System:
    """Return the system that a file describes. Raises JobSpecError."""
    return System.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``; did you mean ...`` with the names that are most like ``name``, else all that there are."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(close)}?" if close else f"; there are {', '.join(known)}"
