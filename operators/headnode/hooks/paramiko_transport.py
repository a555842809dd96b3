"""The port's second adapter: the SSH provider's own hook (paramiko), for workers, notebooks and the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import paramiko
from airflow.providers.ssh.hooks.ssh import SSHHook
from paramiko.hostkeys import HostKeyEntry

from headnode.errors import AuthenticationRefused, CommandTimedOut, ConnectionLost, HostKeyRefused, HostUnreachable
from headnode.ssh.port import Answer, Command
from headnode.ssh.settings import SSHSettings

_CHUNK: Final = 32 * 1024


class ParamikoTransport:
    """A connection that is opened at the first command and opened again after it broke."""

    def __init__(self, settings: SSHSettings) -> None:
        self.settings = settings
        self._client: paramiko.SSHClient | None = None

    @property
    def host(self) -> str:
        """The host's name, for messages."""
        return self.settings.host

    def run(self, command: Command) -> Answer:
        """Run one command to its end.

        Raises:
            TransportError: a subclass that tells whether the command may have run.
        """
        where = f"{command.purpose} on {self.host}"
        client = self._connected()
        try:
            return _run_on(client, command)
        except TimeoutError as error:
            raise CommandTimedOut(f"{where}: no answer within {command.timeout_seconds:g} s") from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            self.close()
            raise ConnectionLost(f"{where}: the SSH connection broke ({error})") from error

    def close(self) -> None:
        """Close the connection, if one is open."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _connected(self) -> paramiko.SSHClient:
        if self._client is not None:
            transport = self._client.get_transport()
            if transport is not None and transport.is_active():
                return self._client
        settings = self.settings
        where = f"{settings.username}@{settings.host}:{settings.port} (connection {settings.conn_id!r})"
        try:
            self._client = _hook(settings).get_conn()
        except (paramiko.BadHostKeyException, paramiko.SSHException) as error:
            if isinstance(error, paramiko.AuthenticationException | paramiko.PasswordRequiredException):
                raise AuthenticationRefused(f"{where} refused the login: {error}. Check user name and key.") from error
            if isinstance(error, paramiko.BadHostKeyException) or "not found in known_hosts" in str(error):
                raise HostKeyRefused(
                    f"the host key of {where} is not the known one, or none is known: {error}. `ssh-keyscan -p"
                    f" {settings.port} {settings.host}` prints the host's keys; compare them with what the site"
                    " publishes, then put '<type> <key>' into the connection's host_key extra."
                ) from error
            raise HostUnreachable(f"{where} can't be reached: {error}") from error
        except (OSError, EOFError) as error:
            raise HostUnreachable(f"{where} can't be reached: {error}") from error
        return self._client


def _hook(settings: SSHSettings) -> SSHHook:
    hook = SSHHook(
        remote_host=settings.host,
        port=settings.port,
        username=settings.username,
        password=settings.password or "",
        key_file=settings.key_file or "",
        conn_timeout=int(settings.connect_timeout_seconds),
        keepalive_interval=int(settings.keepalive_seconds),
        ciphers=list(settings.ciphers) or None,
        host_proxy_cmd=settings.host_proxy_cmd,
        conn_retry_attempts=1,  # whoever asks decides whether to try again
    )
    hook.look_for_keys = settings.look_for_keys
    hook.compress = settings.compress
    if settings.private_key is not None:
        hook.pkey = hook._pkey_from_private_key(  # noqa: SLF001 - the provider's own reader of keys in connections
            settings.private_key, passphrase=settings.private_key_passphrase
        )
    elif settings.key_file is not None and settings.private_key_passphrase is not None:
        text = Path(settings.key_file).expanduser().read_text()
        hook.pkey = hook._pkey_from_private_key(text, passphrase=settings.private_key_passphrase)  # noqa: SLF001
        hook.key_file = None
    hook.host_key = _known_host_key(settings)  # type: ignore[assignment]
    return hook


def _known_host_key(settings: SSHSettings) -> paramiko.PKey | None:
    """Return the key to expect; None leaves it to the user's own known_hosts file."""
    if settings.host_key is not None:
        name, data = settings.host_key.split()
        entry = HostKeyEntry.from_line(f"{settings.host} {name} {data}")
        if entry is None or entry.key is None:
            raise HostKeyRefused(f"the host_key of connection {settings.conn_id!r} can't be read")
        return entry.key
    if settings.known_hosts is not None:
        known = paramiko.HostKeys(str(Path(settings.known_hosts).expanduser()))
        name = settings.host if settings.port == 22 else f"[{settings.host}]:{settings.port}"  # noqa: PLR2004 - ssh
        found = known.lookup(name)
        if not found:
            raise HostKeyRefused(f"{settings.known_hosts} holds no key of {name} (connection {settings.conn_id!r})")
        return next(iter(found.values()))
    return None


def _run_on(client: paramiko.SSHClient, command: Command) -> Answer:
    transport = client.get_transport()
    if transport is None:
        raise paramiko.SSHException("the connection is closed")
    channel = transport.open_session(timeout=command.timeout_seconds)
    try:
        channel.settimeout(command.timeout_seconds)
        channel.exec_command(command.text.encode())
        channel.sendall(command.stdin)
        channel.shutdown_write()
        stdout, stderr = _read(channel.recv), _read(channel.recv_stderr)
        if not channel.status_event.wait(command.timeout_seconds):
            raise TimeoutError
        status = channel.recv_exit_status()
    finally:
        channel.close()
    if status < 0:
        raise paramiko.SSHException("it ended before the command did")
    return Answer(stdout=stdout, stderr=stderr, exit_status=status)


def _read(receive: Callable[[int], bytes]) -> bytes:
    pieces = []
    while piece := receive(_CHUNK):
        pieces.append(piece)
    return b"".join(pieces)
