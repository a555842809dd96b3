"""Turn one tile's scenes of a year, and of the year of the labels, into composites; an array's element is a tile."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from landcover_jobs.configuration.map_configuration import MapConfiguration
from landcover_jobs.folder import MapFolder
from landcover_jobs.grid.frame import Frame, Tile
from landcover_jobs.grid.tiles import read_tiles
from landcover_jobs.invocation import element_of, invoked
from landcover_jobs.job import StepError, array_element, run, say
from landcover_jobs.preparation.block import Summary
from landcover_jobs.preparation.tile import TileYear, forget_work, prepare_tile
from landcover_jobs.records import already_made, code_key, key_of, record_made
from landcover_jobs.scenes.cube import read_block
from landcover_jobs.scenes.footprint import touching
from landcover_jobs.scenes.inventory import Scene, read_inventory

CODE = (
    "preparation",
    "scenes.bands",
    "scenes.cube",
    "scenes.resampling",
    "scenes.inventory",
    "grid.frame",
    "steps.prepare",
)


def main() -> dict[str, Any]:
    """Write the composites of this element's tile for every year that the map of `--year` needs."""
    given = invoked("prepare")
    tiles, _ = read_tiles(given.folder)
    by_name = {tile.name: tile for tile in tiles}
    tile = by_name[element_of(list(by_name), array_element())]
    records = {year: prepared(given.folder, given.map, tile, year) for year in given.map.years_needed(given.year)}
    record = records[given.year]
    result = {name: record[name] for name in ("clear_share", "clear_observations_mean", "pixels_never_seen")}
    return {
        "tile": tile.name,
        "year": given.year,
        "years": sorted(records),
        "dates": len(record["dates"]),
        "empty_periods": record["empty_periods"],
        **result,
    }


def prepared(folder: MapFolder, configuration: MapConfiguration, tile: Tile, year: int) -> dict[str, Any]:
    """Return the record of a tile's composites of a year, after making them where they are not of these inputs.

    Raises:
        StepError: no scene shows the tile, a scene cannot be read, or too little of the tile is seen.
    """
    scenes = tuple(touching(read_inventory(folder.inventory(year)), tile.frame))
    if not scenes:
        raise StepError(
            f"tile {tile.name}: no scene of {year} shows it; check source (its collection, query and"
            f" max_cloud_percent) and years, or leave the tile out (grid.tiles, or a smaller area)"
        )
    work = TileYear(tile.name, tile.frame, year, scenes, _key(configuration, tile.frame, year, scenes))
    path = folder.composites(year, tile.name)
    record = already_made(path.with_suffix(".json"), work.key)
    if record is None:
        record = _made(path, work, configuration, folder)
    else:
        say(f"{work.said}: composites of the same {len(scenes)} scenes are there")
    _check_clear_share(record, work, configuration)
    return record


def _key(configuration: MapConfiguration, frame: Frame, year: int, scenes: Sequence[Scene]) -> str:
    return key_of(
        {
            "step": "prepare",
            "year": year,
            "frame": frame.as_dict(),
            "scenes": [[scene.id, scene.date, scene.content] for scene in scenes],
            "features": configuration.features,  # in their order, which a mapping's key has not
            "bands": {name: band.model_dump(mode="json") for name, band in configuration.bands.items()},
            "composites": configuration.composites.model_dump(mode="json", exclude={"least_clear_share"}),
            "code": code_key(*CODE),
        }
    )


def _made(path: Path, work: TileYear, configuration: MapConfiguration, folder: MapFolder) -> dict[str, Any]:
    say(f"{work.said}: {len(work.scenes)} scenes, {work.frame.height} x {work.frame.width} pixels")
    threads = int(os.environ.get("SLURM_CPUS_PER_TASK", "1"))

    def read(scenes: Sequence[Scene], bands: Sequence[str], frame: Frame) -> npt.NDArray[Any]:
        return read_block(scenes, folder, bands, frame, configuration)

    summary = prepare_tile(path, work, configuration, read, threads=threads)
    record = path.with_suffix(".json")
    record_made(record, work.key, [path], _content(work, summary))
    forget_work(path, work.key)
    made = already_made(record, work.key)
    if made is None:
        raise StepError(f"{path} changed while it was recorded: another job writes to it; run the step again")
    _say_what_was_seen(made, work, configuration)
    return made


def _content(work: TileYear, summary: Summary) -> dict[str, Any]:
    return {
        "tile": work.name,
        "year": work.year,
        "scenes": [scene.id for scene in work.scenes],
        "dates": sorted({scene.time.date().isoformat() for scene in work.scenes}),
        "pixels": summary.pixels,
        "pixels_never_seen": summary.pixels_never_seen,
        "clear_share": round(1 - summary.pixels_never_seen / summary.pixels, 6),
        "clear_observations_mean": round(summary.observations / summary.pixels, 2),
        "empty_periods": list(summary.empty_periods),
        "statistics": summary.statistics.as_dict(),
    }


def _say_what_was_seen(record: dict[str, Any], work: TileYear, configuration: MapConfiguration) -> None:
    say(
        f"{work.said}: {len(record['dates'])} dates, {record['clear_observations_mean']} clear a pixel,"
        f" {record['pixels_never_seen']} pixels never seen"
    )
    if record["empty_periods"]:
        numbers = ", ".join(str(period + 1) for period in record["empty_periods"])
        kind = "months" if configuration.composites.period == "month" else "ten-day periods"
        say(f"{work.said}: no clear pixel at all in {kind} {numbers}; their composites are interpolated")


def _check_clear_share(record: dict[str, Any], work: TileYear, configuration: MapConfiguration) -> None:
    share, least = record["clear_share"], configuration.composites.least_clear_share
    if share < least:
        raise StepError(
            f"{work.said}: only {share:.1%} of its pixels are seen on any of {len(record['dates'])} dates, less than"
            f" composites.least_clear_share ({least:.1%}): add scenes, check composites.cloud_mask, or lower the share"
        )


if __name__ == "__main__":
    run(main)
