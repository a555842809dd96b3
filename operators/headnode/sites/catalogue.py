"""The systems that are known: headnode's own files, and those in folders of the user, which win."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from headnode.errors import JobSpecError
from headnode.sites.nearest import nearest
from headnode.sites.reading import read_system
from headnode.sites.system import System

__all__ = ["Catalogue", "nearest", "read_system", "split_folders"]

OWN_FOLDER = Path(__file__).parent
_SUFFIXES = (".yaml", ".yml")


class Catalogue:
    """Systems by name or alias; a file is read when its system is asked for, and again when it has changed.

    ``folders`` are the user's; of files with the same name, the one in the last folder counts.

    Raises:
        JobSpecError: one of ``folders`` is no folder.
    """

    def __init__(self, folders: Sequence[Path | str] = ()) -> None:
        self._folders = [Path(folder) for folder in folders]
        for folder in self._folders:
            if not folder.is_dir():
                raise JobSpecError("site", f"sites_folder names {str(folder)!r}, which is no folder")

    def names(self) -> list[str]:
        """Return the systems' names, sorted."""
        return sorted(self._files())

    def path(self, name: str) -> Path:
        """Return the file of the system of that very name. Raises KeyError."""
        return self._files()[name]

    def system(self, name: str) -> System:
        """Return the system of that name or alias.

        Raises:
            JobSpecError: there is none, or its file can't be right.
        """
        wanted = name.strip().lower().replace("_", "-").replace(" ", "-")
        files = self._files()
        if wanted in files:
            return read_system(files[wanted])
        aliases: list[str] = []
        unreadable: list[JobSpecError] = []
        for system in self._newest_first(unreadable):
            if wanted in system.aliases:
                return system
            aliases += system.aliases
        problem = f"there is no system {name[:80]!r}{nearest(wanted, [*files, *aliases])}"
        not_read = [f"not read, since it can't be right: {error.problem}" for error in unreadable]
        raise JobSpecError("site", "; ".join([problem, *not_read]))

    def _newest_first(self, unreadable: list[JobSpecError]) -> Iterator[System]:
        """Yield the systems, the user's first; of a file that can't be right, add the error to ``unreadable``."""
        for path in reversed(self._files().values()):
            try:
                yield read_system(path)
            except JobSpecError as error:
                unreadable.append(error)

    def _files(self) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for folder in [OWN_FOLDER, *self._folders]:
            for path in sorted(path for path in folder.iterdir() if _is_system_file(path)):
                found.pop(path.stem, None)  # so that what wins is also what comes last
                found[path.stem] = path
        return found


def _is_system_file(path: Path) -> bool:
    return path.suffix in _SUFFIXES and not path.name.startswith(".")


def split_folders(text: str) -> list[Path]:
    """Return the folders that a setting names, with colons or commas between them; ``~`` is the user's home."""
    return [Path(part.strip()).expanduser() for part in re.split(r"[:,\n]", text) if part.strip()]
