"""The port's first adapter: asyncssh, for triggers. One login, many commands over it.

asyncssh is loaded at the first login and in a thread: it takes half a second, for which the event loop of a
triggerer, which all triggers share, would stand still.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

from headnode.errors import (
    CommandTimedOut,
    ConnectionLost,
    HostUnreachable,
)
from headnode.ssh.failover import CurrentHost, closed_to_all
from headnode.ssh.login import ain_flight, alog_in
from headnode.ssh.port import Answer, Command, command_line
from headnode.ssh.renewal import alog_in_renewing
from headnode.ssh.sessions import Sessions, next_pause
from headnode.ssh.settings import SSHSettings

if TYPE_CHECKING:
    import asyncssh

_LOG: Final = logging.getLogger("headnode.ssh")


def _load_asyncssh() -> None:
    import asyncssh  # noqa: PLC0415

    import headnode.ssh.asyncssh_login  # noqa: F401, PLC0415

    # At INFO, asyncssh tells of every session; in a triggerer that would go into the logs of tasks.
    asyncssh.set_log_level("WARNING")


class AsyncSSHTransport:
    """A connection that is opened at the first command and opened again after it broke."""

    def __init__(self, settings: SSHSettings, *, forced: bool = False) -> None:
        """Take the settings; ``forced`` offers also credentials that were refused before: a person has asked for it."""
        self.settings = settings
        self.logins = 0
        self._forced = forced
        self._at = settings  # those of the host where the connection leads
        self._connection: asyncssh.SSHClientConnection | None = None
        self._logging_in: asyncio.Task[None] | None = None
        self._waits_for: str | None = None
        self._sessions = Sessions(settings.max_sessions)

    @property
    def host(self) -> str:
        """The host's name, for messages."""
        return self._at.host

    @property
    def host_key(self) -> str | None:
        """The key that the host of the open connection has shown, ``<type> <base64>``; None where there is none."""
        key = self._connection.get_server_host_key() if self._connection is not None else None
        return " ".join(key.export_public_key().decode().split()[:2]) if key is not None else None

    async def run(self, command: Command) -> Answer:
        """Run one command to its end; see ``Transport.run``."""
        began, pause = time.monotonic(), 0.0
        while True:
            async with self._sessions.one():
                connection = await self._connected()
                try:
                    async with ain_flight(self._at):
                        return await self._run_on(connection, command)
                except _SessionRefused as refusal:
                    # Nothing was sent. The first time it may be that a session which has ended still counts.
                    if pause and not self._sessions.refused() and time.monotonic() > began + command.timeout_seconds:
                        raise
                    if pause:
                        _LOG.info("waiting for a session: %s", refusal)
            pause = next_pause(pause)
            await asyncio.sleep(pause)

    async def close(self) -> None:
        """Close the connection, if one is open."""
        connection, self._connection = self._connection, None
        if self._logging_in is not None:
            self._logging_in.cancel()
        if connection is not None:
            connection.close()
            await connection.wait_closed()

    async def _run_on(self, connection: asyncssh.SSHClientConnection, command: Command) -> Answer:
        import asyncssh  # noqa: PLC0415

        where = f"{command.purpose} on {self.host}"
        try:
            done = await asyncio.wait_for(
                connection.run(
                    command_line(command, self.settings.slurm_path), input=command.stdin, encoding=None, check=False
                ),
                command.timeout_seconds,
            )
        except TimeoutError as error:
            raise CommandTimedOut(f"{where}: no answer within {command.timeout_seconds:g} s") from error
        except asyncssh.ChannelOpenError as error:
            # The same class tells of a request that may have arrived, and of a connection that broke.
            if connection.is_closed() or error.code == asyncssh.OPEN_REQUEST_SESSION_FAILED:
                self._forget(connection)
                raise ConnectionLost(f"{where}: the SSH connection broke ({error.reason})") from error
            raise _SessionRefused(f"{where}: the host opened no further session ({error.reason})") from error
        except (asyncssh.Error, OSError) as error:
            self._forget(connection)
            raise ConnectionLost(f"{where}: the SSH connection broke ({error})") from error
        if done.exit_status is None or done.exit_signal is not None:
            self._forget(connection)
            raise ConnectionLost(f"{where}: the SSH connection ended before the command did")
        answer = Answer(stdout=_bytes(done.stdout), stderr=_bytes(done.stderr), exit_status=done.exit_status)
        if (said := closed_to_all(answer)) is not None:
            self._forget(connection)
            await asyncio.to_thread(CurrentHost(self.settings).fails, self.host)
            raise HostUnreachable(f"{where}: the host lets nobody in at present: {said!r}")
        return answer

    def _forget(self, connection: asyncssh.SSHClientConnection) -> None:
        if self._connection is connection:
            self._connection = None
        connection.abort()

    async def _connected(self) -> asyncssh.SSHClientConnection:
        """Return the connection; a login is made once for all who wait, and goes on when one of them is cancelled."""
        said = None
        while self._connection is None or self._connection.is_closed():
            if self._logging_in is None:
                self._logging_in = asyncio.create_task(self._log_in(), name=f"headnode logs in at {self.host}")
                self._logging_in.add_done_callback(_heard)  # all who waited may have been cancelled
            login = self._logging_in
            await asyncio.wait({login}, timeout=1.0)
            if self._waits_for not in (None, said):
                said = self._waits_for
                _LOG.info(said)
            if login.cancelled():
                raise HostUnreachable(f"the connection to {self.host} was closed before the login was made")
            if login.done():
                login.result()
        return self._connection

    async def _log_in(self) -> None:
        try:
            self._connection = await alog_in_renewing(
                self.settings, lambda: alog_in(self.settings, self._login, forced=self._forced, say=self._wait_for)
            )
            self.logins += 1
            self._sessions.renewed()
        finally:
            self._logging_in = self._waits_for = None

    def _wait_for(self, reason: str) -> None:
        self._waits_for = reason

    async def _login(self, settings: SSHSettings) -> asyncssh.SSHClientConnection:
        await asyncio.to_thread(_load_asyncssh)
        from headnode.ssh.asyncssh_login import open_connection  # noqa: PLC0415 - loaded by now

        connection = await open_connection(settings)
        self._at = settings
        return connection


class _SessionRefused(HostUnreachable):
    """The host opened no session for the command; nothing was sent."""


def _heard(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.exception()


def _bytes(output: bytes | str | None) -> bytes:
    return output.encode() if isinstance(output, str) else bytes(output or b"")
