"""What the ends of an array's elements mean for the whole: the error that they are, and the list of their results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from headnode.errors import JobError, JobFailed
from headnode.slurm.accounting import ElementEnd
from headnode.slurm.elements import describe_failures, enough_succeeded, failed_elements
from headnode.slurm.ends import kind_of_end

_TAILS_SHOWN: Final = 3


def summarize_failures(ends: Mapping[int, ElementEnd], *, name: str, where: str) -> str:
    """Return how many elements of the array ``name`` failed, which and how; ``where`` names the cluster."""
    return (
        f"{len(failed_elements(ends))} of {len(ends)} elements of {name} on {where} failed: {describe_failures(ends)}"
    )


def array_error(
    ends: Mapping[int, ElementEnd],
    *,
    summary: str,
    min_success_fraction: float,
    element_retries: int = 0,
    tails: Mapping[int, Sequence[str]],
) -> JobError | None:
    """Return the error that the ends of all elements are, None where enough of them are good.

    ``summary`` is what ``summarize_failures`` says of them, ``tails`` are the last lines that failed elements wrote.
    Where all failed in the same way it is the error of that end, else ``JobFailed``.
    """
    failed = failed_elements(ends)
    succeeded = len(ends) - len(failed)
    if enough_succeeded(succeeded=succeeded, total=len(ends), min_success_fraction=min_success_fraction):
        return None
    kinds = {kind_of_end(ends[element].state) for element in failed}
    kind, advice = next(iter(kinds)) if len(kinds) == 1 else (JobFailed, "")
    message = summary + (f": {advice}" if kind is not JobFailed else "")
    if min_success_fraction < 1:
        message += f". min_success_fraction={min_success_fraction:g} asks for more"
    if element_retries:
        message += f". An element that fails runs again up to {element_retries} times (element_retries)"
    for element, lines in islice(((element, lines) for element, lines in tails.items() if lines), _TAILS_SHOWN):
        message += f"\nThe last lines of element {element}'s log:\n" + "\n".join(f"  {line}" for line in lines)
    return kind(message)


def merge_results(
    ends: Mapping[int, ElementEnd], found: Iterable[tuple[Iterable[int], Mapping[int, Any]]]
) -> list[Any] | None:
    """Return the elements' results in their order, None for those that wrote nothing or failed.

    ``found`` are, for each array job in the order of submission, its elements and what they wrote; of an element that
    ran again only the last run counts. Where no element has a result, there is no list either.
    """
    results: dict[int, Any] = {}
    for elements, written in found:
        for element in elements:
            results.pop(element, None)
            if element in written:
                results[element] = written[element]
    for element in failed_elements(ends):
        results.pop(element, None)
    return [results.get(element) for element in sorted(ends)] if results else None
