"""Answers to what a host asks at a login (keyboard-interactive): the password, and codes of an authenticator.

The code is that of RFC 6238 with SHA-1 and six digits, which is what all authenticator apps and sites use.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import hmac
import os
import re
import struct
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from headnode.errors import AuthenticationRefused

_DIGITS: Final = 6
# A code that is about to end may be over when it arrives.
_MARGIN_SECONDS: Final = 1.0
_CODE: Final = re.compile(
    r"verification|one[- ]?time|\b(?:t?otp|2fa|mfa|token|authenticator|(?:pass)?code|(?:second|2nd) factor)\b",
    re.IGNORECASE,
)
_PASSWORD: Final = re.compile(r"pass ?word|passwort|mot de passe|contraseña", re.IGNORECASE)
_ONE_TIME_PASSWORD: Final = re.compile(r"(?:one[- ]?time|otp|token|dynamic)\W*pass ?(?:word|code)", re.IGNORECASE)


def totp(secret: str, *, at: float, period_seconds: int = 30) -> str:
    """Return the code for the time ``at`` (seconds since the epoch); ``secret`` is base32 text."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    digest = hmac.new(key, struct.pack(">Q", int(at // period_seconds)), hashlib.sha1).digest()
    start = digest[-1] & 0x0F
    number = int.from_bytes(digest[start : start + 4], "big") & 0x7FFFFFFF
    return f"{number % 10**_DIGITS:0{_DIGITS}d}"


class Codes:
    """Gives codes, each once: a site refuses one that was used, and may count it as an attack.

    Which window was used last is kept in a file that all processes of the user share, by a digest of the secret.
    """

    def __init__(self, secret: str, *, period_seconds: int, directory: Path) -> None:
        self._secret = secret
        self._period_seconds = period_seconds
        self._file = directory / f"totp-{hashlib.sha256(secret.encode()).hexdigest()[:24]}"

    def next(self) -> str | float:
        """Return a code that nobody has used, or for how many seconds there is none."""
        descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            now = time.time()
            window = int(now // self._period_seconds)
            used = -1
            with contextlib.suppress(ValueError):
                used = int(file.read(32))
            end = (window + 1) * self._period_seconds
            # A clock that was set back must not stop logins for longer than that.
            if (used >= window and used - window < 10) or end - now < min(_MARGIN_SECONDS, self._period_seconds / 4):  # noqa: PLR2004
                return max(0.05, (max(used, window) + 1) * self._period_seconds - now)
            file.seek(0)
            file.write(f"{window}\n")
            file.truncate()
        return totp(self._secret, at=now, period_seconds=self._period_seconds)

    def wait(self) -> str:
        """Return such a code, as soon as there is one. It blocks for up to a period."""
        while not isinstance(code := self.next(), str):
            time.sleep(code)
        return code


class Interview:
    """One login's answers. ``code`` may block until there is a code that nobody has used."""

    def __init__(self, where: str, *, password: str | None, code: Callable[[], str] | None) -> None:
        self._where = where
        self._password = password
        self._code = code
        self._asked: set[str] = set()

    def answers(self, prompts: Sequence[str]) -> list[str]:
        """Return an answer for each prompt of a challenge.

        Raises:
            AuthenticationRefused: a prompt is neither for a password nor for a code, what it wants is not known, or
                the host asks again for what it was given.
        """
        return [self._answer(" ".join(prompt.split())[:200]) for prompt in prompts]

    def _answer(self, prompt: str) -> str:
        kind = kind_of(prompt)
        if prompt in self._asked and kind is not None:
            raise refused_answer(self._where, kind)
        self._asked.add(prompt)
        if kind == "code" and self._code is not None:
            return self._code()
        if kind == "password" and self._password is not None:
            return self._password
        raise _unanswerable(self._where, prompt, kind)

    @property
    def last_kind(self) -> str | None:
        """What was asked for at least once, a code before a password, for messages."""
        kinds = {kind_of(prompt) for prompt in self._asked}
        return "code" if "code" in kinds else "password" if kinds else None


def kind_of(prompt: str) -> str | None:
    """Return ``code``, ``password``, or None where a prompt is for neither."""
    if _ONE_TIME_PASSWORD.search(prompt):
        return "code"
    if _PASSWORD.search(prompt):
        return "password"
    return "code" if _CODE.search(prompt) else None


def _unanswerable(where: str, prompt: str, kind: str | None) -> AuthenticationRefused:
    if kind == "code":
        problem = (
            f"asks for a one-time code ({prompt!r}) and the connection has no totp_secret for it; where the site's"
            " rules allow it, put the base32 secret that the site showed beside the QR code there, else open a login"
            " by hand and name its socket in the control_path extra"
        )
    elif kind == "password":
        problem = f"asks for a password ({prompt!r}) and the connection has none for it"
    else:
        problem = (
            f"asks {prompt!r} at the login, which is neither a password nor a one-time code; such a login needs a"
            " person: open it by hand and name its socket in the control_path extra"
        )
    error = AuthenticationRefused(f"{where} {problem}.")
    error.by_host = True  # asking it again and again would be hammering
    return error


def refused_answer(where: str, kind: str) -> AuthenticationRefused:
    """Return the error for a password or a code that the host did not take."""
    check = "totp_secret, and this machine's clock" if kind == "code" else "the password"
    what = "one-time code" if kind == "code" else "password"
    error = AuthenticationRefused(f"{where} refused the {what}. Check {check}, in the Airflow connection.")
    error.by_host = True
    return error
