"""This Airflow's own id in a cluster's work directory, so that a test and a production Airflow never meet."""

from __future__ import annotations

import asyncio
import math
import re
import uuid
from typing import Final

from airflow.sdk import Variable
from airflow.sdk.configuration import conf

from headnode.errors import JobSpecError
from headnode.hooks.shared_answers import SharedAnswers

VARIABLE: Final = "headnode_deployment_id"


def configured_deployment_id() -> str | None:
    """Return ``[headnode] deployment_id``, None where it is not set, so that the id is to be asked for.

    Raises:
        JobSpecError: the configured id has other characters than letters, digits and dashes.
    """
    configured = conf.get("headnode", "deployment_id", fallback=None)
    return _checked(configured) if configured else None


def deployment_id() -> str:
    """Return ``[headnode] deployment_id``, or the Airflow variable ``headnode_deployment_id``, made at first use.

    Raises:
        JobSpecError: the id has other characters than letters, digits and dashes.
    """
    found = configured_deployment_id() or Variable.get(VARIABLE, default=None)
    if not found:
        Variable.set(VARIABLE, uuid.uuid4().hex[:12], description="headnode: names this Airflow on clusters")
        # Another task may have made one at the same time; what is stored now is what counts.
        found = Variable.get(VARIABLE)
    return _checked(found)


def _checked(name: object) -> str:
    if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", str(name)):
        raise JobSpecError("deployment_id", f"{name!r} must be up to 64 letters, digits and dashes")
    return str(name)


async def adeployment_id() -> str:
    """Do the same in a triggerer, where the id is asked for once.

    Raises:
        JobSpecError: the id has other characters than letters, digits and dashes.
    """
    return await _SHARED.get("")


async def _ask(_: str) -> str:
    return await asyncio.to_thread(deployment_id)


_SHARED: Final = SharedAnswers(_ask, seconds=math.inf)
