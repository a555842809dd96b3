"""The port's first adapter: asyncssh, for triggers. One login, many commands over it.

asyncssh is loaded at the first login and in a thread: it takes half a second, for which the event loop of a
triggerer, which all triggers share, would stand still.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from headnode.errors import (
    AuthenticationRefused,
    CommandTimedOut,
    ConnectionLost,
    HostKeyRefused,
    HostUnreachable,
    TransportError,
)
from headnode.ssh.port import Answer, Command
from headnode.ssh.settings import SSHSettings

if TYPE_CHECKING:
    import asyncssh

# A refused login is not tried again for this long: sites ban hosts that go on failing.
REFUSAL_PAUSE_SECONDS: Final = 60.0


def _load_asyncssh() -> None:
    import asyncssh  # noqa: PLC0415

    # At INFO, asyncssh tells of every session; in a triggerer that would go into the logs of tasks.
    asyncssh.set_log_level("WARNING")


class AsyncSSHTransport:
    """A connection that is opened at the first command and opened again after it broke."""

    def __init__(self, settings: SSHSettings) -> None:
        self.settings = settings
        self.logins = 0
        self._connection: asyncssh.SSHClientConnection | None = None
        self._connecting = asyncio.Lock()
        self._sessions = asyncio.Semaphore(settings.max_sessions)
        self._refusal: tuple[float, TransportError] | None = None

    @property
    def host(self) -> str:
        """The host's name, for messages."""
        return self.settings.host

    async def run(self, command: Command) -> Answer:
        """Run one command to its end; see ``Transport.run``."""
        async with self._sessions:
            connection = await self._connected()
            return await self._run_on(connection, command)

    async def close(self) -> None:
        """Close the connection, if one is open."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
            await connection.wait_closed()

    async def _run_on(self, connection: asyncssh.SSHClientConnection, command: Command) -> Answer:
        import asyncssh  # noqa: PLC0415

        where = f"{command.purpose} on {self.host}"
        try:
            done = await asyncio.wait_for(
                connection.run(command.text, input=command.stdin, encoding=None, check=False), command.timeout_seconds
            )
        except TimeoutError as error:
            raise CommandTimedOut(f"{where}: no answer within {command.timeout_seconds:g} s") from error
        except asyncssh.ChannelOpenError as error:
            raise HostUnreachable(f"{where}: the host opened no further session ({error.reason})") from error
        except (asyncssh.Error, OSError) as error:
            self._forget(connection)
            raise ConnectionLost(f"{where}: the SSH connection broke ({error})") from error
        if done.exit_status is None or done.exit_signal is not None:
            self._forget(connection)
            raise ConnectionLost(f"{where}: the SSH connection ended before the command did")
        return Answer(stdout=_bytes(done.stdout), stderr=_bytes(done.stderr), exit_status=done.exit_status)

    def _forget(self, connection: asyncssh.SSHClientConnection) -> None:
        if self._connection is connection:
            self._connection = None
        connection.abort()

    async def _connected(self) -> asyncssh.SSHClientConnection:
        async with self._connecting:
            if self._connection is not None and not self._connection.is_closed():
                return self._connection
            if self._refusal is not None and time.monotonic() < self._refusal[0]:
                raise self._refusal[1]
            try:
                self._connection = await self._login()
            except (AuthenticationRefused, HostKeyRefused) as refusal:
                self._refusal = (time.monotonic() + REFUSAL_PAUSE_SECONDS, refusal)
                raise
            self.logins += 1
            self._refusal = None
            return self._connection

    async def _login(self) -> asyncssh.SSHClientConnection:
        await asyncio.to_thread(_load_asyncssh)
        import asyncssh  # noqa: PLC0415

        settings = self.settings
        where = f"{settings.username}@{settings.host}:{settings.port} (connection {settings.conn_id!r})"
        try:
            async with asyncio.timeout(settings.connect_timeout_seconds):
                options = await asyncio.to_thread(_connect_options, settings)  # reads and decrypts keys
                return await asyncssh.connect(**options)
        except asyncssh.HostKeyNotVerifiable as error:
            raise HostKeyRefused(
                f"the host key of {where} is not the known one, or none is known: {error.reason}."
                f" `ssh-keyscan -p {settings.port} {settings.host}` prints the host's keys; compare them with what the"
                " site publishes, then put '<type> <key>' into the connection's host_key extra, or the line into"
                " ~/.ssh/known_hosts of the user who runs Airflow."
            ) from error
        except (asyncssh.PermissionDenied, asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
            raise AuthenticationRefused(
                f"{where} refused the login: {error}. Check the user name and the key (key_file or private_key, and"
                " its passphrase) in the Airflow connection, and that the site knows the public key."
            ) from error
        except FileNotFoundError as error:
            raise AuthenticationRefused(
                f"no login at {where}: the file {error.filename!r} that the connection names is not on this machine"
            ) from error
        except (TimeoutError, asyncssh.Error, OSError) as error:
            raise HostUnreachable(
                f"{where} can't be reached: {error or type(error).__name__}. Check Host and Port of the Airflow"
                " connection, and whether the login node is up."
            ) from error


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
