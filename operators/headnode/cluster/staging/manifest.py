"""What a file or a folder holds, as data: kinds, sizes and hashes of contents, and which of it may travel."""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal

from headnode.errors import TransferRefused, UnreadableAnswer

# Each file has a line in several lists that are held in memory and cross the connection.
MAX_FILES: Final = 200_000
_LISTED: Final = re.compile(r"(\S) ([0-7]{1,6}) ([0-9]{1,18}) (.*)", re.DOTALL)
_HASHED: Final = re.compile(r"(?P<sha256>[0-9a-f]{64})  (?P<name>.+)", re.DOTALL)


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One thing below a root. ``size`` is in bytes and of files alone; ``target`` is a link's own text.

    ``sha256`` is empty where the content was not read.
    """

    kind: Literal["file", "folder", "link"]
    size: int = 0
    executable: bool = False
    target: str = ""
    sha256: str = ""


# By path below the root, with "/" between names; a root that is a file has the one path "".
Items = Mapping[str, Item]


@dataclass(frozen=True)
class Manifest:
    """All that is below a root, with the hash of every file."""

    items: Items

    @property
    def is_file(self) -> bool:
        """Whether the root itself is a file."""
        return "" in self.items

    @property
    def files(self) -> dict[str, Item]:
        """The files by their paths."""
        return {path: item for path, item in self.items.items() if item.kind == "file"}

    @property
    def size(self) -> int:
        """The sum of the files' sizes in bytes."""
        return sum(item.size for item in self.items.values())

    @cached_property
    def sha256(self) -> str:
        """The file's own hash; of a folder, one over all names, kinds, executable bits and contents below it."""
        if self.is_file:
            return self.items[""].sha256
        digest = hashlib.sha256()
        for path, item in sorted(self.items.items()):
            words = (item.kind, "x" if item.executable else "-", item.sha256 or item.target, path)
            digest.update("\0".join(words).encode() + b"\0\0")
        return digest.hexdigest()

    def summary(self, path: str) -> dict[str, Any]:
        """Return what a task gives back: JSON types, small whatever the folder's size."""
        return {"path": path, "sha256": self.sha256, "bytes": self.size, "files": len(self.files)}


def check_items(items: Items, *, where: str) -> None:
    """Refuse names and links that can't arrive as they are.

    Raises:
        TransferRefused: a name is not UTF-8 or has control characters, a link leads out of the folder, or there are
            more than ``MAX_FILES`` things.
    """
    if len(items) > MAX_FILES:
        raise TransferRefused(
            f"{where} holds {len(items)} files, more than {MAX_FILES}: pack it into an archive, and move that"
        )
    for path, item in items.items():
        if (problem := _problem_of_name(path)) is not None:
            raise TransferRefused(f"{where}: the name {path!r} {problem}; rename it")
        if item.kind == "link" and _leads_out(path, item.target):
            raise TransferRefused(
                f"{where}: {path!r} is a symbolic link to {item.target!r}, which is outside of the folder and would"
                " lead nowhere at the other end; replace it by what it stands for, or leave it out"
            )


def _problem_of_name(path: str) -> str | None:
    if any("\ud800" <= character <= "\udfff" for character in path):
        return "is not UTF-8"
    if any(ord(character) < 32 or ord(character) == 127 for character in path):  # noqa: PLR2004 - ASCII
        return "has a line break or another control character"
    return None


def _leads_out(path: str, target: str) -> bool:
    at = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    return target.startswith("/") or at == ".." or at.startswith("../")


def parse_listing(listing: bytes, *, where: str) -> dict[str, Item]:
    r"""Return the items in the output of ``find -printf '%y %m %s %P\0%l\0'``.

    Raises:
        TransferRefused: there is a device, a socket or a pipe.
        UnreadableAnswer: it has another form.
    """
    *words, rest = listing.split(b"\0")
    if rest or len(words) % 2:
        raise UnreadableAnswer(f"the list of what is in {where} was cut")
    return dict(_parse_pairs(words, where))


def _parse_pairs(words: list[bytes], where: str) -> Iterator[tuple[str, Item]]:
    for head, target in zip(words[::2], words[1::2], strict=True):
        text = head.decode("utf-8", "surrogateescape")
        match = _LISTED.fullmatch(text)
        if match is None:
            raise UnreadableAnswer(f"the line {text[:200]!r} of what is in {where} has not the form that was asked for")
        letter, mode, size, name = match.groups()
        if letter == "f":
            yield name, Item(kind="file", size=int(size), executable=bool(int(mode, 8) & 0o100))
        elif letter == "d":
            yield name, Item(kind="folder")
        elif letter == "l":
            yield name, Item(kind="link", target=target.decode("utf-8", "surrogateescape"))
        else:
            raise special_file(name, where)


def special_file(path: str, where: str) -> TransferRefused:
    """Return the error for what is neither a file, a folder nor a link."""
    return TransferRefused(f"{where}: {path!r} is a device, a socket or a pipe, which can't travel; leave it out")


def parse_hashes(output: bytes) -> dict[str, str]:
    """Return the hashes in the output of ``sha256sum -z``, by the names that it was given.

    Raises:
        UnreadableAnswer: it has another form.
    """
    *lines, rest = (line.decode("utf-8", "surrogateescape") for line in output.split(b"\0"))
    found = [_HASHED.fullmatch(line) for line in lines]
    if rest or None in found:
        raise UnreadableAnswer("the list of hashes was cut or has not the form of sha256sum's")
    return {match["name"]: match["sha256"] for match in found if match is not None}
