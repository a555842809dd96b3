"""Publishing and rolling back, each a row of steps of which any may be the last before a crash.

The order is: the version appears, whole; `current` turns; items and collection follow; the history has its line. What
was published last stays in place until `current` turns, and a rerun begins where the row was broken off: the version is
found by its key, and it is complete once the history says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from landcover_jobs.configuration.map_configuration import MapConfiguration
from landcover_jobs.folder import MapFolder
from landcover_jobs.job import StepError, say
from landcover_jobs.publishing.building import build
from landcover_jobs.publishing.catalogue import settle
from landcover_jobs.publishing.history import Entry, add_to_history, read_history
from landcover_jobs.publishing.locking import publishing_alone
from landcover_jobs.publishing.sources import Product
from landcover_jobs.publishing.versions import Version, appearing, current_version, sweep, turn, versions_in

PREVIOUS = "previous"


@dataclass(frozen=True)
class Outcome:
    """Whether `current` names another map now, the version in question, and the one that counted before."""

    published: bool
    version: Version
    before: Version | None


def publish(product: Product, data: MapFolder) -> Outcome:
    """Publish a year's map, unless the same content is published already.

    Where a person has rolled a year back from this very content, it stays rolled back.

    Raises:
        StepError: an input is missing or not what an earlier step has noted; nothing is published then.
    """
    home, published = data.versions(product.year), data.published
    with publishing_alone(published):
        sweep(home)
        key, turns = product.content_key(), turns_of(published, product.year)
        existing = next((each for each in versions_in(home) if each.key == key), None)
        if existing is not None and _stays(existing, current_version(home), turns):
            settle(published, product.configuration)
            say(f"{product.year}: nothing new, {existing} has this content")
            return Outcome(published=False, version=existing, before=version_before(home, turns))
        version = existing or Version(_next_number(home, read_history(published), product.year), key)
        before = version_before(home, turns) if current_version(home) == version else current_version(home)
        if existing is None:
            with appearing(home, version) as folder:
                build(folder, product, data, version)
        turn(home, version)
        settle(published, product.configuration)
        add_to_history(published, "publish", product.year, str(version))
    say(f"published: {home / str(version)}")
    return Outcome(published=True, version=version, before=before)


def roll_back(configuration: MapConfiguration, data: MapFolder, year: int, wanted: str) -> Outcome:
    """Let `current` name another version of a year: one by its name, or `previous`, the one that counted before.

    Raises:
        StepError: there is no such version; the sentence names those there are.
    """
    home, published = data.versions(year), data.published
    with publishing_alone(published):
        sweep(home)
        before, turns = current_version(home), turns_of(published, year)
        version = _wanted(home, wanted, turns, year)
        if version == before and turns and turns[-1].version == str(version):
            settle(published, configuration)
            say(f"{year}: {version} counts already")
            repeated = turns[-1].action == "rollback"
            return Outcome(published=repeated, version=version, before=version_before(home, turns))
        turn(home, version)
        settle(published, configuration)
        add_to_history(published, "rollback", year, str(version))
    say(f"{year}: {version} counts now")
    return Outcome(published=True, version=version, before=before if before != version else None)


def turns_of(published: Path, year: int) -> tuple[Entry, ...]:
    """Return what has made `current` turn in a year, as far as it was completed, the oldest first."""
    return tuple(each for each in read_history(published) if each.year == year and each.action != "remove")


def version_before(home: Path, turns: Sequence[Entry]) -> Version | None:
    """Return the version that counted before the one that counts, of those that are still there; None without any.

    It is read from the history, not from `current`, so that a rollback to `previous` that was killed half-way goes to
    the same version when it runs again. Only a version that no line tells of (its publication was killed) counts
    although the history does not know.
    """
    there = {str(version): version for version in versions_in(home)}
    counted = [turn.version for turn in turns]
    current = str(current_version(home))
    newest = current if current not in counted else counted[-1]
    earlier = [name for name in counted if name != newest and name in there]
    return there[earlier[-1]] if earlier else None


def _stays(existing: Version, current: Version | None, turns: Sequence[Entry]) -> bool:
    completed = any(turn.version == str(existing) for turn in turns)
    if not completed:
        return False
    return existing == current or turns[-1].action == "rollback"


def _next_number(home: Path, history: Sequence[Entry], year: int) -> int:
    """Return a number that no version of the year has had, removed ones among them."""
    named = [Version.parsed(entry.version) for entry in history if entry.year == year]
    numbers = [version.number for version in (*versions_in(home), *named) if version is not None]
    return max(numbers, default=0) + 1


def _wanted(home: Path, wanted: str, turns: Sequence[Entry], year: int) -> Version:
    there = versions_in(home)
    if not there:
        raise StepError(f"nothing of {year} is published, so there is nothing to roll back")
    names = ", ".join(str(version) for version in there)
    if wanted == PREVIOUS:
        before = version_before(home, turns)
        if before is None:
            raise StepError(f"no version of {year} counted before the one that counts; there are: {names}")
        return before
    version = next((each for each in there if str(each) == wanted), None)
    if version is None:
        raise StepError(f"{year} has no version {wanted}; there are: {names}")
    return version
