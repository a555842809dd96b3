"""The elements of an array: over which array jobs they are spread, and what their ends mean. Pure functions of data.

Slurm takes indexes below MaxArraySize and at most 4096 characters of ``--array`` (slurmctld's
``_test_job_desc_fields``); larger or very sparse arrays become several array jobs. An element keeps its index in
whichever job it runs: it is the element's number modulo MaxArraySize.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

from headnode.errors import JobSpecError
from headnode.slurm.accounting import ElementEnd
from headnode.slurm.arrays import expand_elements, render_elements
from headnode.slurm.states import JobState, Phase, parse_state, phase_of

MAX_ELEMENTS: Final = 100_000
# slurmctld refuses 4096 characters and more; the throttle needs a few of them.
MAX_INDEXES_LENGTH: Final = 4_000
#: The end of an element of which nobody knows one.
NO_END: Final = ElementEnd(JobState.UNKNOWN, None, None)
# Rounding must not ask for one element more: 0.9 * 10 is 9.000000000000002 in some orders of multiplication.
_ROUNDING: Final = 1e-9
_MAX_RANGES_SHOWN: Final = 20
_MAX_JOBS_SHOWN: Final = 5
# How a state that is no end is called where elements are counted.
_COUNTED_AS: Final = {
    Phase.RUNNING: "running",
    Phase.PENDING: "waiting",
    Phase.BLOCKED: "held",
    Phase.ENDING: "ending",
    Phase.UNKNOWN: "in an unknown state",
}


@dataclass(frozen=True, kw_only=True)
class ArrayPart:
    """One array job: its ``elements`` by their numbers in the whole array, in order.

    An element's SLURM_ARRAY_TASK_ID is its number less ``offset``; at most ``max_running`` run at the same time.
    """

    offset: int
    elements: tuple[int, ...]
    max_running: int | None = None

    @property
    def indexes(self) -> str:
        """The elements by their indexes in this job, in Slurm's notation."""
        return render_elements(element - self.offset for element in self.elements)

    @property
    def option(self) -> str:
        """The option of sbatch that makes the array."""
        throttle = f"%{self.max_running}" if self.max_running is not None else ""
        return f"--array={self.indexes}{throttle}"

    def ends(self, by_index: Mapping[int, ElementEnd]) -> dict[int, ElementEnd]:
        """Return how the elements ended, from what is known by SLURM_ARRAY_TASK_ID."""
        return {element: by_index.get(element - self.offset, NO_END) for element in self.elements}


def parse_array(array: str) -> tuple[tuple[int, ...], int | None]:
    """Return the elements in sbatch's notation ``0-999%50``, in order, and how many may run at the same time.

    Raises:
        JobSpecError: it has another form, or too many elements.
    """
    indexes, percent, throttle = array.strip().partition("%")
    found = expand_elements(indexes) if not indexes.startswith("[") else None
    if found is None or (percent and not (re.fullmatch("[0-9]{1,9}", throttle) and int(throttle) > 0)):
        raise JobSpecError(
            "array", f"{array[:100]!r} is no list of indexes; write e.g. '0-999%50', '1,3,5-8' or '0-15:4'"
        )
    check_count("array", len(found))
    return tuple(sorted(found)), int(throttle) if percent else None


def check_count(field: str, count: int) -> None:
    """Refuse numbers of elements that one task can't hold.

    Raises:
        JobSpecError: there is none, or there are too many.
    """
    if count == 0:
        raise JobSpecError(field, "is empty, so that there is nothing to run")
    if count > MAX_ELEMENTS:
        raise JobSpecError(
            field,
            f"has {count} elements, and one task runs at most {MAX_ELEMENTS}; let each element do several"
            " pieces of the work, or divide it among several tasks",
        )


def plan_parts(elements: Sequence[int], *, max_array_size: int, max_running: int | None = None) -> list[ArrayPart]:
    """Return the array jobs in which ``elements`` run, each element in one of them.

    ``max_running`` is shared out over the jobs by their sizes. Where it is smaller than their number each gets 1, and
    only ``max_running`` of the jobs may be in the queue at the same time.
    """
    chunks = list(_chunks(sorted(elements), max_array_size))
    shares: Sequence[int | None] = [None] * len(chunks)
    if max_running is not None:
        shares = share_out(max_running, [len(members) for _, members in chunks])
    return [
        ArrayPart(offset=offset, elements=tuple(members), max_running=share)
        for (offset, members), share in zip(chunks, shares, strict=True)
    ]


def _chunks(elements: Iterable[int], max_array_size: int) -> Iterator[tuple[int, list[int]]]:
    """Cut ascending ``elements`` where the next index would be MaxArraySize, or the notation too long."""
    offset, members, length = 0, list[int](), 0
    for element in elements:
        window = element - element % max_array_size
        goes_on = bool(members) and members[-1] == element - 1
        # A range that goes on may become longer than the limit by some digits, for which there is room.
        if members and (window != offset or (not goes_on and length >= MAX_INDEXES_LENGTH)):
            yield offset, members
            members, length, goes_on = [], 0, False
        offset = window
        digits = len(str(element - window))
        if not goes_on or len(members) == 1 or members[-2] != element - 2:
            length += digits + 1
        else:
            length += digits - len(str(element - window - 1))
        members.append(element)
    if members:
        yield offset, members


def share_out(total: int, sizes: Sequence[int]) -> list[int]:
    """Return shares of ``total`` in proportion to ``sizes``, each at least 1; they add up to it where it suffices."""
    if total <= len(sizes):
        return [1] * len(sizes)
    left, weight = total - len(sizes), sum(sizes)
    shares = [1 + left * size // weight for size in sizes]
    largest = sorted(range(len(sizes)), key=lambda at: (-(left * sizes[at] % weight), at))
    for at in largest[: total - sum(shares)]:
        shares[at] += 1
    return shares


def failed_elements(ends: Mapping[int, ElementEnd]) -> list[int]:
    """Return the elements that did not end well, in order."""
    return sorted(element for element, end in ends.items() if phase_of(end.state) is not Phase.SUCCEEDED)


def enough_succeeded(*, succeeded: int, total: int, min_success_fraction: float) -> bool:
    """Whether ``succeeded`` of ``total`` elements are at least the wanted fraction (0 to 1)."""
    return succeeded >= ceil(min_success_fraction * total - _ROUNDING)


def describe_failures(ends: Mapping[int, ElementEnd]) -> str:
    """Return which elements failed and how, e.g. ``FAILED with exit code 2: 3,17-18; TIMEOUT: 40``."""
    groups: dict[str, list[int]] = defaultdict(list)
    for element in failed_elements(ends):
        groups[describe_end(ends[element])].append(element)
    return "; ".join(f"{how}: {name_elements(members)}" for how, members in sorted(groups.items()))


def describe_end(end: ElementEnd) -> str:
    """Return in a few words how an element ended."""
    if end.state is JobState.UNKNOWN:
        return "nothing is known of their end"
    exit_code = f" with exit code {end.exit_code}" if end.exit_code else ""
    signal = f" by signal {end.signal}" if end.signal else ""
    return f"{end.state.value}{exit_code}{signal}"


def name_elements(elements: Iterable[int]) -> str:
    """Return ``elements`` in Slurm's notation, of very many ranges only the first."""
    members = sorted(elements)
    ranges = render_elements(members).split(",")
    if len(ranges) <= _MAX_RANGES_SHOWN:
        return ",".join(ranges)
    return f"{','.join(ranges[:_MAX_RANGES_SHOWN])},... ({len(members)} in all)"


def name_jobs(job_ids: Sequence[str]) -> str:
    """Return the array jobs' ids for people, of very many only the first."""
    more = f", ... ({len(job_ids)} in all)" if len(job_ids) > _MAX_JOBS_SHOWN else ""
    return f"array{'s' if len(job_ids) > 1 else ''} {', '.join(job_ids[:_MAX_JOBS_SHOWN])}{more}"


def describe_progress(job_ids: Sequence[str], counts: Mapping[str, int], *, total: int) -> str:
    """Return how many of ``total`` elements are where, e.g. ``array 123: 256 running, 700 waiting, 44 ended``.

    ``counts`` are the unfinished ones by Slurm's words; the others have ended.
    """
    by_phase: Counter[str] = Counter()
    for word, count in counts.items():
        by_phase[_COUNTED_AS.get(phase_of(parse_state(word)), "ending")] += count
    parts = [f"{by_phase[name]} {name}" for name in _COUNTED_AS.values() if by_phase[name]]
    if ended := total - sum(counts.values()):
        parts.append(f"{ended} ended")
    return f"{name_jobs(job_ids)}: {', '.join(parts)}"
