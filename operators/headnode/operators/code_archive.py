"""Packs the folder of code that travels with a job: small, the same bytes for the same content."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path
from typing import Final

from headnode.errors import JobSpecError

MAX_ARCHIVE_BYTES: Final = 256 * 1024
_LEFT_OUT: Final = frozenset({"__pycache__", ".git", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".venv"})


def resolve_code_folder(code: str, dag_file: str | None) -> Path:
    """Return the folder that ``code`` names, beside the DAG's file unless it is absolute.

    Raises:
        JobSpecError: there is no such folder.
    """
    folder = Path(code).expanduser()
    if not folder.is_absolute():
        folder = Path(dag_file).parent / folder if dag_file else folder
    if not folder.is_dir():
        what = "is no folder" if folder.exists() else "is not there"
        raise JobSpecError("code", f"{folder} {what}; name a folder beside the DAG file, or an absolute path")
    return folder


def pack_code(folder: Path) -> bytes:
    """Return the folder's content as a gzipped tar archive without times and owners.

    Raises:
        JobSpecError: the archive is larger than ``MAX_ARCHIVE_BYTES``.
    """
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path in sorted(folder.rglob("*")):
            relative = path.relative_to(folder)
            if _LEFT_OUT.isdisjoint(relative.parts) and path.suffix != ".pyc":
                archive.add(path, arcname=str(relative), recursive=False, filter=_anonymous)
    content = packed.getvalue()
    if len(content) > MAX_ARCHIVE_BYTES:
        raise JobSpecError(
            "code",
            f"{folder} is {len(content) // 1024} KiB when packed, and at most {MAX_ARCHIVE_BYTES // 1024} KiB travel"
            " with a job; put data and environments on the cluster and keep code here",
        )
    return content


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.mtime = 0
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
    return member
