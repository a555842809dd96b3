"""Slurm's notations for a time limit, and the one that headnode writes.

sbatch reads ``minutes``, ``minutes:seconds``, ``hours:minutes:seconds``, ``days-hours``, ``days-hours:minutes`` and
``days-hours:minutes:seconds`` (sbatch.1, ``--time``).
"""

from __future__ import annotations

import re
from datetime import timedelta

_NOTATION = re.compile(
    r"(?:(?P<days>[0-9]{1,4})-)?(?P<first>[0-9]{1,6})(?::(?P<second>[0-9]{1,6}))?(?::(?P<third>[0-9]{1,6}))?"
)


def parse_time_limit(text: str) -> timedelta:
    """Return the duration that Slurm reads in ``text``.

    Raises:
        ValueError: ``text`` is none of Slurm's notations, or no time at all.
    """
    match = _NOTATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(
            f"{text!r} is no time that Slurm reads; write e.g. '01:30:00' (hours:minutes:seconds), '2-00' (days-hours) "
            "or '90' (minutes)"
        )
    numbers = [int(part) for part in match.group("first", "second", "third") if part is not None]
    if match["days"] is not None:
        hours, minutes, seconds = (*numbers, 0, 0)[:3]
        limit = timedelta(days=int(match["days"]), hours=hours, minutes=minutes, seconds=seconds)
    elif len(numbers) == 3:  # noqa: PLR2004 - hours:minutes:seconds
        limit = timedelta(hours=numbers[0], minutes=numbers[1], seconds=numbers[2])
    else:
        minutes, seconds = (*numbers, 0)[:2]
        limit = timedelta(minutes=minutes, seconds=seconds)
    if not limit:
        raise ValueError(f"{text!r} is no time at all; leave the time limit out for the partition's own")
    return limit


def render_time_limit(limit: timedelta) -> str:
    """Return ``limit`` as ``[days-]hours:minutes:seconds``, rounded up to a whole second."""
    seconds = -(-limit // timedelta(seconds=1))
    days, rest = divmod(seconds, 86_400)
    clock = f"{rest // 3600:02}:{rest % 3600 // 60:02}:{rest % 60:02}"
    return f"{days}-{clock}" if days else clock


def parse_elapsed(text: str) -> float:
    """Return the seconds in a duration of sacct: ``[days-]hours:minutes:seconds`` or ``minutes:seconds.fraction``.

    Raises:
        ValueError: ``text`` is no such duration.
    """
    match = re.fullmatch(
        r"(?:([0-9]{1,9})-)?(?:([0-9]{1,9}):)?([0-9]{1,9}):([0-9]{1,9}(?:\.[0-9]{1,9})?)", text.strip()
    )
    if match is None:
        raise ValueError(f"{text!r} is no duration as sacct writes it")
    days, hours, minutes, seconds = match.groups()
    return int(days or 0) * 86_400 + int(hours or 0) * 3600 + int(minutes) * 60 + float(seconds)
