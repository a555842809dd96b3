"""Repeated attempts over a network: which answers are worth another one, and how long to wait before it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any

import requests

from landcover_jobs.configuration.images import Transfer
from landcover_jobs.job import say

LONGEST_WAIT_SECONDS = 300.0
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


class GaveUp(Exception):
    """All attempts have failed; the text is the last reason."""


class Patience:
    """Counts the attempts in a row that brought nothing, and waits between them.

    The wait doubles from `transfer.wait_seconds` on, up to 300 s; of it, a random half is left out, so that many
    readers of one server do not come back at the same moment. What the server itself asks for (`Retry-After`) is kept.
    """

    def __init__(self, transfer: Transfer, what: str, sleep: Callable[[float], Any] = time.sleep) -> None:
        self._transfer = transfer
        self._what = what
        self._sleep = sleep
        self._failures = 0

    def progressed(self) -> None:
        """Begin to count anew: the last attempt brought something."""
        self._failures = 0

    def wait(self, reason: str, retry_after: float | None = None) -> None:
        """Wait before the next attempt.

        Raises:
            GaveUp: there have been `transfer.attempts` in a row.
        """
        self._failures += 1
        if self._failures >= self._transfer.attempts:
            raise GaveUp(f"{reason} ({self._failures} attempts in a row)")
        longest = min(self._transfer.wait_seconds * 2 ** (self._failures - 1), LONGEST_WAIT_SECONDS)
        seconds = longest * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, hides nothing
        if retry_after is not None:
            seconds = max(seconds, min(retry_after, LONGEST_WAIT_SECONDS))
        say(f"{self._what}: {reason}; attempt {self._failures + 1} of {self._transfer.attempts} in {seconds:.1f} s")
        self._sleep(seconds)


def retry_after(response: requests.Response) -> float | None:
    """Return how many seconds a server asks to wait, None where it does not say or says it wrongly."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None


class PatientSession(requests.Session):
    """A session that asks again where the network or the server fails for a while; only for what is read whole."""

    def __init__(self, transfer: Transfer) -> None:
        super().__init__()
        self._transfer = transfer

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send a request until it is answered; the answer may well be an error that would not pass.

        Raises:
            GaveUp: all attempts have failed.
        """
        if options.get("timeout") is None:
            options["timeout"] = self._transfer.timeout_seconds
        patience = Patience(self._transfer, f"{request.method} {request.url}")
        while True:
            asked = None
            try:
                response = super().send(request, **options)
            except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
                reason = short(error)
            else:
                if response.status_code not in PASSING:
                    return response
                reason, asked = f"the server answers {response.status_code} {response.reason}", retry_after(response)
            patience.wait(reason, asked)


def short(error: Exception) -> str:
    """Return the innermost reason of a network error, for the outer ones only wrap it."""
    while True:
        inner = getattr(error, "reason", None) or (error.args[0] if error.args else None)
        if not isinstance(inner, Exception):
            break
        error = inner
    text = str(error.args[-1] if error.args else error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
