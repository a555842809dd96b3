"""Commands over a connection that a person has opened by hand, and that ssh shares by a socket (ControlMaster).

For sites whose logins need a person: a second factor that no program may give, a browser, a smart card. headnode never
logs in here by itself; when the person's connection has ended it says so and waits for the next one.
"""

from __future__ import annotations

import asyncio
import logging
import shlex
import subprocess
import time
from pathlib import Path
from typing import Final

from headnode.errors import CommandTimedOut, ConnectionLost, CredentialExpired, HostUnreachable, TransportError
from headnode.ssh.port import Answer, Command, command_line
from headnode.ssh.sessions import next_pause
from headnode.ssh.settings import SSHSettings

_LOG: Final = logging.getLogger("headnode.ssh")
# ssh's own status; a command that ends with it can't be told from one that ssh could not bring to its end.
_SSH_STATUS: Final = 255
# What ssh says when it did not find the master and would log in by itself, which ProxyCommand keeps it from.
_NO_MASTER: Final = (
    b"Control socket connect",
    b"kex_exchange_identification",
    b"Connection closed by UNKNOWN",
    b"ssh_exchange_identification",
)
_NO_SESSION: Final = (b"Session open refused", b"session request failed", b"open failed")


class SessionRefused(HostUnreachable):
    """The host opened no session for the command; nothing was sent."""


def ssh_arguments(settings: SSHSettings, *more: str) -> list[str]:
    """Return the words of a command line that goes through the socket, or nowhere."""
    path = str(Path(str(settings.control_path)).expanduser())
    # Without a master ssh would log in itself: the file of its configuration is not read, and its way leads nowhere.
    options = ("ControlMaster=no", "ProxyCommand=false", "BatchMode=yes", "ClearAllForwardings=yes", "LogLevel=ERROR")
    words = ["ssh", "-F", "none", "-S", path, "-T", *(word for option in options for word in ("-o", option))]
    return [*words, *more, "-p", str(settings.port), "-l", settings.username, "--", settings.host]


def gone(settings: SSHSettings) -> CredentialExpired:
    """Return the error for a connection by hand that has ended."""
    opened = shlex.join(
        ["ssh", "-fN", "-o", "ControlMaster=auto", "-S", str(settings.control_path), "-o", "ServerAliveInterval=30"]
        + (["-p", str(settings.port)] if settings.port != 22 else [])  # noqa: PLR2004 - ssh's
        + [f"{settings.username}@{settings.host}"]
    )
    return CredentialExpired(
        f"no connection to {settings.host} (connection {settings.conn_id!r}): nobody has one open at"
        f" {settings.control_path}. Log in there by hand as the user who runs Airflow, `{opened}`; headnode goes on by"
        " itself as soon as it is there."
    )


def answer_of(settings: SSHSettings, where: str, status: int, stdout: bytes, stderr: bytes) -> Answer:
    """Return the answer of a command whose ssh ended.

    Raises:
        CredentialExpired: there is no master; nothing was sent.
        SessionRefused: the host opens no further session; nothing was sent.
        ConnectionLost: the connection broke; the command may have run.
    """
    if status != _SSH_STATUS and status >= 0:
        return Answer(stdout=stdout, stderr=stderr, exit_status=status)
    said = " ".join(stderr.decode("utf-8", "replace").split())[-300:]
    if not stdout and any(mark in stderr for mark in _NO_SESSION):
        raise SessionRefused(f"{where}: the host opened no further session ({said})")
    if not stdout and any(mark in stderr for mark in _NO_MASTER):
        raise gone(settings)
    raise ConnectionLost(f"{where}: the SSH connection ended before the command did ({said or 'without a word'})")


def check_socket(settings: SSHSettings) -> None:
    """See that the socket is there, which costs nothing.

    Raises:
        CredentialExpired: it is not.
    """
    if not Path(str(settings.control_path)).expanduser().is_socket():
        raise gone(settings)


def unusable(settings: SSHSettings, error: OSError) -> TransportError:
    """Return the error for a machine on which ssh can't be started."""
    return HostUnreachable(
        f"no connection to {settings.host} (connection {settings.conn_id!r}): OpenSSH's client, which control_path"
        f" needs, can't be started on this machine ({error.strerror})"
    )


def run_over_master(settings: SSHSettings, command: Command) -> Answer:
    """Run one command to its end.

    Raises:
        TransportError: a subclass that tells whether the command may have run.
    """
    where = f"{command.purpose} on {settings.host}"
    began, pause = time.monotonic(), 0.0
    while True:
        check_socket(settings)
        try:
            done = subprocess.run(
                [*ssh_arguments(settings), command_line(command, settings.slurm_path)],
                input=command.stdin,
                capture_output=True,
                check=False,
                timeout=command.timeout_seconds,
            )
            return answer_of(settings, where, done.returncode, done.stdout, done.stderr)
        except subprocess.TimeoutExpired as error:
            raise CommandTimedOut(f"{where}: no answer within {command.timeout_seconds:g} s") from error
        except OSError as error:
            raise unusable(settings, error) from error
        except SessionRefused as error:
            pause = _next(pause, error, until=began + command.timeout_seconds)
        time.sleep(pause)


def _next(pause: float, error: SessionRefused, *, until: float) -> float:
    """Return how long to wait for a session; the first refusal may be of one that has ended and still counts."""
    if time.monotonic() > until:
        raise error
    if pause:
        _LOG.info("waiting for a session: %s", error)
    return next_pause(pause)


class ControlMasterTransport:
    """The port over such a connection, for event loops: one process of ssh for each command."""

    #: A person has compared the host's key, with the ssh that opened the connection.
    host_key: str | None = None
    #: It never logs in, so that whoever counts logins sees the one that a person has made.
    logins: int = 1

    def __init__(self, settings: SSHSettings) -> None:
        self.settings = settings
        self._sessions = asyncio.Semaphore(settings.max_sessions)

    @property
    def host(self) -> str:
        """The host's name, for messages."""
        return self.settings.host

    async def run(self, command: Command) -> Answer:
        """Run one command to its end; see ``Transport.run``."""
        began, pause = time.monotonic(), 0.0
        while True:
            try:
                async with self._sessions:
                    return await self._run(command)
            except SessionRefused as error:
                pause = _next(pause, error, until=began + command.timeout_seconds)
            await asyncio.sleep(pause)

    async def close(self) -> None:
        """Do nothing: the connection is a person's."""

    async def _run(self, command: Command) -> Answer:
        settings = self.settings
        where = f"{command.purpose} on {settings.host}"
        await asyncio.to_thread(check_socket, settings)
        try:
            process = await asyncio.create_subprocess_exec(
                *ssh_arguments(settings),
                command_line(command, settings.slurm_path),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            raise unusable(settings, error) from error
        try:
            stdout, stderr = await asyncio.wait_for(process.communicate(command.stdin), command.timeout_seconds)
        except TimeoutError as error:
            raise CommandTimedOut(f"{where}: no answer within {command.timeout_seconds:g} s") from error
        finally:
            if process.returncode is None:
                # Not kill and wait: the master has taken over the pipes, and may hold them for as long as it likes.
                process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001 - asyncio has no other way
        return answer_of(settings, where, process.returncode or 0, stdout, stderr)
