"""Moves files over the hook's own SSH connection: large ones from where they broke off, small ones in archives.

SFTP asks three questions for each file, so that many small ones wait for the network most of the time; these go as a
stream of tar, which both ends write and read as it comes.
"""

from __future__ import annotations

import contextlib
import shlex
import tarfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final

import paramiko

from headnode.cluster.procedures import drive_sync
from headnode.cluster.staging.local import at
from headnode.cluster.staging.remote import storing_error, why_unwritable
from headnode.errors import ConnectionLost, ContentDiffers, HeadnodeError, TransferError
from headnode.hooks.paramiko_transport import ParamikoTransport
from headnode.hooks.transfer import Load, Meter, stored

SMALL_BYTES: Final = 256 * 1024
_BATCH_FILES: Final = 1000
_BATCH_BYTES: Final = 64 * 1024 * 1024
_CHUNK: Final = 256 * 1024
_SILENCE_SECONDS: Final = 120.0
_BEGIN: Final = b"headnode:archive\n"


class SFTPCarrier:
    """Moves what a load names, over one connection."""

    name = "SFTP"

    def __init__(self, transport: ParamikoTransport) -> None:
        self._transport = transport

    def send(self, load: Load, meter: Meter) -> None:
        """Send files to the host.

        Raises:
            ConnectionLost: the connection broke; the files sent so far are there.
            TransferError: the host refused.
        """
        for names in _batches(load):
            with self._failures(load, names[0], sending=True):
                self._send_archive(load, names, meter)
        for name, start in _large(load).items():
            with self._failures(load, name, sending=True), self._sftp() as sftp:
                _send_file(sftp, load, name, start, meter)

    def fetch(self, load: Load, meter: Meter) -> None:
        """Fetch files from the host.

        Raises:
            ConnectionLost: the connection broke; the files fetched so far are there.
            TransferError: the host refused, or the worker's disk is full.
        """
        for names in _batches(load):
            with self._failures(load, names[0], sending=False):
                self._fetch_archive(load, names, meter)
        for name, start in _large(load).items():
            with self._failures(load, name, sending=False):
                self._fetch_file(load, name, start, meter)

    @contextlib.contextmanager
    def _sftp(self) -> Iterator[paramiko.SFTPClient]:
        client = self._transport.client()
        try:
            sftp = client.open_sftp()
        except (paramiko.SSHException, EOFError) as error:
            if _is_active(client):
                raise TransferError(f"{self._transport.host} offers neither rsync nor SFTP ({error})") from error
            raise
        channel = sftp.get_channel()
        if channel is not None:
            channel.settimeout(_SILENCE_SECONDS)
        with sftp:
            yield sftp

    @contextlib.contextmanager
    def _failures(self, load: Load, name: str, *, sending: bool) -> Iterator[None]:
        """Tell a connection that broke from a host that refuses; SFTP gives no reasons, so the host is asked again."""
        client = self._transport.client()
        try:
            yield
        except HeadnodeError:
            raise
        except (paramiko.SSHException, EOFError, OSError) as error:
            what = f"{name or load.remote!r} can't be {'written' if sending else 'read'} on {self._transport.host}"
            if isinstance(error, TimeoutError) or not _is_active(client, settle_seconds=1.0):
                self._transport.close()
                raise ConnectionLost(f"moving {name or load.remote!r}: the SSH connection broke ({error})") from error
            said = ""
            if sending:
                offset = load.files[name].size
                said = drive_sync(why_unwritable(load.part, offset=offset), self._transport.run)
            raise storing_error(said or str(error), what=what) from error

    def _send_archive(self, load: Load, names: list[str], meter: Meter) -> None:
        text = f"cd -- {shlex.quote(load.remote)} && exec tar -xmf - --no-same-owner --no-same-permissions"
        client = self._transport.client()
        with self._stream(text) as stream:
            try:
                with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as archive:  # type: ignore[call-overload]
                    for name in names:
                        _add(archive, load, name)
                        meter.moved(load.files[name].size, files=1)
                stream.channel.shutdown_write()
            except OSError:
                # tar may have ended before all was sent; its status tells why, unless the connection broke.
                if not _is_active(client, settle_seconds=1.0):
                    raise
            stream.check("the host's tar", load.remote)

    def _fetch_archive(self, load: Load, names: list[str], meter: Meter) -> None:
        marker = shlex.quote(_BEGIN.decode().strip())
        text = f"cd -- {shlex.quote(load.remote)} && echo {marker} && exec tar -cf - --null -T -"
        with self._stream(text) as stream:
            stream.channel.sendall(b"".join(f"./{name}".encode() + b"\0" for name in names))
            stream.channel.shutdown_write()
            stream.skip_past(_BEGIN)
            wanted = {f"./{name}": name for name in names}
            try:
                with tarfile.open(fileobj=stream, mode="r|") as archive:  # type: ignore[call-overload]
                    for member in archive:
                        name = wanted.get(member.name) or wanted.get(f"./{member.name}")
                        content = archive.extractfile(member) if member.isreg() else None
                        if name is not None and content is not None:
                            stored(content.read(), at(load.local, name))
                            meter.moved(member.size, files=1)
            except tarfile.TarError as error:
                raise EOFError(f"the archive of files broke off ({error})") from error
            stream.check("the host's tar", load.remote)

    def _fetch_file(self, load: Load, name: str, start: int, meter: Meter) -> None:
        """Fetch a file from ``start`` on, as a stream: paramiko's read-ahead asks twice for what is late."""
        remote = f"{load.remote}/{name}" if name else load.remote
        path = at(load.local, name)
        left = load.files[name].size - start
        text = f"echo {shlex.quote(_BEGIN.decode().strip())} && exec tail -c +{start + 1} -- {shlex.quote(remote)}"
        with _local(path, "r+b" if start else "wb") as target, self._stream(text) as stream:
            target.seek(start)
            stream.skip_past(_BEGIN)
            while left > 0 and (data := stream.read(min(_CHUNK, left))):
                stored(data, path, file=target)
                left -= len(data)
                meter.moved(len(data))
            if left > 0:
                stream.check("the host's tail", remote)
        meter.moved(0, files=1)

    @contextlib.contextmanager
    def _stream(self, text: str) -> Iterator[_Stream]:
        transport = self._transport.client().get_transport()
        if transport is None:
            raise EOFError("the connection is closed")
        channel = transport.open_session(timeout=_SILENCE_SECONDS)
        try:
            channel.settimeout(_SILENCE_SECONDS)
            channel.exec_command(f"exec /bin/bash -c {shlex.quote(text)}".encode())  # nosec B601  # quoted
            yield _Stream(channel)
        finally:
            channel.close()


class _Stream:
    """A command's standard input and output as the file that tarfile wants."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self.channel = channel
        self._ahead = b""

    def write(self, data: bytes) -> int:
        self.channel.sendall(data)
        return len(data)

    def read(self, size: int) -> bytes:
        if self._ahead:
            data, self._ahead = self._ahead[:size], self._ahead[size:]
            return data
        return self.channel.recv(size)

    def skip_past(self, marker: bytes) -> None:
        """Pass over what start-up files of the login shell print."""
        seen = b""
        while marker not in seen:
            data = self.channel.recv(_CHUNK)
            if not data:
                return
            seen += data
        self._ahead = seen.partition(marker)[2]

    def check(self, what: str, where: str) -> None:
        """Wait for the command's end and raise what it complained of."""
        if not self.channel.status_event.wait(_SILENCE_SECONDS):
            raise TimeoutError(f"{what} does not end")
        status = self.channel.exit_status
        if status < 0:
            raise EOFError("the connection ended before the command did")
        if status:
            said = self.channel.recv_stderr(4096).decode("utf-8", "replace").strip()
            raise storing_error(said[:300], what=f"{what} failed with status {status} in {where!r}")


def _batches(load: Load) -> Iterator[list[str]]:
    """Yield names of small files, so many at a time as one archive may hold."""
    names: list[str] = []
    size = 0
    for name, item in load.files.items():
        if name == "" or item.size > SMALL_BYTES:
            continue
        names.append(name)
        size += item.size
        if len(names) >= _BATCH_FILES or size >= _BATCH_BYTES:
            yield names
            names, size = [], 0
    if names:
        yield names


def _large(load: Load) -> Mapping[str, int]:
    return {name: load.starts[name] for name, item in load.files.items() if name == "" or item.size > SMALL_BYTES}


def _add(archive: tarfile.TarFile, load: Load, name: str) -> None:
    member = tarfile.TarInfo(f"./{name}")
    member.size, member.mode = load.files[name].size, 0o644
    path = at(load.local, name)
    with path.open("rb") as file:
        content = file.read(member.size + 1)
    if len(content) != member.size:
        raise ContentDiffers(f"{path} changed while it was sent; send it when nobody writes to it")
    archive.addfile(member, _Content(content))  # type: ignore[arg-type]


class _Content:
    """The bytes of one file, read once."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def read(self, size: int) -> bytes:
        data, self._content = self._content[:size], self._content[size:]
        return data


def _send_file(sftp: paramiko.SFTPClient, load: Load, name: str, start: int, meter: Meter) -> None:
    remote = f"{load.remote}/{name}" if name else load.remote
    with _local(at(load.local, name), "rb") as source, sftp.open(remote, "r+b" if start else "wb") as target:
        source.seek(start)
        target.seek(start)
        target.set_pipelined(True)
        left = load.files[name].size - start
        while left > 0 and (data := source.read(min(_CHUNK, left))):
            target.write(data)
            left -= len(data)
            meter.moved(len(data))
    meter.moved(0, files=1)


@contextlib.contextmanager
def _local(path: Path, mode: str) -> Iterator[IO[Any]]:
    """Open a file of the worker's; what is wrong with it is no failure of the connection."""
    try:
        file = path.open(mode)
    except OSError as error:
        raise storing_error(str(error), what=f"{path} on the worker can't be opened") from error
    with file:
        yield file


def _is_active(client: paramiko.SSHClient, *, settle_seconds: float = 0.0) -> bool:
    """Whether the connection lives; that it broke is noticed a moment later by the thread that reads."""
    deadline = time.monotonic() + settle_seconds
    while True:
        transport = client.get_transport()
        if transport is None or not transport.is_active():
            return False
        if time.monotonic() >= deadline:
            return True
        time.sleep(0.05)
