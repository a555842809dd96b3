"""Why a login failed, in one sentence each, the same from both adapters: what happened, where, and what to do."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterable, Sequence
from typing import Final

from headnode.errors import AuthenticationRefused, CredentialExpired, HostKeyRefused, HostUnreachable, TransportError
from headnode.ssh.credentials import Offer
from headnode.ssh.failover import refusal
from headnode.ssh.host_keys import fingerprint
from headnode.ssh.interactive import refused_answer
from headnode.ssh.known_hosts import KnownKeys
from headnode.ssh.route import Hop

_PROBE_SECONDS: Final = 3.0
_SHOWN: Final = 120


def host_key_refused(hop: Hop, shown: str | None, known: KnownKeys) -> HostKeyRefused:
    """Return the error for a host that shows ``shown`` (``<type> <base64>``), where ``known`` is on record."""
    now = f"it shows {_named(shown)}" if shown else "it shows none that is known"
    remedy = (
        f"`ssh-keyscan -p {hop.port} {hop.host}` prints the host's keys; compare them with what the site publishes,"
        " then put '<type> <key>' into the connection's host_key extra, or the line into ~/.ssh/known_hosts of the"
        " user who runs Airflow"
    )
    if not known.keys and not known.authorities:
        error = HostKeyRefused(
            f"the host key of {hop.where} is not known: {now}, and {known.source} has none for"
            f" {hop.name_in_known_hosts}. {remedy}."
        )
    else:
        before = " or ".join(_named(key) for key in known.keys) or "an authority's"
        error = HostKeyRefused(
            f"the host key of {hop.where} is not the known one: {now}, but {known.source} says {before}. Either the"
            " site has changed its key, which its news will say, or somebody stands between; nothing was sent. If the"
            f" site has changed it, {remedy}, in place of the old one."
        )
    error.shown, error.known, error.source = shown, known.keys, known.source
    error.known_as, error.is_jump_host = hop.name_in_known_hosts, hop.is_jump_host
    return error


def refused(
    hop: Hop, offers: Sequence[Offer], *, agent_keys: int, asked: str | None, banner: str, renewable: bool
) -> TransportError:
    """Return the error for a host that took nothing of what it was offered.

    ``asked`` is what the host asked for and was given (``code`` or ``password``). ``renewable`` says that the
    connection has a way to renew its credentials.
    """
    offered = [_described(offer) for offer in offers]
    if agent_keys:
        offered.append(f"{agent_keys} key{'s' if agent_keys > 1 else ''} of the SSH agent")
    if asked is None and hop.password is not None:
        offered.append("the password")
    what = f"it does not take {', '.join(offered)}" if offered else "it was offered no key and no password"
    error: TransportError = refused_answer(hop.where, asked) if asked else refusal(hop.where, what, banner)
    if not isinstance(error, AuthenticationRefused) or asked:
        return error
    over = [each.certificate for each in offers if each.certificate and each.certificate.may_be_over(time.time())]
    if not over and not renewable:
        return error
    end = f" (valid until {over[0].end})" if over else ""
    expired = CredentialExpired(
        f"{hop.where} refused the login: {what}{end}. Its time seems to be over; renew it as the site says, and"
        " headnode goes on by itself as soon as the new one is there."
    )
    expired.by_host = True
    return expired


def no_common_algorithm(hop: Hop, error: str, known: KnownKeys, *, sure: bool = True) -> HostUnreachable:
    """Return the error for a host with which no algorithm is shared; not ``sure`` where it ended the connection so."""
    old = ""
    if any(key.startswith("ssh-rsa ") for key in known.keys):
        old = " A server that signs only with ssh-rsa (SHA-1) is refused, as OpenSSH does since 8.8."
    problem = "it and this machine have no algorithm in common"
    if not sure:
        problem = "it ended the connection when algorithms were to be agreed upon; there may be none in common"
    return HostUnreachable(
        f"{hop.where} can't be reached: {problem} ({error[:600]}).{old} Check"
        " ciphers, macs and disabled_algorithms of the Airflow connection."
    )


def unknown_algorithms(hop: Hop, kind: str, names: Iterable[str], usable: Iterable[str]) -> AuthenticationRefused:
    """Return the error for a connection that allows no algorithm that there is."""
    return AuthenticationRefused(
        f"no login at {hop.where}: of the {kind} that the connection allows ({', '.join(names)}) none can be used here;"
        f" these can: {', '.join(usable)}"
    )


def unreachable(hop: Hop, error: BaseException, *, probe: bool) -> HostUnreachable:
    """Return the error for a host with which no SSH connection came about. With ``probe`` it is asked what it speaks.

    That takes up to 3 s.
    """
    said = _greeting(hop) if probe and hop.proxy_command is None else None
    if said is not None and not said.startswith("SSH-") and "\nSSH-" not in said:
        return HostUnreachable(
            f"{hop.where} can't be reached: what listens there speaks no SSH; it answers"
            f" {said.splitlines()[0][:_SHOWN]!r}. Check Host and Port of the Airflow connection."
        )
    problem = str(error) or type(error).__name__
    if isinstance(error, TimeoutError) and not str(error):
        problem = f"no answer within {hop.connect_timeout_seconds:g} s"
    return HostUnreachable(
        f"{hop.where} can't be reached: {problem}. Check Host and Port of the Airflow"
        " connection, and whether the login node is up."
    )


def _greeting(hop: Hop) -> str | None:
    """Return what the host says to an SSH client, None where it says nothing or can't be reached."""
    with contextlib.suppress(OSError), socket.create_connection((hop.host, hop.port), _PROBE_SECONDS) as connection:
        connection.settimeout(_PROBE_SECONDS)
        connection.sendall(b"SSH-2.0-headnode\r\n\r\n")
        return connection.recv(4096).decode("utf-8", "replace").strip() or None
    return None


def _named(key: str) -> str:
    return f"{key.split(maxsplit=1)[0]} {fingerprint(key)}"


def _described(offer: Offer) -> str:
    if offer.certificate is None:
        return offer.name
    names = ", ".join(offer.certificate.principals) or "no name"
    return f"{offer.name} (for {names}, valid until {offer.certificate.end})"
