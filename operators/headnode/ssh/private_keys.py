"""Private keys as text: what kind each is, and the same key without its passphrase, once for both adapters."""

from __future__ import annotations

import base64
import binascii
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

_PEM: Final = re.compile(r"-----BEGIN ([A-Z0-9 ]*PRIVATE KEY)-----")
_PUBLIC: Final = re.compile(
    r"(?:ssh-|ecdsa-sha2-|sk-)\S+ [A-Za-z0-9+/=]{40,}|---- BEGIN SSH2 PUBLIC KEY|-----BEGIN PUBLIC"
)
_PUTTY: Final = "PuTTY-User-Key-File"
# PROTOCOL.key of OpenSSH: this, the cipher, the key derivation and its options, the count of keys, the public key.
_MAGIC: Final = b"openssh-key-v1\0"


class KeyUnreadable(ValueError):
    """The text is no key that can be used; the message goes after the key's name."""


def unlocked(text: str, passphrase: str | None) -> tuple[str, bytes]:
    """Return the key in OpenSSH's format without a passphrase, and its public blob.

    Raises:
        KeyUnreadable: it is no private key, of a kind that is not supported, or locked by another passphrase.
    """
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - loaded at a login, not before
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

    text = text.strip() + "\n"
    match = _PEM.search(text)
    if match is None:
        raise KeyUnreadable(_what_else(text))
    locked = _is_locked(text, match[1])
    if locked and passphrase is None:
        raise KeyUnreadable(
            "is locked by a passphrase, and the connection has none; put it into the private_key_passphrase extra"
        )
    secret = passphrase.encode() if locked and passphrase is not None else None
    load = serialization.load_ssh_private_key if "OPENSSH" in match[1] else serialization.load_pem_private_key
    try:
        key = load(text.encode(), secret)
        return _public_and_private(key)
    except UnsupportedAlgorithm as error:
        problem = f"is of a kind that is not supported ({error}); RSA, ECDSA and Ed25519 keys are"
    except (ValueError, TypeError) as error:
        problem = (
            "is not opened by the connection's passphrase; correct the private_key_passphrase extra"
            if locked
            else "is damaged: where it is an extra of the connection, its line breaks must be kept"
        )
        raise KeyUnreadable(problem) from error
    raise KeyUnreadable(problem)


def _public_and_private(key: PrivateKeyTypes) -> tuple[str, bytes]:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa  # noqa: PLC0415

    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
        raise UnsupportedAlgorithm(type(key).__name__.removesuffix("PrivateKey").lstrip("_"))
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    ).decode()
    line = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return text, base64.b64decode(line.split()[1])


def _is_locked(text: str, kind: str) -> bool:
    if kind != "OPENSSH PRIVATE KEY":
        return kind.startswith("ENCRYPTED") or "Proc-Type: 4,ENCRYPTED" in text
    blob = _openssh_blob(text)
    return blob is not None and not blob[len(_MAGIC) :].startswith(b"\x00\x00\x00\x04none")


def _what_else(text: str) -> str:
    if text.startswith(_PUTTY):
        return "is PuTTY's; `puttygen KEY.ppk -O private-openssh -o KEY` makes one that ssh reads"
    if "-cert-v01@openssh.com" in text[:200]:
        return "holds a certificate, not the key that it certifies; name the file without -cert.pub"
    if _PUBLIC.match(text):
        return "holds the public key; the private one is needed, the file without .pub"
    return "holds no private key ('-----BEGIN ... PRIVATE KEY-----' is missing)"


def public_blob(path: str) -> bytes | None:
    """Return the public key of a file: its own, that of the .pub beside it, or the open part of a private key."""
    for each in (f"{path}.pub", path):
        try:
            text = Path(each).expanduser().read_text(errors="replace")
            words = text.split()
            if len(words) > 1 and _PUBLIC.match(" ".join(words[:2])):
                return base64.b64decode(words[1])
            if (blob := _openssh_blob(text)) is not None:
                return _public_part(blob)
            return unlocked(text, None)[1]
        except (OSError, binascii.Error, ValueError):
            continue
    return None


def _openssh_blob(text: str) -> bytes | None:
    match = re.search(r"-----BEGIN OPENSSH PRIVATE KEY-----([A-Za-z0-9+/=\s]+)", text)
    if match is None:
        return None
    body = re.sub(r"\s", "", match[1])
    try:
        blob = base64.b64decode(body[: len(body) // 4 * 4])
    except binascii.Error:
        return None
    return blob if blob.startswith(_MAGIC) else None


def _public_part(blob: bytes) -> bytes:
    at, piece = len(_MAGIC), b""
    for skipped in (0, 0, 4, 0):  # cipher, derivation, its options and then the count, the key
        size = int.from_bytes(blob[at : at + 4], "big")
        piece = blob[at + 4 : at + 4 + size]
        at += 4 + size + skipped
    return piece
