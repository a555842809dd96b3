"""Remembers what credentials a host has refused, so that no process of this machine offers them again and again.

Centres ban clients that go on failing. What is remembered is a digest of all that was offered: as soon as the key, the
certificate, the agent's keys or the connection changes, the next login is made at once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import socket
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from headnode import errors
from headnode.errors import AuthenticationRefused, HostKeyRefused, HostUnreachable, TransportError
from headnode.ssh.ledger import HostLedger
from headnode.ssh.route import Hop, route_of
from headnode.ssh.settings import SSHSettings

# A host in maintenance, or one whose key is not the known one, may be right again soon; no one is banned for asking.
CLOSED_RETRY_SECONDS: Final = 300.0
HOST_KEY_RETRY_SECONDS: Final = 60.0
_LARGEST_FILE: Final = 1024 * 1024
_NOT_OFFERED: Final = frozenset({"where", "compress", "connect_timeout_seconds", "keepalive_seconds"})
_AGENT_LIST: Final = b"\x00\x00\x00\x01\x0b"  # SSH_AGENTC_REQUEST_IDENTITIES
_AGENT_SECONDS: Final = 2.0


class RefusedLogins:
    """What one host has said to one set of credentials."""

    def __init__(self, ledger: HostLedger, digest: str) -> None:
        self.digest = digest
        self._ledger = ledger
        self._name = f"credentials-{digest}.json"

    @property
    def proven(self) -> bool:
        """Whether the last login with them was successful."""
        return self._read().get("proven") is True

    def check(self, *, claim: bool = False) -> None:
        """Raise what the host said to these credentials, unless it may be asked again.

        With ``claim`` nobody else is let through from now on, until the outcome is known or the pause is over again.

        Raises:
            TransportError: of the class that was raised when the login was refused.
        """
        with self._ledger.locked():
            found = self._read()
            if found.get("class") is None:
                return
            now = self._ledger.clock()
            kind = getattr(errors, str(found["class"]), AuthenticationRefused)
            again = float(found["tried"]) + self._pause(kind)
            if float(found["tried"]) <= now < again:
                raise _refused_before(kind, found, again, now)
            if claim:
                self._ledger.write_text(self._name, json.dumps({**found, "tried": now}))

    def remember(self, error: TransportError) -> None:
        """Keep what the host has just said; an error that is no refusal of the host's is not kept."""
        if not is_refusal(error):
            return
        with self._ledger.locked():
            before, now = self._read(), self._ledger.clock()
            found = {
                "class": type(error).__name__,
                "message": str(error),
                "since": before.get("since", now),
                "tried": now,
                "attempts": int(before.get("attempts", 0)) + 1,
            }
            self._ledger.write_text(self._name, json.dumps(found))

    def share(self, failure: HostUnreachable) -> None:
        """Tell those who wait for their turn meanwhile that there was no way to the host."""
        with self._ledger.locked():
            told = {"at": self._ledger.clock(), "message": str(failure)}
            self._ledger.write_text(f"unreachable-{self.digest}.json", json.dumps(told))

    def check_reached(self, *, since: float) -> None:
        """Raise what another process has found since then: whoever waited for its turn need not find it out again.

        Raises:
            HostUnreachable: there was no way to the host.
        """
        told = self._read(f"unreachable-{self.digest}.json")
        if since < float(told.get("at", 0.0)) <= self._ledger.clock():
            raise HostUnreachable(str(told.get("message")))

    def forget(self) -> None:
        """Note that a login was successful."""
        if not self.proven:
            with self._ledger.locked():
                self._ledger.write_text(self._name, json.dumps({"proven": True}))
                self._ledger.sweep()

    def _read(self, name: str | None = None) -> dict[str, Any]:
        try:
            found = json.loads(self._ledger.read_text(name or self._name) or "{}")
            return found if isinstance(found, dict) else {}
        except ValueError:
            return {}

    def _pause(self, kind: type[TransportError]) -> float:
        longest = self._ledger.budget.refused_retry_seconds
        if issubclass(kind, HostKeyRefused):
            return min(longest, HOST_KEY_RETRY_SECONDS)
        return min(longest, CLOSED_RETRY_SECONDS) if issubclass(kind, HostUnreachable) else longest


def is_refusal(error: TransportError) -> bool:
    """Whether the host itself has refused, so that asking again would be hammering."""
    return isinstance(error, HostKeyRefused) or getattr(error, "by_host", False)


def _refused_before(kind: type[TransportError], found: dict[str, Any], again: float, now: float) -> TransportError:
    since = datetime.fromtimestamp(float(found["since"]), UTC)
    attempts = int(found.get("attempts", 1))
    times = "once" if attempts == 1 else f"{attempts} times"
    remedy = "The next attempt is made as soon as the key, the certificate or the connection is changed, or"
    if issubclass(kind, HostUnreachable):
        remedy = "The next attempt is made"
    refused = kind(
        f"{found['message']} (Refused {times} since {since:%Y-%m-%d %H:%M:%S} UTC and not tried again meanwhile, since"
        f" sites ban those who go on failing. {remedy} in {_minutes(again - now)}, or by `headnode check`.)"
    )
    if isinstance(refused, AuthenticationRefused | HostUnreachable):
        refused.by_host = True
    return refused


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds > 90 else f"{seconds:.0f} s"  # noqa: PLR2004 - read as minutes from there


def digest_of(settings: SSHSettings) -> str:
    """Return a digest of all that a login with the settings would offer now; see ``route_digest``."""
    return route_digest(route_of(settings))


def route_digest(hops: Sequence[Hop]) -> str:
    """Return a digest of all that a login would offer on the way: keys, certificates, passwords, the agent's keys.

    Two connections that lead to the same host in the same way have the same.
    """
    offered = hashlib.sha256()
    for hop in hops:
        fields = sorted({each.name for each in dataclasses.fields(hop)} - _NOT_OFFERED)
        for text in (text for name in fields for text in (name, *_texts(getattr(hop, name)))):
            offered.update(f"{text!r}\n".encode() + _content(text))
        for identity in hop.identities:
            offered.update(_content(f"{identity.key_file}-cert.pub"))
        offered.update(_agent_keys(hop.agent_path))
    # Slow to guess from, since a password may be short.
    return hashlib.scrypt(offered.digest(), salt=hops[-1].host.encode(), n=2**12, r=8, p=1).hex()[:40]


def _texts(value: Any) -> Iterator[str]:
    """Yield all that a field holds, within whatever it is."""
    if dataclasses.is_dataclass(value):
        for each in dataclasses.fields(value):
            yield f"{each.name}="
            yield from _texts(getattr(value, each.name))
    elif isinstance(value, tuple):
        for item in value:
            yield from _texts(item)
    else:
        yield str(value)


def _content(text: str) -> bytes:
    """Return a digest of the file's content where the text names one."""
    if not text.startswith(("/", "~", ".")) or "\n" in text or "\0" in text:
        return b""
    try:
        with Path(text).expanduser().open("rb") as file:
            return hashlib.sha256(file.read(_LARGEST_FILE)).digest()
    except (OSError, RuntimeError) as error:
        return type(error).__name__.encode()


def _agent_keys(place: str | None) -> bytes:
    """Return a digest of the keys that the SSH agent offers (draft-miller-ssh-agent, section 4.4)."""
    if not place:
        return b""
    answer = b""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as agent:  # an agent that is away has no keys
        agent.settimeout(_AGENT_SECONDS)
        agent.connect(str(Path(place).expanduser()))
        agent.sendall(_AGENT_LIST)
        while len(answer) < 4 or len(answer) < 4 + int.from_bytes(answer[:4], "big"):  # noqa: PLR2004 - its length
            piece = agent.recv(65536)
            if not piece:
                break
            answer += piece
    return hashlib.sha256(answer).digest()
