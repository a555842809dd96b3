"""The way to a host: its jump hosts and itself, each with all that a login there needs.

Both adapters read nothing else of a connection.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from headnode.errors import AuthenticationRefused
from headnode.ssh.settings import JumpHost, SSHSettings

SSH_PORT: Final = 22
# What ssh-keygen calls the keys that are looked for where a connection names none.
_DEFAULT_KEYS: Final = ("~/.ssh/id_rsa", "~/.ssh/id_ecdsa", "~/.ssh/id_ed25519")


@dataclass(frozen=True, kw_only=True, repr=False)
class Identity:
    """A key and its certificate, each as a file or as text. An ``optional`` one may be missing."""

    key_file: str | None = None
    key: str | None = None
    passphrase: str | None = None
    certificate_file: str | None = None
    certificate: str | None = None
    optional: bool = False


@dataclass(frozen=True, kw_only=True, repr=False)
class Hop:
    """One host on the way, the last one included. ``where`` names it in messages. Times are in seconds.

    ``known_name`` is the name by which its key is known. ``agent_keys`` are the files of the only keys that are taken
    from the agent; None means all. Empty lists of algorithms leave the choice to the library.
    """

    where: str
    host: str
    port: int
    username: str
    known_name: str
    known_without_port: bool = False
    is_jump_host: bool = False
    host_key: str | None = None
    known_hosts: tuple[str, ...] = ()
    identities: tuple[Identity, ...] = ()
    agent_path: str | None = None
    agent_named: bool = False
    agent_keys: tuple[str, ...] | None = None
    password: str | None = None
    totp_secret: str | None = None
    totp_period_seconds: int = 30
    ciphers: tuple[str, ...] = ()
    macs: tuple[str, ...] = ()
    kex: tuple[str, ...] = ()
    host_key_algorithms: tuple[str, ...] = ()
    pubkey_algorithms: tuple[str, ...] = ()
    disabled_algorithms: tuple[tuple[str, tuple[str, ...]], ...] = ()
    proxy_command: str | None = None
    compress: bool = True
    connect_timeout_seconds: float = 30.0
    keepalive_seconds: float = 30.0

    def __repr__(self) -> str:
        return f"<{self.where}>"

    @property
    def name_in_known_hosts(self) -> str:
        """How a known_hosts file writes the host."""
        plain = self.known_without_port or self.port == SSH_PORT
        return self.known_name if plain else f"[{self.known_name}]:{self.port}"


def route_of(settings: SSHSettings) -> tuple[Hop, ...]:
    """Return the hops to a host, the host itself last. It may ask ``ssh -G``, so it blocks for some milliseconds.

    Raises:
        AuthenticationRefused: the connection's ssh_config can't be read.
    """
    if settings.ssh_config is not None:
        from headnode.ssh.config_file import route_by_config  # noqa: PLC0415 - needs this module

        return route_by_config(settings)
    host = replace(_host(settings), proxy_command=_proxy_command(settings))
    return (*(_jump(settings, jump, host) for jump in settings.jump), host)


def connection_hop(settings: SSHSettings, *, host: str, port: int, username: str, jump: bool = False) -> Hop:
    """Return a hop with what holds for the whole connection, without keys."""
    role = "jump host of connection" if jump else "connection"
    return Hop(
        where=f"{username}@{host}:{port} ({role} {settings.conn_id!r})",
        host=host,
        port=port,
        username=username,
        known_name=host,
        is_jump_host=jump,
        known_hosts=(settings.known_hosts or "~/.ssh/known_hosts",),
        ciphers=settings.ciphers,
        macs=settings.macs,
        disabled_algorithms=settings.disabled_algorithms,
        totp_period_seconds=settings.totp_period_seconds,
        compress=settings.compress,
        connect_timeout_seconds=settings.connect_timeout_seconds,
        keepalive_seconds=settings.keepalive_seconds,
    )


def own_identities(settings: SSHSettings) -> tuple[Identity, ...]:
    """Return the key that the connection itself names, if it names one."""
    if settings.private_key is None and settings.key_file is None:
        return ()
    return (
        Identity(
            key_file=settings.key_file if settings.private_key is None else None,
            key=settings.private_key,
            passphrase=settings.private_key_passphrase,
            certificate_file=settings.certificate_file,
            certificate=settings.certificate,
        ),
    )


def _host(settings: SSHSettings) -> Hop:
    hop = connection_hop(settings, host=settings.host, port=settings.port, username=settings.username)
    identities = own_identities(settings)
    agent, named = _agent(settings)
    agent_keys = None
    if settings.identities_only:
        agent_keys = (settings.key_file,) if settings.key_file else ()
    if agent and settings.key_file and settings.key_file.endswith(".pub"):
        identities, agent_keys = (), (settings.key_file,)  # the agent has the key; the file says which one it is
    if not identities and not named and settings.look_for_keys:
        identities = tuple(Identity(key_file=path, optional=True) for path in _DEFAULT_KEYS)
    return replace(
        hop,
        host_key=settings.host_key,
        identities=identities,
        agent_path=agent,
        agent_named=named,
        agent_keys=agent_keys,
        password=settings.password,
        totp_secret=settings.totp_secret,
    )


def _agent(settings: SSHSettings) -> tuple[str | None, bool]:
    """Return the agent's socket, and whether the connection names it."""
    if settings.agent_path is not None:
        return (None, False) if settings.agent_path.lower() == "none" else (settings.agent_path, True)
    if settings.key_file is None and settings.private_key is None and settings.look_for_keys:
        return os.environ.get("SSH_AUTH_SOCK") or None, False
    return None, False


def _jump(settings: SSHSettings, jump: JumpHost, host: Hop) -> Hop:
    hop = connection_hop(
        settings, host=jump.host, port=jump.port, username=jump.username or settings.username, jump=True
    )
    identities = host.identities
    if jump.key_file is not None:
        identities = (
            Identity(
                key_file=jump.key_file,
                passphrase=settings.private_key_passphrase,
                certificate_file=jump.certificate_file,
            ),
        )
    elif jump.password is not None:
        identities = ()
    return replace(
        hop,
        host_key=jump.host_key,
        identities=identities,
        agent_path=host.agent_path,
        agent_named=host.agent_named,
        agent_keys=host.agent_keys,
        password=jump.password,
        totp_secret=jump.totp_secret,
    )


def _proxy_command(settings: SSHSettings) -> str | None:
    if settings.host_proxy_cmd is None:
        return None
    tokens = {"h": settings.host, "n": settings.host, "p": str(settings.port), "r": settings.username}
    return expanded(settings.host_proxy_cmd, tokens)


def expanded(text: str, tokens: Mapping[str, str]) -> str:
    """Return the text with its %-tokens filled in; those that are not known stay as they are."""
    return re.sub(r"%(.)", lambda match: {**tokens, "%": "%"}.get(match[1], match[0]), text)


def unusable_config(settings: SSHSettings, problem: str) -> AuthenticationRefused:
    """Return the error for an ssh_config that does not lead anywhere."""
    return AuthenticationRefused(
        f"no way to {settings.host} (connection {settings.conn_id!r}) by {settings.ssh_config}: {problem}. Correct the"
        " file, or the ssh_config extra of the Airflow connection"
    )
