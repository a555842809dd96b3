"""Fetch the scenes of a year and of the labels' year that are not there yet, and the old map if it is on the network.

A killed step just runs again: whole files stay, parts are continued. What `item.json` says of a file is compared with
its size; `--verify` reads every file and compares its hash, too, and fetches the damaged ones again.

A scene that cannot be had fails the step, after the other files have come. With `source.transfer.broken_scenes:
leave_out` such scenes, at most one in ten, are taken out of the inventory instead: the log and the result name them,
and the next `search` puts them back to be tried again.
"""

from __future__ import annotations

from typing import Any

from landcover_jobs.grid.tiles import read_tiles
from landcover_jobs.invocation import Invocation, invoked
from landcover_jobs.job import StepError, run, say
from landcover_jobs.scenes.area import window_of
from landcover_jobs.scenes.fetched import Wanted, sweep, wanted_of
from landcover_jobs.scenes.fetching import MOST_BROKEN, Outcome, fetch_all, signing_of, transfer_of
from landcover_jobs.scenes.inventory import Scene, inventory_key, read_inventory, write_inventory
from landcover_jobs.scenes.old_map import wanted_old_map
from landcover_jobs.scenes.sources import alone

LEFT_OUT_SHARE = 0.1
NAMED = 5


def main() -> dict[str, Any]:
    """Bring everything into the map's folder that its steps read."""
    given = invoked("fetch", flags={"verify": "compare the hashes of files that are there, too"})
    folder, years = given.folder, given.map.years_needed(given.year)
    inventories = {year: read_inventory(folder.inventory(year)) for year in years}
    window = window_of(given.map, read_tiles(folder)[0])
    scenes = {scene.id: scene for listed in inventories.values() for scene in listed}
    wanted = [each for scene in scenes.values() for each in wanted_of(scene, folder.scenes, window)]
    old_map = wanted_old_map(given, window)
    say(f"{len(scenes)} scenes of {', '.join(map(str, years))}: {len(wanted)} files")
    with alone(folder):
        sweep({each.folder for each in wanted})
        outcome = _fetched(given, [*wanted, *([old_map] if old_map else [])], len(scenes))
        if outcome.broken:
            _without_broken(given, inventories, outcome)
    result: dict[str, Any] = {"fetched": outcome.fetched, "reused": outcome.reused, "bytes": outcome.bytes}
    return result | ({"left_out": sorted(outcome.broken)} if outcome.broken else {})


def _fetched(given: Invocation, wanted: list[Wanted], scenes: int) -> Outcome:
    source = given.map.source
    transfer = transfer_of(source)
    tolerated = int(LEFT_OUT_SHARE * scenes) if transfer.broken_scenes == "leave_out" else 0
    return fetch_all(
        wanted,
        transfer,
        sign=signing_of(source),
        verify=given.arguments.verify,
        most_broken=max(MOST_BROKEN, tolerated),
    )


def _without_broken(given: Invocation, inventories: dict[int, list[Scene]], outcome: Outcome) -> None:
    """Take broken scenes out of the inventories, where the configuration allows it.

    Raises:
        StepError: it does not, or there are too many of them, or the old map is among them.
    """
    known = {scene.id for listed in inventories.values() for scene in listed}
    allowed = transfer_of(given.map.source).broken_scenes == "leave_out"
    if not allowed or not outcome.broken.keys() <= known or len(outcome.broken) > LEFT_OUT_SHARE * len(known):
        reasons = list(outcome.broken.values())
        more = f"; and {len(reasons) - NAMED} more" if len(reasons) > NAMED else ""
        raise StepError(f"{len(reasons)} could not be fetched: " + "; ".join(reasons[:NAMED]) + more)
    for year, listed in inventories.items():
        kept = [scene for scene in listed if scene.id not in outcome.broken]
        if not kept:
            raise StepError(f"no scene of {year} could be fetched: {next(iter(outcome.broken.values()))}")
        if len(kept) < len(listed):
            write_inventory(given.folder.inventory(year), kept, inventory_key(given.map, kept))
    for scene, reason in outcome.broken.items():
        say(f"LEFT OUT of the map: scene {scene}: {reason}")


if __name__ == "__main__":
    run(main)
