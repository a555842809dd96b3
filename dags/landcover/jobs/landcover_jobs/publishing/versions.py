"""The published versions of a year: folders `v<number>-<key>`, and the link `current` to the one that counts.

Numbers go up and are never given twice, the key is that of the content. A version appears whole: it is filled in a
folder that nobody reads, forced to the disk, renamed; `current` turns in one step.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CURRENT = "current"
UNFINISHED = ".new-"
TURNING = ".link-"
NAME = re.compile(r"^v([1-9]\d*)-([0-9a-f]+)$")


@dataclass(frozen=True, order=True)
class Version:
    """The name of a version."""

    number: int
    key: str

    def __str__(self) -> str:
        return f"v{self.number}-{self.key}"

    @classmethod
    def parsed(cls, name: str) -> Version | None:
        """Return the version of that name, None where it is no version's name."""
        match = NAME.match(name)
        return cls(int(match[1]), match[2]) if match else None


def versions_in(home: Path) -> tuple[Version, ...]:
    """Return the whole versions of a year's folder, the oldest first."""
    if not home.is_dir():
        return ()
    names = (Version.parsed(entry.name) for entry in home.iterdir() if entry.is_dir() and not entry.is_symlink())
    return tuple(sorted(name for name in names if name is not None))


def years_in(published: Path) -> tuple[int, ...]:
    """Return the years that have a folder, in their order."""
    if not published.is_dir():
        return ()
    return tuple(sorted(int(entry.name) for entry in published.iterdir() if re.fullmatch(r"\d{4}", entry.name)))


def current_version(home: Path) -> Version | None:
    """Return the version that counts, None where none is published."""
    link = home / CURRENT
    return Version.parsed(str(link.readlink())) if link.is_symlink() else None


@contextmanager
def appearing(home: Path, version: Version) -> Iterator[Path]:
    """Yield an empty folder; once the block has succeeded it is on the disk, and the version is there, whole."""
    home.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=home, prefix=UNFINISHED))
    try:
        yield temporary
        _force_to_disk(temporary)
        temporary.chmod(0o755)
        temporary.rename(home / str(version))
        force_folder(home)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def turn(home: Path, version: Version) -> None:
    """Let `current` name another version: readers see the old one or the new one, never none."""
    with tempfile.TemporaryDirectory(dir=home, prefix=TURNING) as folder:
        fresh = Path(folder) / CURRENT
        fresh.symlink_to(str(version))
        fresh.replace(home / CURRENT)
    force_folder(home)


def sweep(home: Path) -> None:
    """Remove what a killed publication has left; only for who holds the lock."""
    for entry in home.iterdir() if home.is_dir() else ():
        if entry.name.startswith((UNFINISHED, TURNING)):
            shutil.rmtree(entry)


def remove(home: Path, version: Version) -> None:
    """Take a version away: it is no version any more before its first file is gone."""
    doomed = home / f"{UNFINISHED}{version}"
    (home / str(version)).rename(doomed)
    shutil.rmtree(doomed)


def force_folder(folder: Path) -> None:
    """Have the disk know the names in a folder."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _force_to_disk(folder: Path) -> None:
    for path in folder.iterdir():
        path.chmod(0o644)
        with path.open("rb") as file:
            os.fsync(file.fileno())
    force_folder(folder)
