"""Where a file or folder is to appear, and where it is staged beside that: names alone."""

from __future__ import annotations

import hashlib
import posixpath
from dataclasses import dataclass
from typing import Final, Literal

from headnode.errors import TransferRefused

# Linux allows 255 bytes in a name; the hash and the marks take 60.
_NAME_BYTES: Final = 150


@dataclass(frozen=True, kw_only=True)
class Spot:
    """A path without links in it, absolute, as its own machine sees it. ``free_bytes`` is of its file system."""

    path: str
    home: str
    kind: Literal["nothing", "file", "folder", "other"]
    free_bytes: int | None = None
    has_rsync: bool = False

    @property
    def parent(self) -> str:
        """The folder that holds it."""
        return posixpath.dirname(self.path)

    def part(self, sha256: str, token: str) -> str:
        """Return the folder in which content with this hash is staged, by the task that ``token`` stands for."""
        return posixpath.join(self.parent, f"{self._prefix(sha256)}{token}.part")

    def abandoned_parts(self, sha256: str) -> str:
        """Return the pattern of such folders' names, whichever task's."""
        prefix = "".join(f"[{mark}]" if mark in "*?[\\" else mark for mark in self._prefix(sha256))
        return f"{prefix}????????.part"

    @property
    def aside(self) -> str:
        """Where a folder that is replaced lies for the moment between two renames."""
        return posixpath.join(self.parent, f".{self._short}.replaced")

    @property
    def _short(self) -> str:
        return posixpath.basename(self.path).encode()[:_NAME_BYTES].decode(errors="ignore")

    def _prefix(self, sha256: str) -> str:
        return f".{self._short}.{sha256[:16]}."


def content_of(part: str) -> str:
    """Return where in a staging folder the content lies."""
    return posixpath.join(part, "content")


def token_of(*words: str) -> str:
    """Return eight letters and digits that stand for the task, so that its next try finds what this one left."""
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:8]


def check_replaceable(spot: Spot, *, with_file: bool, where: str, keep: tuple[str, ...] = ()) -> None:
    """Refuse a destination that must not be replaced by a file or folder; ``keep`` are paths that must stay.

    Raises:
        TransferRefused: it is of another kind, or a home, a work directory, or above one of these.
    """
    if spot.kind == "other":
        raise TransferRefused(f"{where} is a device, a socket or a pipe; choose another destination")
    if with_file and spot.kind == "folder":
        raise TransferRefused(f"{where} is a folder, and the source is a file; end the destination with '/'")
    if not with_file and spot.kind == "file":
        raise TransferRefused(f"{where} is a file, and the source is a folder; choose another destination")
    for kept in (spot.home, *keep, "/"):
        if (kept.rstrip("/") + "/").startswith(spot.path.rstrip("/") + "/"):
            raise TransferRefused(
                f"{where} can't be replaced, because {kept} is there; name a folder below it as the destination"
            )
