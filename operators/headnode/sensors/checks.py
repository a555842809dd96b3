"""The forms that sensors' fields must have; each function returns the value or raises ``JobSpecError``."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from headnode.errors import JobSpecError
from headnode.slurm.visible import is_visible


def check_path(value: Any, field: str = "path") -> str:
    """Return an absolute path, or one below the home directory."""
    text = str(value)
    if not (text.startswith(("/", "~/")) or text == "~") or not is_visible(text):
        raise JobSpecError(
            field, f"{value!r} must begin with '/' or '~/' and hold no line breaks or other control characters"
        )
    return text


def check_name(value: Any, field: str, what: str) -> str:
    """Return a name that can be one of a list that Slurm's commands take; brackets and quotes mean something in these.

    All names that are waited for on a cluster go into one command, which must not fail because of one of them.
    """
    text = str(value).strip()
    if not text or re.search(r"[,\[\]'\"\t]", text) or not is_visible(text):
        raise JobSpecError(
            field, f"{value!r} can't be {what}: it is empty, or holds commas, brackets, quotes or control characters"
        )
    return text


def check_count(value: Any, field: str) -> int:
    """Return a count; None is 0."""
    text = "0" if value is None else str(value).strip()
    if not re.fullmatch("[0-9]{1,9}", text):
        raise JobSpecError(field, f"{value!r} must be a whole number")
    return int(text)


def check_job_id(value: Any) -> str:
    """Return the id of a job."""
    text = str(value).strip()
    if not re.fullmatch("[0-9]{1,10}", text):
        raise JobSpecError("job_id", f"{value!r} is no job id of Slurm, which is a whole number")
    return text


def check_time(value: Any, field: str) -> float:
    """Return the seconds of a time that is not negative; None is 0."""
    if value is None:
        return 0.0
    if not isinstance(value, timedelta) or value < timedelta():
        raise JobSpecError(field, f"{value!r} must be a timedelta that is not negative")
    return value.total_seconds()
