"""What the commands share in how they answer: an error is one line, a file is written whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer

from headnode.errors import HeadnodeError
from headnode.slurm.visible import visible

#: What a command ends with that can't do what it is asked.
CAN_NOT: Final = 2

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


def examples(*commands: str) -> str:
    """Return the end of a help text that shows some commands."""
    return "Examples:\n\n" + "\n\n".join(commands)


def fail(problem: str) -> NoReturn:
    """Say in one line what is wrong, and end with 2."""
    typer.echo(f"headnode: {visible(problem)}", err=True)
    raise typer.Exit(CAN_NOT)


def note(text: str) -> None:
    """Say something beside the answer, which goes to standard output."""
    typer.echo(f"note: {visible(text)}", err=True)


@contextlib.contextmanager
def one_line_errors(prefix: str = "") -> Iterator[None]:
    """Say errors of the catalogue, of a job or of a file in one line, after ``prefix``, and end with 2."""
    try:
        yield
    except HeadnodeError as error:
        fail(f"{prefix}{error}")
    except BrokenPipeError:
        raise
    except OSError as error:
        place = f"{error.filename}: " if error.filename is not None else prefix
        fail(f"{place}{error.strerror or error}")


def print_json(answer: Any) -> None:
    """Print the answer as one JSON object."""
    typer.echo(json.dumps(answer, indent=2))


def print_bytes(text: bytes) -> None:
    """Print the bytes as they are."""
    sys.stdout.flush()
    sys.stdout.buffer.write(text)
    sys.stdout.buffer.flush()


def replace_file(path: Path, content: bytes) -> None:
    """Give a file another content, at once: whoever reads meanwhile finds the old one or the new one.

    A symbolic link stays, and what it leads to is replaced. The file keeps its mode, and its owner where this user may
    set it; of several hard links only this one leads to the new content.

    Raises:
        OSError: it can't be written, or is no regular file.
    """
    target = path.resolve(strict=True)
    before = target.stat()
    if not stat.S_ISREG(before.st_mode):
        raise OSError(0, "is no regular file", str(path))
    if not os.access(target, os.W_OK):
        raise PermissionError(13, "may not be written", str(path))
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name[:50]}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            with contextlib.suppress(PermissionError):
                os.fchown(file.fileno(), before.st_uid, before.st_gid)
            os.fchmod(file.fileno(), stat.S_IMODE(before.st_mode))  # after fchown, which takes set-id bits away
            os.fsync(file.fileno())
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_new_file(path: Path, content: bytes, *, mode: int = 0o666) -> None:
    """Write a file that is not there yet; ``mode`` is narrowed by the umask.

    Raises:
        OSError: it is there already, or can't be written.
    """
    with open(path, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
        try:
            file.write(content)
            file.flush()
        except BaseException:
            path.unlink(missing_ok=True)
            raise
