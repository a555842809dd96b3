"""What is fetched already: each scene's folder has an `item.json` that says of each file what it is and whence.

A file's entry holds `file` (its name), `address` and `content` (as the inventory had them), `size`, `sha256` ("" where
a file on the cluster is only linked and its source states none), `window` (in degrees, where only that much was
fetched), `outside` (there was nothing to fetch within it) and `modified` (of a linked file, in ns).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from landcover_jobs.job import StepError, write_json
from landcover_jobs.records import file_sha256
from landcover_jobs.scenes.footprint import Bbox
from landcover_jobs.scenes.inventory import Scene, scene_folder

RECORD = "item.json"
_WRITING = threading.Lock()


@dataclass(frozen=True)
class Wanted:
    """One file to have: a band of a scene, or the old map."""

    scene: str
    band: str
    address: str
    content: str  # what the source says of it
    folder: Path
    window: Bbox | None = None  # only this much of it

    @property
    def target(self) -> Path:
        """Where the file is to be."""
        suffix = ".tif" if self.window else PurePosixPath(urlsplit(self.address).path).suffix or ".tif"
        return self.folder / f"{self.band}{suffix}"

    @property
    def what(self) -> str:
        """What it is, for messages."""
        return f"scene {self.scene}, {self.band} ({self.address})"


@dataclass(frozen=True)
class Entry:
    """What `item.json` says of a file."""

    file: str
    address: str
    content: str
    size: int
    sha256: str
    window: Bbox | None = None
    outside: bool = False
    modified: int | None = None


def wanted_of(scene: Scene, scenes: Path, window: Bbox | None = None) -> list[Wanted]:
    """Return the files of a scene."""
    folder = scene_folder(scenes, scene)
    return [
        Wanted(scene.id, band, address, scene.content.get(band, ""), folder, window)
        for band, address in scene.assets.items()
    ]


def entries(folder: Path) -> dict[str, Entry]:
    """Return what a folder's `item.json` says of each band; nothing where there is none, or a broken one."""
    try:
        content: dict[str, Any] = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        return {
            band: Entry(**{**entry, "window": tuple(entry["window"]) if entry["window"] else None})
            for band, entry in content["files"].items()
        }
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return {}


def note(wanted: Wanted, **found: Any) -> None:
    """Write down that a file is there, whole."""
    entry = Entry(wanted.target.name, wanted.address, wanted.content, window=wanted.window, **found)
    note_all(wanted.folder, wanted.scene, {wanted.band: entry})


def note_all(folder: Path, scene: str, new: dict[str, Entry]) -> None:
    """Write down several files of a scene at once."""
    with _WRITING:
        files = {band: asdict(entry) for band, entry in (entries(folder) | new).items()}
        write_json(folder / RECORD, {"scene": scene, "files": files})


def is_fetched(wanted: Wanted, entry: Entry | None, *, verify: bool = False) -> bool:
    """Tell whether a file is there as the inventory wants it; `verify` reads it whole, too."""
    if entry is None or (entry.address, entry.content, entry.window) != (wanted.address, wanted.content, wanted.window):
        return False
    if entry.outside:
        return True
    return trouble(wanted.folder, entry, verify=verify) is None


def trouble(folder: Path, entry: Entry, *, verify: bool = False) -> str | None:
    """Return in which way a file is not what `item.json` says, None where it is.

    Size and (of a linked file) date are looked at, which costs nothing; `verify` compares the hash, too.
    """
    path = folder / entry.file
    try:
        found = path.stat()
    except FileNotFoundError:
        return "it is not there any more"
    if found.st_size != entry.size:
        return f"it has {found.st_size:,} bytes in place of {entry.size:,}"
    if entry.modified is not None and found.st_mtime_ns != entry.modified:
        return "it has been written since"
    if verify and entry.sha256 and file_sha256(path) != entry.sha256:
        return "its content has changed: the hash is another one"
    return None


def missing(wanted: Iterable[Wanted], *, verify: bool = False) -> list[Wanted]:
    """Return the files that are not there as the inventory wants them."""
    known: dict[Path, dict[str, Entry]] = {}
    lacking = []
    for each in wanted:
        if each.folder not in known:
            known[each.folder] = entries(each.folder)
        if not is_fetched(each, known[each.folder].get(each.band), verify=verify):
            lacking.append(each)
    return lacking


def sweep(folders: Iterable[Path]) -> None:
    """Remove what killed processes left half-written (hidden files); parts of downloads stay, to be continued."""
    for folder in folders:
        for path in folder.glob(".*"):
            path.unlink(missing_ok=True)


def fetched_file(scenes: Path, scene: Scene, band: str) -> Path | None:
    """Return the file of a scene's band; None where the scene has nothing within the area.

    Raises:
        StepError: it is not fetched, or it is damaged.
    """
    folder = scene_folder(scenes, scene)
    entry = _known(folder).get(band)
    if entry is None:
        raise StepError(f"scene {scene.id}, {band}: not fetched yet; run the step `fetch` for this year first")
    if entry.outside:
        return None
    wrong = trouble(folder, entry)
    if wrong is not None:
        raise damaged(scene, band, folder / entry.file, wrong)
    return folder / entry.file


def damaged(scene: Scene, band: str, path: Path, reason: str) -> StepError:
    """Return the error about a file that cannot be used."""
    return StepError(
        f"scene {scene.id}, {band}: {path} is damaged ({reason}); delete it and run `fetch` again, "
        f"or leave the scene out with source.exclude"
    )


def _known(folder: Path) -> dict[str, Entry]:
    """Return the entries of a folder, read once as long as its `item.json` stays the same."""
    try:
        stamp = (folder / RECORD).stat().st_mtime_ns
    except FileNotFoundError:
        return {}
    known = _CACHE.get(folder)
    if known is None or known[0] != stamp:
        known = _CACHE[folder] = (stamp, entries(folder))
    return known[1]


_CACHE: dict[Path, tuple[int, dict[str, Entry]]] = {}
