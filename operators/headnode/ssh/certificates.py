"""OpenSSH certificates as data: what one says of its key, its names and its time (PROTOCOL.certkeys of OpenSSH)."""

from __future__ import annotations

import base64
import struct
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

_SUFFIX: Final = "-cert-v01@openssh.com"
_FOREVER: Final = 2**64 - 1
# How many fields of a certificate, after type and nonce, are its public key.
_KEY_FIELDS: Final = {
    "ssh-rsa": 2,
    "ssh-ed25519": 1,
    "ecdsa-sha2-nistp256": 2,
    "ecdsa-sha2-nistp384": 2,
    "ecdsa-sha2-nistp521": 2,
    "sk-ssh-ed25519": 2,
    "sk-ecdsa-sha2-nistp256": 3,
}
# The clocks of a site and of this machine may differ by so much.
CLOCK_SKEW_SECONDS: Final = 300.0


class CertificateUnreadable(ValueError):
    """The text is no OpenSSH certificate."""


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """``public_key`` is the blob of the key that is certified. Times are seconds since the epoch; None is for ever."""

    kind: str
    public_key: bytes
    key_id: str
    principals: tuple[str, ...]
    valid_after: float
    valid_before: float | None

    def is_over(self, now: float) -> bool:
        """Whether its time is over by this machine's clock."""
        return self.valid_before is not None and now >= self.valid_before

    def may_be_over(self, now: float) -> bool:
        """Whether it may be over, or not begun, by the clock of a host that refuses it."""
        soon = self.valid_before is not None and now >= self.valid_before - CLOCK_SKEW_SECONDS
        return soon or now < self.valid_after + CLOCK_SKEW_SECONDS

    @property
    def end(self) -> str:
        """When it ends, in words."""
        return "never" if self.valid_before is None else f"{datetime.fromtimestamp(self.valid_before, UTC):%F %T} UTC"


def parse_certificate(text: str) -> Certificate:
    """Return what a certificate says, given as the line of a ``-cert.pub`` file.

    Raises:
        CertificateUnreadable: it is none, or of an unknown kind.
    """
    words = text.split()
    if len(words) < 2 or not words[0].endswith(_SUFFIX):  # noqa: PLR2004 - kind and blob
        raise CertificateUnreadable(f"it begins with {words[0][:60]!r}" if words else "it is empty")
    try:
        blob = base64.b64decode(words[1], validate=True)
    except ValueError as error:
        raise CertificateUnreadable(f"its base64 part is broken ({error})") from error
    return parse_blob(blob)


def parse_blob(blob: bytes) -> Certificate:
    """Return what the blob of a certificate says, as an agent lists it.

    Raises:
        CertificateUnreadable: it is none, or of an unknown kind.
    """
    reader = _Reader(blob)
    kind = reader.text()
    plain = kind.removesuffix(_SUFFIX)
    if plain == kind or plain not in _KEY_FIELDS:
        raise CertificateUnreadable(f"its kind {kind[:60]!r} is unknown")
    reader.string()  # nonce
    fields = [reader.string() for _ in range(_KEY_FIELDS[plain])]
    reader.number(8)  # serial
    reader.number(4)  # user or host
    key_id = reader.text()
    names = _Reader(reader.string())
    principals = []
    while names.rest:
        principals.append(names.text())
    after, before = reader.number(8), reader.number(8)
    name = f"{plain}@openssh.com" if plain.startswith("sk-") else plain
    return Certificate(
        kind=kind,
        public_key=b"".join(struct.pack(">I", len(each)) + each for each in (name.encode(), *fields)),
        key_id=key_id,
        principals=tuple(principals),
        valid_after=float(after),
        valid_before=None if before == _FOREVER else float(before),
    )


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.rest = data

    def take(self, count: int) -> bytes:
        if len(self.rest) < count:
            raise CertificateUnreadable("it is cut short")
        taken, self.rest = self.rest[:count], self.rest[count:]
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def string(self) -> bytes:
        return self.take(self.number(4))

    def text(self) -> str:
        return self.string().decode("utf-8", "replace")
