"""The port's first adapter: asyncssh, for triggers. One login, many commands over it.

asyncssh is loaded at the first login and in a thread: it takes half a second, for which the event loop of a
triggerer, which all triggers share, would stand still.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from headnode.errors import (
    AuthenticationRefused,
    CommandTimedOut,
    ConnectionLost,
    HostKeyRefused,
    HostUnreachable,
)
from headnode.ssh.failover import CHECK_CREDENTIALS, CurrentHost, closed_to_all, refusal
from headnode.ssh.login import ain_flight, alog_in
from headnode.ssh.port import Answer, Command, command_line
from headnode.ssh.sessions import Sessions, next_pause
from headnode.ssh.settings import SSHSettings

if TYPE_CHECKING:
    import asyncssh

_LOG: Final = logging.getLogger("headnode.ssh")


def _load_asyncssh() -> None:
    import asyncssh  # noqa: PLC0415

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
            login = self._logging_in
            await asyncio.wait({login}, timeout=1.0)
            if self._waits_for not in (None, said):
                said = self._waits_for
                _LOG.info(said)
            if login.done():
                await login
        return self._connection

    async def _log_in(self) -> None:
        try:
            self._connection = await alog_in(self.settings, self._login, forced=self._forced, say=self._wait_for)
            self.logins += 1
            self._sessions.renewed()
        finally:
            self._logging_in = self._waits_for = None

    def _wait_for(self, reason: str) -> None:
        self._waits_for = reason

    async def _login(self, settings: SSHSettings) -> asyncssh.SSHClientConnection:
        await asyncio.to_thread(_load_asyncssh)
        import asyncssh  # noqa: PLC0415

        banners: list[str] = []
        where = f"{settings.username}@{settings.host}:{settings.port} (connection {settings.conn_id!r})"
        try:
            async with asyncio.timeout(settings.connect_timeout_seconds):
                options = await asyncio.to_thread(_connect_options, settings)  # reads and decrypts keys
                connection = await asyncssh.connect(**options, client_factory=_listening_client(banners))
            self._at = settings
            return connection  # noqa: TRY300 - the errors below are those of connecting
        except asyncssh.HostKeyNotVerifiable as error:
            raise HostKeyRefused(
                f"the host key of {where} is not the known one, or none is known: {error.reason}."
                f" `ssh-keyscan -p {settings.port} {settings.host}` prints the host's keys; compare them with what the"
                " site publishes, then put '<type> <key>' into the connection's host_key extra, or the line into"
                " ~/.ssh/known_hosts of the user who runs Airflow."
            ) from error
        except asyncssh.PermissionDenied as error:
            raise refusal(where, str(error), "".join(banners)) from error
        except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
            raise AuthenticationRefused(f"no login at {where}: {error}. {CHECK_CREDENTIALS}") from error
        except FileNotFoundError as error:
            raise AuthenticationRefused(
                f"no login at {where}: the file {error.filename!r} that the connection names is not on this machine"
            ) from error
        except (TimeoutError, asyncssh.Error, OSError) as error:
            raise HostUnreachable(
                f"{where} can't be reached: {error or type(error).__name__}. Check Host and Port of the Airflow"
                " connection, and whether the login node is up."
            ) from error


class _SessionRefused(HostUnreachable):
    """The host opened no session for the command; nothing was sent."""


def _listening_client(banners: list[str]) -> Callable[[], asyncssh.SSHClient]:
    """Return what makes asyncssh keep what the host says before it lets anybody in."""
    import asyncssh  # noqa: PLC0415

    class Listening(asyncssh.SSHClient):
        def auth_banner_received(self, msg: str, lang: str) -> None:  # noqa: ARG002 - asyncssh's
            banners.append(msg)

    return Listening


# paramiko's words for kinds of algorithms, and asyncssh's options for them.
_ALGORITHM_OPTIONS: Final = {
    "kex": "kex_algs",
    "ciphers": "encryption_algs",
    "macs": "mac_algs",
    "keys": "server_host_key_algs",
    "pubkeys": "signature_algs",
    "compression": "compression_algs",
}


def _bytes(output: bytes | str | None) -> bytes:
    return output.encode() if isinstance(output, str) else bytes(output or b"")


def _connect_options(settings: SSHSettings) -> dict[str, Any]:
    import asyncssh  # noqa: PLC0415

    options: dict[str, Any] = {
        "host": settings.host,
        "port": settings.port,
        "username": settings.username,
        "keepalive_interval": settings.keepalive_seconds,
        "login_timeout": settings.connect_timeout_seconds,
        "config": [],  # ~/.ssh/config of whoever runs Airflow must not change where a connection leads
    }
    if settings.host_key is not None:
        name = settings.host if settings.port == asyncssh.DEFAULT_PORT else f"[{settings.host}]:{settings.port}"
        options["known_hosts"] = asyncssh.import_known_hosts(f"{name} {settings.host_key}\n")
    else:
        known_hosts = Path(settings.known_hosts or "~/.ssh/known_hosts").expanduser()
        options["known_hosts"] = str(known_hosts) if known_hosts.exists() else asyncssh.import_known_hosts("")
    if settings.private_key is not None:
        options["client_keys"] = [asyncssh.import_private_key(settings.private_key, settings.private_key_passphrase)]
    elif settings.key_file is not None:
        key_file = Path(settings.key_file).expanduser()
        options["client_keys"] = [asyncssh.read_private_key(str(key_file), settings.private_key_passphrase)]
    elif not settings.look_for_keys:
        options.update(client_keys=None, agent_path=None)
    if settings.password is not None:
        options["password"] = settings.password
    if settings.ciphers:
        options["encryption_algs"] = list(settings.ciphers)
    if settings.compress:
        options["compression_algs"] = ["zlib@openssh.com", "none"]
    for kind, names in settings.disabled_algorithms:
        option = _ALGORITHM_OPTIONS[kind]
        offered = options.get(option)
        options[option] = [name for name in offered if name not in names] if offered else "-" + ",".join(names)
    if settings.host_proxy_cmd is not None:
        options["proxy_command"] = settings.host_proxy_cmd
    return options
