"""Which of a cluster's login nodes is used: the first that works, and then that one until it fails."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from typing import Final

from headnode.errors import AuthenticationRefused, HostUnreachable, TransportError
from headnode.ssh.ledger import HostLedger
from headnode.ssh.port import Answer
from headnode.ssh.settings import SSHSettings

# What login nodes say that are closed for a while, and that have nothing against the credentials: shutdown(8) and
# systemd-logind write the first ("System is going down"), pam_nologin(8) and sshd show what a site put in its place.
_CLOSED: Final = re.compile(
    r"going down|shut(?:ting)? ?down|booting up|nologin|unprivileged users are not permitted to log in"
    r"|(?:is|are|system|down|closed|unavailable|disabled|stopped|suspended) (?:\w+ ){0,4}(?:for|in|during|due to) "
    r"(?:\w+ ){0,4}maintenance"
    r"|maintenance (?:\w+ ){0,4}(?:in progress|under ?way|ongoing|mode)|logins? (?:\w+ ){0,3}(?:disabled|closed)"
    r"|(?:currently|temporarily) (?:\w+ ){0,2}(?:unavailable|not available|closed|down|offline)",
    re.IGNORECASE,
)


# With this status sshd ends every session while nologin(5) lets nobody in but root (session.c, do_nologin).
_NOLOGIN_STATUS: Final = 254
CHECK_CREDENTIALS: Final = (
    "Check the user name and the key (key_file or private_key, and its passphrase) in the Airflow connection, and that"
    " the site knows the public key."
)


def says_closed(text: str) -> bool:
    """Whether a login node's words mean that it is closed at present, to everybody."""
    return _CLOSED.search(" ".join(text.split())) is not None


def closed_to_all(answer: Answer) -> str | None:
    """Return what the host said in place of running a command, where it lets nobody in at present."""
    if answer.exit_status != _NOLOGIN_STATUS or answer.stdout:
        return None
    said = answer.stderr.decode("utf-8", "replace").strip()[-300:]
    return said if says_closed(said) else None


def refusal(where: str, error: str, banner: str) -> TransportError:
    """Return the error for a login that the host refused, after it had shown the banner.

    With the banner of a closed host it is no matter of the credentials: pam_nologin(8) refuses the right ones, too.
    """
    refused: AuthenticationRefused | HostUnreachable
    said = " ".join(banner.split())
    if says_closed(said):
        refused = HostUnreachable(f"{where} lets nobody in at present: {said[-300:]!r} ({error}).")
    else:
        refused = AuthenticationRefused(f"{where} refused the login: {error}. {CHECK_CREDENTIALS}")
    refused.by_host = True
    return refused


def in_order(hosts: tuple[str, ...], current: str | None) -> tuple[str, ...]:
    """Return the hosts in the order to try them: the one that worked last first, then those after it, round."""
    at = hosts.index(current) if current in hosts else 0
    return hosts[at:] + hosts[:at]


def at_host(settings: SSHSettings, host: str) -> SSHSettings:
    """Return the settings that lead to one of the login nodes."""
    return settings if host == settings.host else dataclasses.replace(settings, host=host)


def all_unreachable(settings: SSHSettings, failures: list[HostUnreachable]) -> HostUnreachable:
    """Return the error for a login that no host has taken."""
    told = " ".join(f"({number}) {failure}" for number, failure in enumerate(failures, 1))
    return HostUnreachable(f"none of the {len(failures)} hosts of connection {settings.conn_id!r} is there: {told}")


class CurrentHost:
    """Which host of a connection worked last, for all processes that share a ledger; else for this one."""

    def __init__(self, settings: SSHSettings) -> None:
        self._key = hashlib.sha256(repr((settings.hosts, settings.port, settings.username)).encode()).hexdigest()[:40]
        self._hosts = settings.hosts or (settings.host,)
        self._budget = settings.budget

    def hosts(self) -> tuple[str, ...]:
        """Return all hosts in the order to try them."""
        if len(self._hosts) == 1:
            return self._hosts
        return in_order(self._hosts, self._read())

    def works(self, host: str) -> None:
        """Note that the host took a login."""
        if len(self._hosts) > 1 and self._read() != host:
            self._write(host)

    def fails(self, host: str) -> None:
        """Note that the host took a login, but is of no use: the next one's turn has come."""
        if len(self._hosts) > 1 and self.hosts()[0] == host:
            self._write(in_order(self._hosts, host)[1])

    def _write(self, host: str) -> None:
        _HERE[self._key] = host
        if self._budget is not None:
            ledger = self._ledger()
            with ledger.locked():
                ledger.write_text("current", host)

    def _read(self) -> str | None:
        if self._budget is None:
            return _HERE.get(self._key)
        return self._ledger().read_text("current")

    def _ledger(self) -> HostLedger:
        assert self._budget is not None  # noqa: S101 - for the type checker
        return HostLedger(self._budget, f"hosts-{self._key}", 0)


_HERE: Final[dict[str, str]] = {}
