"""The folder of code that goes with a job: a small one travels in the trigger, a larger one is staged by the worker."""

from __future__ import annotations

import gzip
import io
import tarfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from headnode.cluster.staging.local import read_manifest
from headnode.errors import JobSpecError, TransferRefused
from headnode.hooks.slurm import SlurmHook
from headnode.hooks.staging import Options, upload
from headnode.slurm.visible import visible

MAX_ARCHIVE_BYTES: Final = 256 * 1024
MAX_STAGED_BYTES: Final = 1024 * 1024 * 1024
# No folder of more than this packs into an archive that travels.
_HOPELESS_BYTES: Final = 64 * 1024 * 1024
_LEFT_OUT: Final = frozenset({"__pycache__", ".git", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".venv"})


def resolve_code_folder(code: str, dag_file: str | None) -> Path:
    """Return the folder that ``code`` names, beside the DAG's file unless it is absolute.

    Raises:
        JobSpecError: there is no such folder.
    """
    try:
        folder = Path(code).expanduser()
        if not folder.is_absolute():
            folder = Path(dag_file).parent / folder if dag_file else folder
        if folder.is_dir():
            return folder
        what = "is no folder" if folder.exists() else "is not there"
    except (OSError, RuntimeError) as error:  # a name that is too long, the home of a user that there is not
        raise JobSpecError("code", f"{visible(code[:200])} can't be looked at: {error}") from error
    raise JobSpecError("code", f"{visible(str(folder))} {what}; name a folder beside the DAG file, or an absolute path")


@dataclass(frozen=True, kw_only=True)
class JobCode:
    """What a trigger is given of the code: the archive itself, or the name of what is on the cluster already."""

    archive: bytes | None = None
    sha256: str | None = None


def prepare_code(folder: Path, *, conn_id: str, deployment_id: str, options: Options) -> JobCode:
    """Pack the folder, or stage it on the cluster where the archive would be larger than ``MAX_ARCHIVE_BYTES``.

    Raises:
        JobSpecError: it is larger than ``MAX_STAGED_BYTES``.
        HeadnodeError: it could not be staged.
    """
    archive = pack_code(folder)
    if archive is not None:
        return JobCode(archive=archive)
    hook = SlurmHook(conn_id)
    try:
        return JobCode(sha256=stage_code(hook, folder, deployment_id=deployment_id, options=options))
    finally:
        hook.transport.close()


def pack_code(folder: Path) -> bytes | None:
    """Return the folder's content as a gzipped tar archive without times and owners, None where it is too large.

    The same content has the same bytes. Too large is more than ``MAX_ARCHIVE_BYTES``.
    """
    packed = io.BytesIO()
    taken = 0
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path in sorted(folder.rglob("*")):
            relative = path.relative_to(folder)
            if not left_out(str(relative)):
                taken += path.lstat().st_size
                if taken > _HOPELESS_BYTES:
                    return None
                archive.add(path, arcname=str(relative), recursive=False, filter=_anonymous)
    content = packed.getvalue()
    return content if len(content) <= MAX_ARCHIVE_BYTES else None


def stage_code(hook: SlurmHook, folder: Path, *, deployment_id: str, options: Options) -> str:
    """Put the folder's content on the cluster where submissions look for it, and return its SHA-256.

    It appears whole or not at all; content that is there is not sent again.

    Raises:
        JobSpecError: it is larger than ``MAX_STAGED_BYTES``, or holds what can't travel.
        HeadnodeError: it could not be staged.
    """
    try:
        manifest = read_manifest(folder, leave_out=left_out)
    except TransferRefused as error:
        raise JobSpecError("code", str(error)) from error
    if manifest.size > MAX_STAGED_BYTES:
        raise JobSpecError(
            "code",
            f"{folder} holds {manifest.size // 1024**2} MiB, and at most {MAX_STAGED_BYTES // 1024**2} MiB go with a"
            " job; put data and environments on the cluster (UploadOperator) and keep code here",
        )
    destination = f"{deployment_id}/code/{manifest.sha256}"
    done: dict[str, Any] = upload(hook, folder, destination, options=options, leave_out=left_out)
    return str(done["sha256"])


def left_out(path: str) -> bool:
    """Whether a path below the folder stays at home: caches, version control, virtual environments."""
    relative = PurePosixPath(path)
    return not _LEFT_OUT.isdisjoint(relative.parts) or relative.suffix == ".pyc"


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.mtime = 0
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
    return member
