"""The keys by which hosts are known: what a host shows to anybody, what is on record, how a person accepts it.

Nothing here accepts a key: whoever compared the fingerprint with what the site publishes stores it.
"""

from __future__ import annotations

import asyncio
import base64
import getpass
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from headnode.errors import HostUnreachable
from headnode.ssh.settings import SSHSettings

SSH_PORT: Final = 22


def fingerprint(key: str) -> str:
    """Return the SHA-256 fingerprint of ``key``, ``<type> <base64>``, as ``ssh-keygen -l`` prints it.

    Raises:
        ValueError: it is no such key.
    """
    words = key.split()
    try:
        data = base64.b64decode(words[1], validate=True)
    except (IndexError, ValueError) as error:
        raise ValueError(f"{key[:80]!r} is no '<type> <base64>'") from error
    return "SHA256:" + base64.b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")


def name_in_known_hosts(host: str, port: int) -> str:
    """Return what the line of a known_hosts file begins with (sshd.8)."""
    return host if port == SSH_PORT else f"[{host}]:{port}"


@dataclass(frozen=True, kw_only=True)
class HostKeyNews:
    """A host whose key is not the known one. Keys are ``<type> <base64>``; ``known`` is empty for a new host."""

    host: str
    port: int
    shown: str
    known: tuple[str, ...] = ()
    known_from: str = ""

    @property
    def value(self) -> str:
        """What was seen, in words."""
        now = f"{self.shown.split()[0]} {fingerprint(self.shown)}"
        if not self.known:
            return f"{self.host}:{self.port} is not known yet; it shows {now}"
        before = " or ".join(f"{key.split()[0]} {fingerprint(key)}" for key in self.known)
        return f"{self.host}:{self.port} shows {now}, but {self.known_from} says {before}"

    @property
    def remedy(self) -> str:
        """What a person is to do, with the text to copy."""
        line = f"{name_in_known_hosts(self.host, self.port)} {self.shown}"
        store = (
            f"set the connection's host_key to `{self.shown}`, or add the line `{line}` to ~/.ssh/known_hosts of"
            f" {getpass.getuser()} on each machine that runs Airflow"
        )
        if not self.known:
            return f"Compare the fingerprint with the one that the site publishes. Where they are the same, {store}"
        return (
            "Either the site has changed its key, which its news will say, or somebody stands between; do not log in"
            f" before you know. Where the site publishes the new fingerprint, {store}, and remove the old key"
        )


async def fetch_host_key(settings: SSHSettings) -> str:
    """Return the key that the host shows to anybody, ``<type> <base64>``, without logging in.

    Raises:
        HostUnreachable: it showed none.
    """
    import asyncssh  # noqa: PLC0415 - half a second, for those who have use for it

    options: dict[str, Any] = {"config": [], "client_version": "headnode"}
    if settings.host_proxy_cmd is not None:
        options["proxy_command"] = settings.host_proxy_cmd
    try:
        async with asyncio.timeout(settings.connect_timeout_seconds):
            key = await asyncssh.get_server_host_key(settings.host, settings.port, **options)
    except (TimeoutError, OSError, asyncssh.Error) as error:
        raise HostUnreachable(
            f"{settings.host}:{settings.port} shows no host key: {error or type(error).__name__}"
        ) from error
    if key is None:
        raise HostUnreachable(f"{settings.host}:{settings.port} shows no host key")
    return " ".join(key.export_public_key().decode().split()[:2])


def known_host_keys(settings: SSHSettings) -> tuple[tuple[str, ...], str]:
    """Return the keys on record for the host, ``<type> <base64>``, and in words where they are.

    Raises:
        OSError: the known_hosts file can't be read.
    """
    import asyncssh  # noqa: PLC0415 - as above

    if settings.host_key is not None:
        return (settings.host_key,), "the connection's host_key"
    path = Path(settings.known_hosts or "~/.ssh/known_hosts").expanduser()
    if not path.exists():
        return (), str(path)
    found = asyncssh.import_known_hosts(path.read_text(errors="replace")).match(settings.host, "", settings.port)
    keys = [" ".join(key.export_public_key().decode().split()[:2]) for key in found[0]]
    return tuple(dict.fromkeys(keys)), str(path)


async def host_key_news(settings: SSHSettings) -> list[HostKeyNews]:
    """Return what is new about the keys of the connection's hosts.

    Raises:
        HostUnreachable: none of them showed a key.
    """
    news = []
    unreachable: HostUnreachable | None = None
    for host in settings.hosts or (settings.host,):
        each = replace(settings, host=host)
        try:
            shown = await fetch_host_key(each)
        except HostUnreachable as error:
            unreachable = error
            continue
        known, known_from = known_host_keys(each)
        if shown not in known:
            news.append(HostKeyNews(host=host, port=settings.port, shown=shown, known=known, known_from=known_from))
    if unreachable is not None and not news:
        raise unreachable
    return news
