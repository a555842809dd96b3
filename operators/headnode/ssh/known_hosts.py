"""Which keys a known_hosts file holds for a host; the format is that of sshd(8), SSH_KNOWN_HOSTS FILE FORMAT."""

from __future__ import annotations

import base64
import binascii
import fnmatch
import getpass
import hashlib
import hmac
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from headnode.errors import HostKeyRefused
from headnode.ssh.route import Hop

_KINDS: Final = ("ssh-", "ecdsa-sha2-", "sk-")


@dataclass(frozen=True, kw_only=True)
class KnownKeys:
    """Keys on record for one host, each ``<type> <base64>``; ``source`` says in words where they are."""

    keys: tuple[str, ...] = ()
    authorities: tuple[str, ...] = ()
    revoked: tuple[str, ...] = ()
    source: str


def known_keys(hop: Hop) -> KnownKeys:
    """Return the keys that a hop may show. The connection's own host key outweighs all files.

    Raises:
        HostKeyRefused: a known_hosts file can't be read.
    """
    if hop.host_key is not None:
        return KnownKeys(keys=(hop.host_key,), source="the connection's host_key")
    try:
        texts = [path.read_text(errors="replace") for path in _paths(hop) if path.is_file()]
    except OSError as error:
        raise HostKeyRefused(
            f"the host key of {hop.where} can't be looked up: {error.filename} can't be read by {getpass.getuser()},"
            f" who runs Airflow here ({error.strerror})"
        ) from error
    found = parse_known_hosts("\n".join(texts), hop.name_in_known_hosts)
    return KnownKeys(
        keys=tuple(key for marker, key in found if marker == ""),
        authorities=tuple(key for marker, key in found if marker == "@cert-authority"),
        revoked=tuple(key for marker, key in found if marker == "@revoked"),
        source=str(_paths(hop)[0]) if hop.known_hosts else "no file",
    )


def parse_known_hosts(text: str, name: str) -> list[tuple[str, str]]:
    """Return the marker and the key of each line about ``name``; lines that can't be read are passed over."""
    found = []
    for line in text.splitlines():
        words = line.split()
        marker = words.pop(0) if words and words[0].startswith("@") else ""
        if len(words) < 3 or words[0].startswith("#") or not words[1].startswith(_KINDS):  # noqa: PLR2004 - hosts, type, key
            continue
        if _names(words[0], name):
            found.append((marker, f"{words[1]} {words[2]}"))
    return list(dict.fromkeys(found))


def _names(patterns: str, name: str) -> bool:
    if patterns.startswith("|1|"):
        return _is_hash_of(patterns, name)
    named = False
    for pattern in patterns.lower().split(","):
        if _matches(name.lower(), pattern.removeprefix("!")):
            if pattern.startswith("!"):
                return False
            named = True
    return named


def _matches(name: str, pattern: str) -> bool:
    # fnmatch gives [...] a meaning that it does not have here.
    return fnmatch.fnmatchcase(name, pattern.replace("[", "[[]"))


def _is_hash_of(text: str, name: str) -> bool:
    try:
        salt, digest = (base64.b64decode(part) for part in text.split("|")[2:4])
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(hmac.new(salt, name.lower().encode(), hashlib.sha1).digest(), digest)


def _paths(hop: Hop) -> list[Path]:
    return [Path(path).expanduser() for path in hop.known_hosts]
