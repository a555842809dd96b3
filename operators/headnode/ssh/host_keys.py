"""The keys by which hosts are known: fingerprints, and how a person accepts a key that is not on record.

Nothing here accepts a key: whoever compared the fingerprint with what the site publishes stores it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib

from headnode.errors import HostKeyRefused


def fingerprint(key: str) -> str:
    """Return the SHA-256 fingerprint of ``key``, ``<type> <base64>``, as ``ssh-keygen -l`` prints it.

    Raises:
        ValueError: it is no such key.
    """
    words = key.split()
    try:
        data = base64.b64decode(words[1], validate=True)
    except (IndexError, binascii.Error) as error:
        raise ValueError(f"{key[:80]!r} is no '<type> <base64>'") from error
    return "SHA256:" + base64.b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")


def describe(refusal: HostKeyRefused) -> tuple[str, str]:
    """Return in words what was refused, and what a person is to do, with the text to copy."""
    if refusal.shown is None:
        return str(refusal), ""
    host, shown = refusal.known_as, _named(refusal.shown)
    store = f"set the connection's host_key to `{refusal.shown}`"
    if refusal.is_jump_host:
        store = f"give {host} in the connection's jump the host_key `{refusal.shown}`"
    if refusal.source.startswith("/"):
        store += f", or add the line `{host} {refusal.shown}` to {refusal.source} where Airflow runs"
    if not refusal.known:
        return (
            f"{host} is not known yet; it shows {shown}",
            f"Compare the fingerprint with the one that the site publishes. Where they are the same, {store}",
        )
    before = " or ".join(map(_named, refusal.known))
    remedy = (
        "Either the site has changed its key, which its news will say, or somebody stands between: do not log in before"
        f" you know. Where the site publishes the new fingerprint, {store}, in place of the old one"
    )
    return f"{host} shows {shown}, but {refusal.source} says {before}", remedy


def _named(key: str) -> str:
    return f"{key.split(maxsplit=1)[0]} {fingerprint(key)}"
