"""What a job with ``secret_env`` needs beyond others when it is submitted, and when it has ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from headnode.cluster.place import JobPlace
from headnode.cluster.secrets import JobSecrets, discard_secrets
from headnode.cluster.submission import SubmitRequest
from headnode.cluster.tracker import Tracker
from headnode.errors import HeadnodeError, JobSpecError
from headnode.hooks.secrets import aresolve_secrets, with_secrets


async def complete_request(request: SubmitRequest, secret_env: Mapping[str, str]) -> SubmitRequest:
    """Return the request with the secrets' present values.

    Where Airflow does not give them, only a job that was submitted when it did is found by the request.
    """
    try:
        return with_secrets(request, await aresolve_secrets(secret_env))
    except JobSpecError as error:
        return replace(request, secrets=JobSecrets(refusal=error))


async def discard_unread(tracker: Tracker, place: JobPlace, keys: Iterable[str], *, log: Any) -> None:
    """Remove the secrets of jobs that ended before they could read them; what is left then, a sweeper removes."""
    try:
        await tracker.run(discard_secrets(place, keys))
    except HeadnodeError as error:
        log.warning("secrets that the job may not have read are removed later: %s", error)
