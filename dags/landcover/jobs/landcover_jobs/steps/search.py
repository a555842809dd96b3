"""Find the scenes that the map of a year is made of, and write down its tiles; nothing large is fetched.

It asks the source anew each time, so that scenes that came later are found; what is fetched already stays.
"""

from __future__ import annotations

from typing import Any

from landcover_jobs.grid.tiles import mosaic_frame, tiles_of, write_tiles
from landcover_jobs.invocation import invoked
from landcover_jobs.job import run, say
from landcover_jobs.scenes.area import window_of
from landcover_jobs.scenes.fetched import missing, wanted_of
from landcover_jobs.scenes.inventory import inventory_key, write_inventory
from landcover_jobs.scenes.sources import find_scenes

MOST_NAMES = 200


def main() -> dict[str, Any]:
    """Write `tiles.json` and the inventories of the years that the map needs."""
    given = invoked("search")
    configuration, folder, year = given.map, given.folder, given.year
    tiles = tiles_of(configuration)
    write_tiles(folder, tiles, mosaic_frame(configuration, tiles))
    say(f"{len(tiles)} tiles")
    window = window_of(configuration, tiles)
    found, new = {}, {}
    for each in configuration.years_needed(year):
        scenes = find_scenes(given, tiles, each)
        lacking = [scene for scene in scenes if missing(wanted_of(scene, folder.scenes, window))]
        write_inventory(folder.inventory(each), scenes, inventory_key(configuration, scenes))
        say(f"{each}: {len(scenes)} scenes, {len(lacking)} of them not fetched yet")
        found[str(each)], new[str(each)] = len(scenes), len(lacking)
    result: dict[str, Any] = {"year": year, "tiles": len(tiles), "scenes": found, "new": new}
    return result | ({"tile_names": [tile.name for tile in tiles]} if len(tiles) <= MOST_NAMES else {})


if __name__ == "__main__":
    run(main)
