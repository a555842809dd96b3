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
from headnode.hooks.secrets import aresolve_secrets
from headnode.slurm.arrays import expand_elements, render_elements
from headnode.slurm.script import array_indexes
from headnode.slurm.secrets import render_secrets


async def with_secrets(request: SubmitRequest, secret_env: Mapping[str, str]) -> SubmitRequest:
    """Return the request with the secrets' present values, or with the reason why there are none.

    Slurm never starts such a job a second time, for it has removed its file: it is submitted anew in place of that.
    """
    options = (*request.options, "--no-requeue")
    try:
        indexes = _indexes(request)
        secrets = JobSecrets(content=_rendered(await aresolve_secrets(secret_env)), indexes=indexes)
    except JobSpecError as error:
        secrets = JobSecrets(refusal=error)
    return replace(request, options=options, secrets=secrets)


def _rendered(values: Mapping[str, str]) -> bytes:
    try:
        return render_secrets(values)
    except ValueError as error:
        raise JobSpecError("secret_env", str(error)) from None


def _indexes(request: SubmitRequest) -> str:
    """Return the indexes of the array that the request makes, empty where it makes none.

    Raises:
        JobSpecError: they can't be told.
    """
    if not request.is_array:
        return ""
    given = [option.removeprefix("--array=") for option in request.options if option.startswith("--array=")]
    elements = expand_elements(given[-1] if given else array_indexes(request.script))
    if not elements:
        raise JobSpecError("secret_env", "needs to know an array's elements; give them as numbers, e.g. 0-9")
    return render_elements(elements)


async def discard_unread(tracker: Tracker, place: JobPlace, keys: Iterable[str], *, log: Any) -> None:
    """Remove the secrets of jobs that ended before they could read them; what is left then, a sweeper removes."""
    try:
        await tracker.run(discard_secrets(place, keys))
    except HeadnodeError as error:
        log.warning("secrets that the job may not have read are removed later: %s", error)
