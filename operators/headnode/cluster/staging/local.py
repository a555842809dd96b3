"""The same questions and steps as in ``remote``, on the worker's own disk."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from headnode.cluster.staging.manifest import Item, Manifest, check_items, special_file
from headnode.cluster.staging.plan import with_hashes
from headnode.cluster.staging.remote import ABANDONED_MINUTES
from headnode.cluster.staging.spot import Spot
from headnode.errors import TransferError, TransferRefused
from headnode.slurm.visible import visible

_CHUNK: Final = 1 << 20
_READERS: Final = 4


def survey(path: Path) -> Spot:
    """Look at a path on this machine; links are followed."""
    real = resolved(path)
    kind = "file" if real.is_file() else "folder" if real.is_dir() else "other" if real.exists() else "nothing"
    return Spot(path=str(real), home=str(Path.home().resolve()), kind=kind)  # type: ignore[arg-type]


def resolved(path: Path) -> Path:
    """Return the path as this machine sees it: absolute, without links and ``~``.

    Raises:
        TransferRefused: no path can be so.
    """
    try:
        real = path.expanduser().resolve()
        real.exists()
    except (OSError, RuntimeError, ValueError) as error:  # too long, or the home of a user that there is not
        raise TransferRefused(f"{visible(str(path)[:200])} can't be a path on this worker: {error}") from error
    return real


def read_manifest(root: Path, *, leave_out: Callable[[str], bool] | None = None) -> Manifest:
    """Return the manifest of a file or folder; ``leave_out`` tells by path what does not count.

    Raises:
        TransferRefused: there is nothing, or something that can't travel.
        TransferError: a file can't be read.
    """
    if not root.exists():
        raise TransferRefused(f"there is nothing at {root} on the worker that runs this task")
    items = list_items(root, leave_out=leave_out)
    check_items(items, where=str(root))
    files = [path for path, item in items.items() if item.kind == "file"]
    return Manifest(with_hashes(items, hash_files(root, files)))


def list_items(root: Path, *, leave_out: Callable[[str], bool] | None = None) -> dict[str, Item]:
    """Return what is below ``root``, without hashes; nothing where there is nothing."""
    try:
        if root.is_dir():
            return dict(_walk(root, "", leave_out or (lambda _: False)))
        return {"": _item(root.stat(), "", root)} if root.exists() else {}
    except OSError as error:
        raise TransferError(f"{root} can't be read: {error}") from error


def _walk(root: Path, below: str, leave_out: Callable[[str], bool]) -> Iterator[tuple[str, Item]]:
    with os.scandir(root / below) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            path = f"{below}/{entry.name}" if below else entry.name
            if leave_out(path):
                continue
            if entry.is_symlink():
                yield path, Item(kind="link", target=str(Path(entry.path).readlink()))
            elif entry.is_dir():
                yield path, Item(kind="folder")
                yield from _walk(root, path, leave_out)
            else:
                yield path, _item(entry.stat(), path, root)


def _item(status: os.stat_result, path: str, root: Path) -> Item:
    if not stat.S_ISREG(status.st_mode):
        raise special_file(path, str(root))
    return Item(kind="file", size=status.st_size, executable=bool(status.st_mode & 0o100))


def hash_files(root: Path, names: Sequence[str]) -> dict[str, str]:
    """Return the SHA-256 of files below ``root`` (of ``root`` itself for the name "").

    Raises:
        TransferError: a file can't be read, or is not there any more.
    """
    with ThreadPoolExecutor(_READERS, thread_name_prefix="headnode-hash") as readers:
        return dict(zip(names, readers.map(lambda name: _hash(at(root, name)), names), strict=True))


def at(root: Path, name: str) -> Path:
    """Return where a file below ``root`` is; the name "" is that of ``root`` itself."""
    return root / name if name else root


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise TransferError(f"{path} can't be read: {error}") from error
    return digest.hexdigest()


def prepare(spot: Spot, part: Path, wanted: Manifest) -> int | None:
    """Make the staging folder, or find what an earlier attempt left there; return the free bytes."""
    path, aside = Path(spot.path), Path(spot.aside)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path.parent):
        if not path.exists() and aside.is_dir():
            aside.rename(path)
    if not part.is_dir():
        for other in path.parent.glob(spot.abandoned_parts(wanted.sha256)):
            if _is_abandoned(other):
                with contextlib.suppress(OSError):  # another task was first
                    other.rename(part)
                    break
    part.mkdir(mode=0o700, exist_ok=True)
    if not wanted.is_file:
        (part / "content").mkdir(exist_ok=True)
    for name, item in wanted.items.items():
        if item.kind == "folder":
            (part / "content" / name).mkdir(parents=True, exist_ok=True)
    return shutil.disk_usage(part).free


def _is_abandoned(folder: Path) -> bool:
    young = time.time() - ABANDONED_MINUTES * 60
    return all(path.lstat().st_mtime < young for path in (folder, *folder.rglob("*")))


def remove(part: Path, names: Iterable[str]) -> None:
    """Remove left-overs from a staging folder; a folder goes with all that is in it."""
    for name in names:
        _remove(at(part / "content", name))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def link_present(spot: Spot, part: Path, names: Sequence[str]) -> None:
    """Take files over that the destination holds already: by hard links, or copies where there are none."""
    for name in names:
        source, link = at(Path(spot.path), name), at(part / "content", name)
        link.parent.mkdir(parents=True, exist_ok=True)
        try:
            link.hardlink_to(source)
        except OSError:
            shutil.copyfile(source, link)


def finish(spot: Spot, part: Path, wanted: Manifest) -> None:
    """Give verified content its name, at once and whole."""
    content, path, aside = part / "content", Path(spot.path), Path(spot.aside)
    for name, item in wanted.items.items():
        if item.kind == "link":
            _remove(content / name)
            (content / name).symlink_to(item.target)
        elif item.kind == "file":
            _set_executable(at(content, name), executable=item.executable)
    if wanted.is_file:
        content.replace(path)
    else:
        with _locked(path.parent):
            _replace_folder(content, path, aside)
    shutil.rmtree(part)


def _replace_folder(content: Path, path: Path, aside: Path) -> None:
    if not path.exists():
        content.rename(path)
        return
    _remove(aside)
    path.rename(aside)
    try:
        content.rename(path)
    except OSError:
        aside.rename(path)
        raise
    shutil.rmtree(aside)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let tasks that put folders in the same place take turns, where the file system knows locks."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _set_executable(path: Path, *, executable: bool) -> None:
    mode = stat.S_IMODE(path.stat().st_mode)
    # Whoever may read it may run it.
    path.chmod(mode | (mode & 0o444) >> 2 if executable else mode & ~0o111)
