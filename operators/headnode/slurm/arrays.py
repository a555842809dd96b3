"""How many elements a job array has, read from the notation of ``sbatch --array`` and of squeue's and sacct's ids."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

# Slurm's own limit is 4,000,001 (MaxArraySize); what is beyond it is no array, and would fill the memory.
_MAX_ELEMENTS: Final = 4_000_001
_PART: Final = re.compile(r"([0-9]{1,8})(?:-([0-9]{1,8})(?::([0-9]{1,8}))?)?")


def count_elements(indexes: str) -> int | None:
    """Return the number of elements in ``0-9%4``, ``1,3,5-8`` or ``0-15:4``; None where it can't be told.

    Slurm cuts long lists to end in ``...``; of these, and of what it would refuse, nothing is told.
    """
    found = expand_elements(indexes)
    return None if found is None else len(found)


def expand_elements(indexes: str) -> set[int] | None:
    """Return the elements in ``0-9%4``, ``1,3,5-8`` or ``0-15:4``; None where it can't be told."""
    found: set[int] = set()
    counted = 0
    for part in indexes.strip().strip("[]").partition("%")[0].split(","):
        match = _PART.fullmatch(part.strip())
        if match is None:
            return None
        first, last, step = int(match[1]), int(match[2] or match[1]), int(match[3] or 1)
        if last < first or step < 1:
            return None
        elements = range(first, last + 1, step)
        counted += len(elements)
        if counted > _MAX_ELEMENTS:
            return None
        found.update(elements)
    return found


def render_elements(elements: Iterable[int]) -> str:
    """Return the notation of Slurm for ``elements``, e.g. ``0-4,7``; empty where there are none."""
    ranges: list[list[int]] = []
    for element in sorted(set(elements)):
        if ranges and element == ranges[-1][1] + 1:
            ranges[-1][1] = element
        else:
            ranges.append([element, element])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)
