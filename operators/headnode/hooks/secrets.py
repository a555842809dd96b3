"""The values of a job's secrets, from Airflow's variables, connections and secrets backends; masked in its logs."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from airflow.sdk import BaseHook, Variable
from airflow.sdk.exceptions import AirflowNotFoundException, AirflowRuntimeError
from airflow.sdk.log import amask_secret, mask_secret

from headnode.cluster.secrets import JobSecrets
from headnode.cluster.submission import SubmitRequest
from headnode.errors import JobSpecError
from headnode.hooks.shared_answers import SharedAnswers
from headnode.slurm.arrays import expand_elements, render_elements
from headnode.slurm.script import array_indexes
from headnode.slurm.secrets import SecretReference, parse_reference, render_secrets

# A line of a secret of several lines, such as a key, is masked by itself where it is as long as this.
_LINE_LENGTH: Final = 8
# Airflow's API says of a variable that it could not read just now that there is none.
_LOOK_AGAIN_SECONDS: Final = 2.0


def resolve_secrets(secret_env: Mapping[str, str]) -> dict[str, str]:
    """Return the value of each environment variable in ``secret_env``, for code that runs on a worker.

    Raises:
        JobSpecError: there is no such secret, or Airflow does not give it. No message holds a value.
    """
    values = {name: _resolve(text) for name, text in secret_env.items()}
    for value in values.values():
        for part in _masked(value):
            mask_secret(part)
    return values


async def aresolve_secrets(secret_env: Mapping[str, str]) -> dict[str, str]:
    """Do the same in a triggerer; a changed secret is noticed within ten seconds.

    Raises:
        JobSpecError: there is no such secret, or Airflow does not give it. No message holds a value.
    """
    values = {name: await _SHARED.get(text) for name, text in secret_env.items()}
    for value in values.values():
        for part in _masked(value):
            await amask_secret(part)
    return values


def with_secrets(request: SubmitRequest, values: Mapping[str, str]) -> SubmitRequest:
    """Return the request for a job that takes in the secrets ``values``.

    Slurm never starts such a job a second time, for it has removed its file.

    Raises:
        JobSpecError: a value can't be put into an environment, or an array's elements can't be told.
    """
    try:
        content = render_secrets(values)
    except ValueError as error:
        raise JobSpecError("secret_env", str(error)) from None
    secrets = JobSecrets(content=content, indexes=_indexes(request))
    return replace(request, options=(*request.options, "--no-requeue"), secrets=secrets)


def _indexes(request: SubmitRequest) -> str:
    """Return the indexes of the array that the request makes, empty where it makes none."""
    if not request.is_array:
        return ""
    given = [option.removeprefix("--array=") for option in request.options if option.startswith("--array=")]
    elements = expand_elements(given[-1] if given else array_indexes(request.script))
    if not elements:
        raise JobSpecError("secret_env", "needs to know an array's elements; give them as numbers, e.g. 0-9")
    return render_elements(elements)


def _masked(value: str) -> list[str]:
    return [value, *(line for line in value.splitlines() if line != value and len(line.strip()) >= _LINE_LENGTH)]


def _resolve(text: str) -> str:
    reference = parse_reference(text)
    try:
        value = _look_up(reference)
        if value is None:
            time.sleep(_LOOK_AGAIN_SECONDS)
            value = _look_up(reference)
    except PermissionError:
        raise JobSpecError("secret_env", f"Airflow does not let this task read {_named(reference)}") from None
    if value is None:
        raise JobSpecError(
            "secret_env",
            f"Airflow has no {_named(reference)}: add it under Admin, {reference.kind.capitalize()}s, or in the"
            " secrets backend",
        )
    text_of_it = _field(reference, value)
    if not text_of_it:
        raise JobSpecError("secret_env", f"{_named(reference)} is empty{_where(reference)}")
    return text_of_it


def _look_up(reference: SecretReference) -> Any:
    try:
        if reference.kind == "variable":
            return Variable.get(reference.name)
        return BaseHook.get_connection(reference.name)
    except (AirflowNotFoundException, AirflowRuntimeError):
        return None


def _field(reference: SecretReference, found: Any) -> str:
    if reference.kind == "variable":
        return str(found)
    if reference.field == "uri":
        return str(found.get_uri())
    if reference.field != "extra":
        return str(getattr(found, str(reference.field)) or "")
    try:
        extra = json.loads(found.extra or "{}")
    except ValueError:
        raise JobSpecError("secret_env", f"the extra of {_named(reference)} is no JSON object") from None
    value = extra.get(reference.key) if isinstance(extra, dict) else None
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)


def _named(reference: SecretReference) -> str:
    return f"{reference.kind} {reference.name!r}"


def _where(reference: SecretReference) -> str:
    if reference.field is None:
        return ""
    return f" in its {reference.field}" + (f" {reference.key!r}" if reference.key else "")


async def _ask(text: str) -> str:
    return await asyncio.to_thread(_resolve, text)


_SHARED: Final = SharedAnswers(_ask, seconds=10.0)
