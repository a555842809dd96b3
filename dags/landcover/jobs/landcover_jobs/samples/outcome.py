"""What came of choosing samples: the training set, and what was left out and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from landcover_jobs.job import StepError, say
from landcover_jobs.samples.training_set import TrainingSet

LEAST_CLASSES = 2


@dataclass(frozen=True)
class Dropped:
    """A class that has too few pixels to be learnt."""

    name: str
    pixels: int
    least: int

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for a record."""
        return {"name": self.name, "pixels": self.pixels, "least": self.least}


@dataclass(frozen=True)
class Outcome:
    """A training set and what a person should know of it."""

    training_set: TrainingSet
    dropped: tuple[Dropped, ...] = ()
    notes: tuple[str, ...] = ()


def classes_kept(counts: Sequence[int], names: Sequence[str], least: int, of_what: str) -> list[bool]:
    """Tell which classes have enough pixels.

    Raises:
        StepError: fewer than two have.
    """
    kept = [count >= least for count in counts]
    if sum(kept) < LEAST_CLASSES:
        found = ", ".join(f"{name}: {count}" for name, count in zip(names, counts, strict=True))
        raise StepError(
            f"fewer than two classes have {least} {of_what} ({found}), so there is nothing to tell apart; lower "
            "samples.least_of_class or samples.erosion_pixels, or check that the labels lie in the map's area"
        )
    return kept


def dropped_classes(counts: Sequence[int], names: Sequence[str], least: int, of_what: str) -> tuple[Dropped, ...]:
    """Return the classes without enough pixels, after saying so."""
    found = tuple(Dropped(name, count, least) for name, count in zip(names, counts, strict=True) if count < least)
    for each in found:
        say(
            f"warning: the class {each.name!r} is dropped: {each.pixels} {of_what}, "
            f"and samples.least_of_class is {least}"
        )
    return found
