"""A login with paramiko: over all hops of the route, with all that each of them asks for.

The login of the SSH provider's own hook can do neither certificates nor codes nor jump hosts, and sets ciphers when
they have been agreed upon already; the connection's extras mean here what they mean there.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from io import StringIO
from typing import Any, Final

import paramiko
from paramiko.agent import AgentKey

from headnode.errors import AuthenticationRefused, TransportError
from headnode.ssh import login_errors
from headnode.ssh.credentials import Offer, read_agent, read_offers
from headnode.ssh.interactive import Codes, Interview
from headnode.ssh.known_hosts import KnownKeys, known_keys
from headnode.ssh.ledger import ledger_root
from headnode.ssh.route import Hop, route_of
from headnode.ssh.settings import SSHSettings

# paramiko writes each failure, which becomes an error here, into the log as well, with the lines of its own stack.
_QUIET: Final = "headnode.ssh.paramiko"
logging.getLogger(_QUIET).setLevel(logging.CRITICAL)
_KEY_CLASSES: Final = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)


class LoggedIn(paramiko.SSHClient):
    """A client whose connection is there already; closing it ends those to jump hosts, too."""

    def __init__(self, transports: Sequence[paramiko.Transport]) -> None:
        super().__init__()
        self._transport = transports[-1]
        self._below = transports[:-1]

    def close(self) -> None:
        """End all connections."""
        super().close()
        for transport in reversed(self._below):
            transport.close()


def open_client(settings: SSHSettings) -> paramiko.SSHClient:
    """Log in, and return the connection.

    Raises:
        TransportError: there is no login; the message names the hop that failed.
    """
    made: list[paramiko.Transport] = []
    try:
        for hop in route_of(settings):
            made.append(_Login(hop, settings, over=made[-1] if made else None).transport())
    except BaseException:
        for transport in reversed(made):
            transport.close()
        raise
    return LoggedIn(made)


class _Login:
    """One login at one host."""

    def __init__(self, hop: Hop, settings: SSHSettings, *, over: paramiko.Transport | None) -> None:
        self._hop = hop
        self._settings = settings
        self._over = over
        self._offers: list[Offer] = []
        self._agent: paramiko.Agent | None = None
        self._keys: list[paramiko.PKey] = []
        self._deadline = 0.0
        self._banner = b""
        self._known = KnownKeys(source="no file")
        self._interview = Interview(hop.where, password=hop.password, code=_code_source(hop, settings))

    def transport(self) -> paramiko.Transport:
        hop = self._hop
        self._offers = read_offers(hop)
        self._keys = [_key(offer) for offer in self._offers] + self._agent_keys()
        self._known = known = known_keys(hop)
        transport: paramiko.Transport | None = None
        try:
            transport = self._reached(known)
            self._check_host_key(transport, known)
            self._authenticate(transport)
            transport.set_keepalive(max(1, round(hop.keepalive_seconds)))
        except BaseException as error:
            if transport is not None:
                transport.close()
            if isinstance(error, TransportError) or not isinstance(error, Exception):
                raise
            raise self._failure(transport, error) from error
        finally:
            if self._agent is not None:
                self._agent.close()
        return transport

    def _reached(self, known: KnownKeys) -> paramiko.Transport:
        hop = self._hop
        self._deadline = time.monotonic() + hop.connect_timeout_seconds
        disabled = {kind: list(names) for kind, names in hop.disabled_algorithms}
        transport = paramiko.Transport(self._socket(), disabled_algorithms=disabled or None)
        try:
            transport.set_log_channel(_QUIET)
            transport.use_compression(hop.compress)
            transport.banner_timeout = transport.handshake_timeout = hop.connect_timeout_seconds
            # A code may have to be waited for, since one that was used can't be used again.
            transport.auth_timeout = hop.connect_timeout_seconds + 2 * hop.totp_period_seconds
            _limit_algorithms(transport, hop, known)
            transport.start_client(timeout=hop.connect_timeout_seconds)
        except BaseException:
            transport.close()
            raise
        return transport

    def _socket(self) -> Any:
        hop = self._hop
        if self._over is not None:
            return self._over.open_channel(
                "direct-tcpip", (hop.host, hop.port), ("127.0.0.1", 0), timeout=hop.connect_timeout_seconds
            )
        if hop.proxy_command is not None:
            return paramiko.ProxyCommand(hop.proxy_command)
        return socket.create_connection((hop.host, hop.port), hop.connect_timeout_seconds)

    def _check_host_key(self, transport: paramiko.Transport, known: KnownKeys) -> None:
        key = transport.get_remote_server_key()
        shown = f"{key.get_name()} {key.get_base64()}"
        if shown not in known.keys or shown in known.revoked:
            raise login_errors.host_key_refused(self._hop, shown, known)

    def _authenticate(self, transport: paramiko.Transport) -> None:
        """Go on with what the host still wants, as long as it takes what it is given."""
        hop, tried = self._hop, set[str]()
        try:
            transport.auth_none(hop.username)
        except paramiko.BadAuthenticationType as error:
            left = error.allowed_types
            # Shown once; paramiko forgets it with the next attempt.
            self._banner = transport.get_banner() or b""
        else:
            return
        ways: dict[str, Callable[[paramiko.Transport], list[str]]] = {
            "publickey": self._by_key,
            "keyboard-interactive": self._by_answers,
            "password": self._by_password,
        }
        while left:
            way = next((each for each in ways if each in left and each not in tried), None)
            if way is None or (way == "keyboard-interactive" and self._has_nothing_left(tried)):
                raise self._refused()
            tried.add(way)
            if way == "password" and "keyboard-interactive" in tried and self._interview.last_kind:
                continue  # it was given in an answer already, and refused
            try:
                left = ways[way](transport)
            except paramiko.BadAuthenticationType as error:
                left = error.allowed_types
            except paramiko.AuthenticationException:
                if not transport.is_active():
                    raise
            else:
                tried.clear()  # what counts for a part is not asked for again

    def _has_nothing_left(self, tried: set[str]) -> bool:
        """Whether keys were refused, so that questions would only be about what the connection does not have."""
        return "publickey" in tried and self._hop.password is None and self._hop.totp_secret is None

    def _by_key(self, transport: paramiko.Transport) -> list[str]:
        for key in self._keys:
            with contextlib.suppress(paramiko.AuthenticationException):
                return transport.auth_publickey(self._hop.username, key)
        raise paramiko.AuthenticationException("no key was taken")

    def _by_answers(self, transport: paramiko.Transport) -> list[str]:
        problem: list[AuthenticationRefused] = []

        def answer(title: str, instructions: str, prompts: list[tuple[str, bool]]) -> list[str]:  # noqa: ARG001
            try:
                return self._interview.answers([prompt for prompt, _ in prompts])
            except AuthenticationRefused as error:
                problem.append(error)
                transport.close()  # an empty answer would count as an attempt that failed
                return []

        try:
            return transport.auth_interactive(self._hop.username, answer)
        except (paramiko.SSHException, EOFError):
            if problem:
                raise problem[0] from None
            raise

    def _by_password(self, transport: paramiko.Transport) -> list[str]:
        if self._hop.password is None:
            raise paramiko.AuthenticationException("there is no password")
        return transport.auth_password(self._hop.username, self._hop.password, fallback=False)

    def _agent_keys(self) -> list[paramiko.PKey]:
        wanted = {key.blob for key in read_agent(self._hop)}
        if not wanted:
            return []
        self._agent = _AgentAt(str(self._hop.agent_path))
        held = [_certified(key) for key in self._agent.get_keys() if key.blob in wanted]
        return sorted(held, key=lambda key: key.public_blob is None)  # certificates first

    def _refused(self) -> TransportError:
        return login_errors.refused(
            self._hop,
            self._offers,
            agent_keys=len(self._keys) - len(self._offers),
            asked=self._interview.last_kind,
            banner=self._banner.decode("utf-8", "replace"),
            renewable=bool(self._settings.credential_command),
        )

    def _failure(self, transport: paramiko.Transport | None, error: Exception) -> TransportError:
        if isinstance(error, paramiko.AuthenticationException) and transport is not None:
            return self._refused()
        if isinstance(error, paramiko.ssh_exception.IncompatiblePeer) or "no acceptable" in str(error).lower():
            return login_errors.no_common_algorithm(self._hop, str(error), self._known)
        refused = isinstance(error, OSError) and not isinstance(error, TimeoutError)
        probe = self._over is None and not refused and transport is None
        return login_errors.unreachable(self._hop, error, probe=probe)


def _code_source(hop: Hop, settings: SSHSettings) -> Callable[[], str] | None:
    if hop.totp_secret is None:
        return None
    directory = ledger_root(settings.budget.directory if settings.budget is not None else None)
    return Codes(hop.totp_secret, period_seconds=hop.totp_period_seconds, directory=directory).wait


def _key(offer: Offer) -> paramiko.PKey:
    for kind in _KEY_CLASSES:
        with contextlib.suppress(paramiko.SSHException, ValueError):
            key: paramiko.PKey = kind.from_private_key(StringIO(offer.key))
            if offer.certificate_text is not None:
                key.load_certificate(offer.certificate_text)
            return key
    raise AuthenticationRefused(f"{offer.name} can't be used by paramiko")


class _AgentAt(paramiko.Agent):
    """The agent at a socket; paramiko's own looks at the environment alone."""

    def __init__(self, path: str) -> None:
        super(paramiko.Agent, self).__init__()
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.connect(path)
        self._connect(connection)  # type: ignore[attr-defined]  # the stubs leave it out


def _certified(key: AgentKey) -> paramiko.PKey:
    """Let paramiko name the certificate that the agent has, not the key that it certifies."""
    if "-cert-v01@" in key.get_name():
        key.public_blob = paramiko.pkey.PublicBlob(key.get_name(), key.blob)  # type: ignore[assignment]  # the stubs say None
    return key


def _limit_algorithms(transport: paramiko.Transport, hop: Hop, known: KnownKeys) -> None:
    options = transport.get_security_options()
    types = {key.split()[0] for key in known.keys}
    keys = hop.host_key_algorithms or tuple(options.key_types)
    # Kinds that are not on record come last: a host that has no other is refused by the key that it shows.
    keys = tuple(sorted(keys, key=lambda name: _type_of(name) not in types))
    for field, kind, names in (
        ("ciphers", "ciphers", hop.ciphers),
        ("digests", "macs", hop.macs),
        ("kex", "key exchanges", hop.kex),
        ("key_types", "host key algorithms", keys),
    ):
        usable = getattr(options, field)
        if names:
            setattr(options, field, _common(hop, kind, names, usable))
    if hop.pubkey_algorithms:
        allowed = _common(hop, "public key algorithms", hop.pubkey_algorithms, transport.preferred_pubkeys)
        transport._preferred_pubkeys = allowed  # type: ignore[attr-defined]  # noqa: SLF001 - there is no other way


def _common(hop: Hop, kind: str, names: Iterable[str], usable: Sequence[str]) -> tuple[str, ...]:
    common = tuple(name for name in names if name in usable)
    if not common:
        raise login_errors.unknown_algorithms(hop, kind, names, usable)
    return common


def _type_of(algorithm: str) -> str:
    return "ssh-rsa" if algorithm.startswith("rsa-sha2-") else algorithm
