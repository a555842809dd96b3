"""Moves files with rsync over OpenSSH, as the Airflow connection says; rsync itself goes on within broken-off files."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from headnode.cluster.staging import openssh
from headnode.cluster.staging.remote import storing_error
from headnode.errors import ConnectionLost, ContentDiffers, TransferError
from headnode.hooks.transfer import Load, Meter, Stop
from headnode.ssh.ledger import Slot
from headnode.ssh.login import login_slot
from headnode.ssh.settings import SSHSettings

_SILENCE_SECONDS: Final = 120
_PROGRESS: Final = re.compile(rb"^\s*([\d,.]+)\s+\d+%(?:.*xfr#(\d+))?")
# rsync(1), EXIT VALUES: the protocol's stream broke, socket I/O, time ran out, a signal; 255 is ssh's own.
_BROKEN: Final = frozenset({10, 12, 20, 30, 35, 255})
_VANISHED: Final = 24
_UNUSABLE: Final = re.compile(
    r"permission denied \(|host key verification failed|bad configuration option|unsupported option|is your shell clean"
    r"|protocol version mismatch|command not found|no matching|bad owner or permissions|rsync: not found",
    re.IGNORECASE,
)


class RsyncUnusable(TransferError):
    """rsync or ssh can't do it here, though the connection itself works; another way may."""


class RsyncCarrier:
    """Moves what a load names, each time over a connection of its own."""

    name = "rsync"

    def __init__(self, settings: SSHSettings, stop: Stop) -> None:
        self._settings = settings
        self._stop = stop

    def send(self, load: Load, meter: Meter) -> None:
        """Send files to the host.

        Raises:
            ConnectionLost: the connection broke; the files sent so far are there.
            RsyncUnusable: it can't be done by rsync.
            TransferError: the host refused.
        """
        slash = "" if "" in load.files else "/"
        self._run(load, meter, f"{load.local}{slash}", f"{openssh.ALIAS}:{load.remote}{slash}")

    def fetch(self, load: Load, meter: Meter) -> None:
        """Fetch files from the host.

        Raises:
            ConnectionLost: the connection broke; the files fetched so far are there.
            RsyncUnusable: it can't be done by rsync.
            TransferError: the host refused, or the worker's disk is full.
        """
        slash = "" if "" in load.files else "/"
        self._run(load, meter, f"{openssh.ALIAS}:{load.remote}{slash}", f"{load.local}{slash}")

    def _run(self, load: Load, meter: Meter, source: str, target: str) -> None:
        with tempfile.TemporaryDirectory(prefix="headnode-") as folder, _quiet(Path(folder) / "errors") as errors:
            arguments = _arguments(load, Path(folder), _write_config(self._settings, Path(folder)))
            with (
                login_slot(self._settings) as login,
                subprocess.Popen(
                    [*arguments, "--", source, target],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env=_environment(),
                    start_new_session=True,
                ) as process,
            ):
                try:
                    self._stop.also(process.terminate)
                    _watch(process, meter, login)
                    status = process.wait()
                finally:
                    process.kill()
            self._stop.check()
            if status:
                said = Path(errors.name).read_text(errors="replace").strip()
                raise _failure(status, said, self._settings.host)


def _arguments(load: Load, folder: Path, config: Path) -> list[str]:
    arguments = ["rsync", "--inplace", "--ignore-times", "-s", f"--timeout={_SILENCE_SECONDS}"]
    arguments += ["--info=progress2", "--rsh", f"ssh -F {shlex.quote(str(config))}"]
    if "" not in load.files:
        # rsync takes names that begin with "#" or ";" for comments, also between NULs.
        names = _private(folder / "names", b"".join(b"./" + name.encode() + b"\0" for name in load.files))
        arguments += [f"--files-from={names}", "--from0"]
    return arguments


def _write_config(settings: SSHSettings, folder: Path) -> Path:
    line = openssh.render_known_host(settings)
    if line is not None:
        known_hosts = _private(folder / "known_hosts", line.encode())
    else:
        known_hosts = Path(settings.known_hosts or "~/.ssh/known_hosts").expanduser()
    identity = None
    if settings.private_key is not None:
        identity = str(_private(folder / "key", settings.private_key.strip().encode() + b"\n"))
    elif settings.key_file is not None:
        identity = str(Path(settings.key_file).expanduser())
    config = openssh.render_config(settings, known_hosts=str(known_hosts), identity=identity)
    return _private(folder / "config", config.encode())


def _private(path: Path, content: bytes) -> Path:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    return path


@contextlib.contextmanager
def _quiet(path: Path) -> Iterator[IO[bytes]]:
    with path.open("wb") as file:
        yield file


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("RSYNC_")} | {"LC_ALL": "C.UTF-8"}


def _watch(process: subprocess.Popen[bytes], meter: Meter, login: Slot) -> None:
    """Read rsync's account of its progress until it ends; with its first word, ssh's login is over."""
    rest = b""
    assert process.stdout is not None  # noqa: S101 - asked for as a pipe
    while data := os.read(process.stdout.fileno(), 65536):
        login.release()
        *lines, rest = re.split(rb"[\r\n]", rest + data)
        for line in lines:
            if match := _PROGRESS.match(line):
                meter.reached(_number(match[1]), files=_number(match[2] or b"0"))


def _number(text: bytes) -> int:
    return int(re.sub(rb"[,.]", b"", text))


def _failure(status: int, said: str, host: str) -> TransferError | ConnectionLost:
    lines = [line for line in said.splitlines() if line.strip()]
    text = " ".join(lines[:3])[:400]
    if any(words in said.lower() for words in ("no space left", "quota exceeded", "file too large")):
        return storing_error(text, what=f"rsync to or from {host} failed")
    if status in (2, 126, 127) or _UNUSABLE.search(said):
        return RsyncUnusable(f"rsync does not work with {host}: {text or f'status {status}'}")
    if status in _BROKEN:
        return ConnectionLost(
            f"moving files to or from {host}: the SSH connection broke ({text or f'status {status}'})"
        )
    if status == _VANISHED:
        return ContentDiffers(f"files were removed while they were read: {text}")
    return TransferError(f"rsync to or from {host} failed with status {status}: {text}")


def is_installed() -> bool:
    """Whether this machine has rsync and OpenSSH's client."""
    return shutil.which("rsync") is not None and shutil.which("ssh") is not None
