"""The way to a host as a configuration file of ssh says it, resolved by OpenSSH's own ``ssh -G``.

Include, Match, ProxyJump, aliases and the rest then mean exactly what they mean to ssh. Without the ssh_config extra no
such file is read: what a person writes into ~/.ssh/config for work by hand must not lead Airflow elsewhere.
"""

from __future__ import annotations

import getpass
import os
import re
import socket
import subprocess
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from headnode.ssh.route import Hop, Identity, connection_hop, expanded, own_identities, unusable_config
from headnode.ssh.settings import SSHSettings

_SECONDS: Final = 20.0
_MOST_HOPS: Final = 8
_JUMP: Final = re.compile(r"(?:ssh://)?(?:(?P<user>[^@]+)@)?(?P<host>\[[^\]]+\]|[^@:]+)(?::(?P<port>\d+))?/?")


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What of a host is given besides its alias."""

    alias: str
    user: str | None
    port: int | None


class _Answers:
    """The lines of ``ssh -G`` about one host."""

    def __init__(self, text: str) -> None:
        self._values: dict[str, list[str]] = defaultdict(list)
        for line in text.splitlines():
            name, _, value = line.strip().partition(" ")
            self._values[name.lower()].append(value)

    def one(self, name: str) -> str | None:
        value = next(iter(self._values[name]), None)
        return None if value in (None, "", "none") else value

    def raw(self, name: str) -> str | None:
        return next(iter(self._values[name]), None)

    def every(self, name: str) -> list[str]:
        return [value for value in self._values[name] if value and value != "none"]

    def names(self, name: str) -> tuple[str, ...]:
        return tuple((self.one(name) or "").split(",")) if self.one(name) else ()

    def yes(self, name: str) -> bool:
        return self.one(name) in ("yes", "true")


def route_by_config(settings: SSHSettings) -> tuple[Hop, ...]:
    """Return the hops to the alias that is the connection's host.

    Raises:
        AuthenticationRefused: the file can't be read, or leads nowhere.
    """
    given = _Asked(
        alias=settings.host,
        user=None if "User" in settings.config_decides else settings.username,
        port=None if "Port" in settings.config_decides else settings.port,
    )
    return _hops(settings, given, via=None, jump=False, depth=0)


def _hops(settings: SSHSettings, asked: _Asked, *, via: str | None, jump: bool, depth: int) -> tuple[Hop, ...]:
    if depth > _MOST_HOPS:
        raise unusable_config(settings, f"its ProxyJump leads over more than {_MOST_HOPS} hosts, or in a circle")
    answers = _ask(settings, asked)
    hop = _hop(settings, asked, answers, jump=jump)
    path = via if via is not None else answers.one("proxyjump")
    if path is None:
        return (hop,)
    # As ssh does it: the last one is reached over those before it, the first one as its own lines say.
    *before, last = path.split(",")
    match = _JUMP.fullmatch(last.strip())
    if match is None:
        raise unusable_config(settings, f"its ProxyJump {path!r} can't be read")
    reached = _Asked(
        alias=match["host"].strip("[]"), user=match["user"], port=int(match["port"]) if match["port"] else None
    )
    way = _hops(settings, reached, via=",".join(before) or None, jump=True, depth=depth + 1)
    return (*way, replace(hop, proxy_command=None))


def _ask(settings: SSHSettings, asked: _Asked) -> _Answers:
    path = Path(str(settings.ssh_config)).expanduser()
    if not path.is_file():
        raise unusable_config(settings, f"there is no such file on this machine ({socket.gethostname()})")
    command = ["ssh", "-G", "-F", str(path)]
    command += ["-l", asked.user] if asked.user else []
    command += ["-p", str(asked.port)] if asked.port else []
    try:
        done = subprocess.run(
            [*command, "--", asked.alias],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_SECONDS,
        )
    except FileNotFoundError as error:
        raise unusable_config(settings, "OpenSSH's client, which reads it, is not installed here") from error
    except subprocess.TimeoutExpired as error:
        raise unusable_config(settings, f"`ssh -G` did not answer within {_SECONDS:g} s") from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise unusable_config(settings, f"ssh says {lines[0] if lines else 'nothing'!r}")
    return _Answers(done.stdout)


def _hop(settings: SSHSettings, asked: _Asked, answers: _Answers, *, jump: bool) -> Hop:
    host = answers.one("hostname") or asked.alias
    port = int(answers.one("port") or 22)
    username = answers.one("user") or settings.username
    hop = connection_hop(settings, host=host, port=port, username=username, jump=jump)
    tokens = {
        "h": host,
        "n": asked.alias,
        "p": str(port),
        "r": username,
        "u": getpass.getuser(),
        "d": str(Path.home()),
        "k": answers.one("hostkeyalias") or host,
        "l": socket.gethostname(),
        "L": socket.gethostname().partition(".")[0],
    }
    alias = answers.one("hostkeyalias")
    proxy = answers.one("proxycommand")
    only = answers.yes("identitiesonly") or settings.identities_only
    identities, files = _identities(settings, answers, tokens)
    agent, named = _agent(settings, answers)
    known = [path for name in ("userknownhostsfile", "globalknownhostsfile") for path in _paths(answers.one(name))]
    return replace(
        hop,
        # With HostKeyAlias, ssh looks for the bare alias whatever the port is.
        known_name=alias or host,
        known_without_port=alias is not None,
        host_key=None if jump else settings.host_key,
        known_hosts=(settings.known_hosts,)
        if settings.known_hosts
        else tuple(expanded(each, tokens) for each in known),
        identities=identities,
        agent_path=agent,
        agent_named=named,
        agent_keys=files if only else None,
        password=None if jump else settings.password,
        totp_secret=None if jump else settings.totp_secret,
        ciphers=settings.ciphers or answers.names("ciphers"),
        macs=settings.macs or answers.names("macs"),
        kex=answers.names("kexalgorithms"),
        host_key_algorithms=answers.names("hostkeyalgorithms"),
        pubkey_algorithms=answers.names("pubkeyacceptedalgorithms"),
        proxy_command=expanded(proxy, tokens) if proxy else None,
        compress=answers.yes("compression"),
    )


def _identities(
    settings: SSHSettings, answers: _Answers, tokens: dict[str, str]
) -> tuple[tuple[Identity, ...], tuple[str, ...]]:
    """Return the keys to offer, and the files that say which keys of the agent are meant."""
    files = [expanded(path, tokens) for path in answers.every("identityfile")]
    certificates = [expanded(path, tokens) for path in answers.every("certificatefile")]
    if own := own_identities(settings):
        return own, tuple(filter(None, [settings.key_file]))
    identities = []
    for path in files:
        # A certificate that is named belongs to whichever key it certifies; the one beside a key is found by itself.
        beside = [certificate for certificate in certificates if _certifies(certificate, path)]
        identities.append(
            Identity(
                key_file=path,
                passphrase=settings.private_key_passphrase,
                certificate_file=beside[0] if beside else None,
                optional=True,
            )
        )
    return tuple(identities), tuple(files)


def _certifies(certificate_file: str, key_file: str) -> bool:
    from headnode.ssh.credentials import read_certificate  # noqa: PLC0415 - needs the modules above this one
    from headnode.ssh.private_keys import public_blob  # noqa: PLC0415

    certificate = read_certificate(certificate_file)
    return certificate is not None and certificate.public_key == public_blob(key_file)


def _agent(settings: SSHSettings, answers: _Answers) -> tuple[str | None, bool]:
    if settings.agent_path is not None:
        return (None, False) if settings.agent_path.lower() == "none" else (settings.agent_path, True)
    given = answers.raw("identityagent") or "SSH_AUTH_SOCK"
    if given == "none":
        return None, False
    if given == "SSH_AUTH_SOCK":
        return os.environ.get("SSH_AUTH_SOCK") or None, False
    return (os.environ.get(given[1:]) if given.startswith("$") else given), True


def _paths(text: str | None) -> list[str]:
    return text.split() if text else []  # ssh -G prints them without quotes
