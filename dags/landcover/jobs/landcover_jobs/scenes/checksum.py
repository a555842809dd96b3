"""What a source states of a file (STAC's file extension) and whether a fetched file agrees with it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

# Seven bits of each byte of a variable-length integer count; the eighth says that another one follows.
MORE, SEVEN_BITS = 0x80, 0x7F
# Codes of the multihash register, as hashlib names the functions.
FUNCTIONS = {
    0x11: "sha1",
    0x12: "sha256",
    0x13: "sha512",
    0x14: "sha3_512",
    0x16: "sha3_256",
    0x20: "sha384",
    0xD5: "md5",
}


@dataclass(frozen=True)
class Stated:
    """The content as the source states it; None where it does not."""

    checksum: str | None = None  # a multihash in hexadecimal digits, the file extension's `file:checksum`
    size: int | None = None  # bytes

    @classmethod
    def of(cls, content: str) -> Stated:
        """Return what a scene's `content` states of one band."""
        said = json.loads(content) if content else {}
        size = said.get("size")
        return cls(said.get("checksum"), int(size) if size is not None else None)

    def disagreement(self, path: Path) -> str | None:
        """Return in which way a file is not what the source states, None where it is or nothing is stated."""
        found = path.stat().st_size
        if self.size is not None and found != self.size:
            return f"it has {found:,} bytes, {self.size:,} are stated"
        if self.checksum is None:
            return None
        function, expected = parsed(self.checksum)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, function).hexdigest()
        return None if digest == expected else f"its {function} is {digest}, {expected} is stated"

    @property
    def sha256(self) -> str | None:
        """The stated SHA-256, where it is one."""
        if self.checksum is None:
            return None
        function, digest = parsed(self.checksum)
        return digest if function == "sha256" else None


def parsed(multihash: str) -> tuple[str, str]:
    """Return hashlib's name of the function, and the digest in hexadecimal digits.

    Raises:
        ValueError: it is no multihash, or one of a function that is not known here.
    """
    content = bytes.fromhex(multihash)
    code, rest = _varint(content)
    length, digest = _varint(rest)
    if code not in FUNCTIONS:
        raise ValueError(f"{multihash!r} is of the unknown hash function {code:#x}")
    if length != len(digest) or length != hashlib.new(FUNCTIONS[code], usedforsecurity=False).digest_size:
        raise ValueError(f"{multihash!r} is no whole {FUNCTIONS[code]}")
    return FUNCTIONS[code], digest.hex()


def multihash_of(path: Path, function: str = "sha256") -> str:
    """Return a file's multihash in hexadecimal digits, as `file:checksum` has it."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, function).digest()
    code = next(code for code, name in FUNCTIONS.items() if name == function)
    low = [code] if code < MORE else [code & SEVEN_BITS | MORE, code >> 7]
    return bytes([*low, len(digest), *digest]).hex()


def _varint(content: bytes) -> tuple[int, bytes]:
    value = 0
    for place, byte in enumerate(content[:9]):
        value |= (byte & SEVEN_BITS) << (7 * place)
        if byte < MORE:
            return value, content[place + 1 :]
    raise ValueError(f"{content.hex()!r} is no multihash")
