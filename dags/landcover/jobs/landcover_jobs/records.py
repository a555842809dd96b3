"""Records beside what a step makes: from which inputs it was made, so that the same is never made twice."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from landcover_jobs.job import write_json

PACKAGE = Path(__file__).parent
KEY_LENGTH = 16


def key_of(parts: Mapping[str, Any]) -> str:
    """Return a short name of all inputs of a step; equal inputs have equal names."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]


@functools.cache
def code_key(*names: str) -> str:
    """Return a short name of the code of modules or packages of landcover_jobs, such as `grid` or `steps.prepare`."""
    digest = hashlib.sha256()
    for name in names:
        place = PACKAGE.joinpath(*name.split("."))
        files = sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
        for file in files:
            digest.update(file.relative_to(PACKAGE).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:KEY_LENGTH]


def file_sha256(path: Path) -> str:
    """Return the hash of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def record_made(record: Path, key: str, outputs: Sequence[Path], content: Mapping[str, Any]) -> None:
    """Note that `outputs` (files or folders below the record's own folder) are complete and made from `key`."""
    stored = {"key": key, "outputs": {_name(record, path): _size(path) for path in outputs}, **content}
    write_json(record, stored)


def already_made(record: Path, key: str) -> dict[str, Any] | None:
    """Return the record where it has this key and all outputs are there in their size, else None."""
    if not record.is_file():
        return None
    try:
        content: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
    except ValueError:
        return None
    if content.get("key") != key:
        return None
    outputs = content.get("outputs", {})
    complete = all(_size(record.parent / name) == size for name, size in outputs.items())
    return content if complete else None


def _name(record: Path, path: Path) -> str:
    return path.relative_to(record.parent).as_posix()


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size if path.is_file() else -1
