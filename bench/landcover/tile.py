"""``python -m bench.landcover.tile``: what a tile of 10,980² pixels takes, from one row of its blocks.

Ten bands and the cloud mask of all dates of a year are written as tiled GeoTIFF files (see `repeated`), the row of
blocks is prepared and classified by the steps themselves, each in a process of its own, and time, memory and storage
are measured; then the memory at other sizes of blocks and tiles. Run with the jobs' Python, from the project's root,
with `dags/landcover/jobs` on PYTHONPATH.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import shlex
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from landcover_jobs.configuration.map_configuration import MapConfiguration
from landcover_jobs.configuration.reading import parse_map
from landcover_jobs.folder import MapFolder

from bench.landcover.repeated import BANDS, MASK, RESOLUTION, TILE_PIXELS, WHOLE_TILE, Written, write_images
from bench.landcover.untrained import write_models

YEAR: Final = 2018
GIB: Final = 1 << 30
CLASSIFIED: Final = ("one row of blocks",)
CUBE: Final = Path(".demo/landcover/romania_valley/source/sentinel2_20m.nc")


@dataclass(frozen=True)
class Measured:
    """What one process took."""

    step: str
    what: str
    rows: int
    columns: int
    block: int
    threads: int
    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int
    stored_bytes: int

    @property
    def pixels(self) -> int:
        """How many pixels were worked on."""
        return self.rows * self.columns

    @property
    def speed(self) -> float:
        """Pixels a second and core, by the processor time of all threads."""
        return self.pixels / self.cpu_seconds


def main() -> int:
    """Write the images, measure, and print the report."""
    given = arguments()
    with tempfile.TemporaryDirectory(dir=given.folder, prefix="landcover-tile-") as temporary:
        root = Path(temporary)
        say("writing the images")
        written = write_images(root / "images", given.cube, year=YEAR, rows=512, columns=given.columns)
        cases = [
            ("one row of blocks", 512, given.columns, 512, 1),
            ("half as wide", 512, given.columns // 2, 512, 1),
            ("a quarter as wide", 512, given.columns // 4, 512, 1),
            ("two threads", 512, given.columns // 4, 512, 2),
            ("smaller blocks, files read in parts", 256, given.columns // 4, 256, 1),
            ("larger blocks, lower half empty", 1024, given.columns // 4, 1024, 1),
        ]
        results = []
        for what, rows, columns, block, threads in cases[: 1 if given.quick else None]:
            say(f"preparing {what}: {rows} x {columns} pixels, blocks of {block}, {threads} threads")
            results.append(measure(root, what, rows=rows, columns=columns, block=block, threads=threads))
            if what in CLASSIFIED:
                say(line(results[-1]))
                say(f"classifying {what}")
                results.append(classify(root, results[-1]))
            say(line(results[-1]))
        sys.stdout.write(report(written, results) + "\n")
    return 0


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.landcover.tile", description=__doc__)
    parser.add_argument("--cube", type=Path, default=CUBE, help="the Romanian images, 20 m, as `make demo` leaves them")
    parser.add_argument("--columns", type=int, default=TILE_PIXELS, help="how wide the tile is")
    parser.add_argument("--folder", type=Path, help="where the images (about 1 GB) are written; a temporary folder")
    parser.add_argument("--quick", action="store_true", help="the row alone, no other sizes")
    given = parser.parse_args()
    if not given.cube.is_file():
        parser.error(f"{given.cube} is missing: run `make demo` once, or name it with --cube")
    return given


def configuration(images: Path, *, rows: int, columns: int, block: int) -> MapConfiguration:
    """Return a map of the first rows and columns of the tile."""
    top, left = WHOLE_TILE.top, WHOLE_TILE.left
    content: dict[str, Any] = {
        "name": f"tile_{rows}_{columns}_{block}",
        "title": "A row of blocks of a tile",
        "area": {"bounds": [left, top - rows * RESOLUTION, left + columns * RESOLUTION, top]},
        "grid": {
            "kind": "regular", "crs": WHOLE_TILE.crs, "resolution": RESOLUTION, "tile_pixels": TILE_PIXELS,
            "origin": [left, top],
        },
        "years": {"first": YEAR, "last": YEAR},
        "source": {"kind": "folder", "path": str(images)},
        "bands": {band: {} for band in BANDS},
        "composites": {
            "cloud_mask": {"band": MASK, "clear": [4, 5, 7]},
            "indices": {
                "NDVI": ["B08", "B04"], "NDMI": ["B08", "B11"], "MNDWI": ["B03", "B11"], "NDWI": ["B03", "B08"],
            },
            "block_pixels": block,
        },
        "classes": [
            {"value": 1, "name": "forest", "colour": "#006400"}, {"value": 2, "name": "other", "colour": "#ffff4c"},
        ],
        "old_map": {"path": "{data}/none.tif", "year": YEAR, "legend": [{"becomes": 1, "values": [1]}]},
        "validation": {"block_size": 1000},
    }  # fmt: skip
    return parse_map(content, "bench")


def measure(root: Path, what: str, *, rows: int, columns: int, block: int, threads: int) -> Measured:
    """Find, fetch (link) and prepare the rows, the last in a process that is measured."""
    whole = configuration(root / "images", rows=rows, columns=columns, block=block)
    data = folder_of(root, what)
    for step in ("search", "fetch"):
        run_step(step, data, whole, threads)
    wall, cpu, peak = run_step("prepare", data, whole, threads)
    stored = sum(file.stat().st_size for file in MapFolder(data / whole.name).root.glob("composites/**/c/**/*"))
    return Measured("prepare", what, rows, columns, block, threads, wall, cpu, peak, stored)


def classify(root: Path, row: Measured) -> Measured:
    """Classify what was prepared with the default transformer, untrained."""
    whole = configuration(root / "images", rows=row.rows, columns=row.columns, block=row.block)
    data = folder_of(root, row.what)
    folder = MapFolder(data / whole.name)
    write_models(folder, whole)
    wall, cpu, peak = run_step("classify", data, whole, row.threads)
    stored = sum(file.stat().st_size for file in folder.root.glob("predictions/**/*.tif"))
    return replace(
        row, step="classify", wall_seconds=wall, cpu_seconds=cpu, peak_bytes=peak, stored_bytes=stored
    )  # fmt: skip


def folder_of(root: Path, what: str) -> Path:
    """Return the data folder of a case."""
    return root / what.replace(" ", "_")


def run_step(step: str, data: Path, whole: MapConfiguration, threads: int) -> tuple[float, float, int]:
    """Run one step on so many cores; return its wall and processor seconds and its peak memory in bytes."""
    environment = os.environ | {
        "LANDCOVER_MAP": whole.model_dump_json(),
        "SLURM_ARRAY_TASK_ID": "0",
        "SLURM_CPUS_PER_TASK": str(threads),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", f"landcover_jobs.steps.{step}", "--data", str(data), "--year", str(YEAR)]
    log = data.with_suffix(f".{step}.log")
    began = time.monotonic()
    process = os.posix_spawn(
        command[0], command, environment,
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT, 0o644), (os.POSIX_SPAWN_DUP2, 1, 2)],
    )  # fmt: skip
    os.sched_setaffinity(process, sorted(os.sched_getaffinity(0))[:threads])
    _, status, usage = os.wait4(process, 0)
    if status:
        raise SystemExit(f"the step {step} failed:\n{log.read_text()}")
    return time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def report(written: Written, results: list[Measured]) -> str:
    """Return the figures and what follows from them for a whole tile, as Markdown."""
    command = command_line()
    now = dt.datetime.now(tz=dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
    lines = [
        "## A tile of 10,980 x 10,980 pixels",
        "",
        (
            f"`{command}`, {os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}, numpy"
            f" {np.__version__}, {now}. {len(BANDS)} bands and the cloud mask, {written.dates} dates of {YEAR}: real"
            f" series of 50 x 50 pixels repeated (synthetic in size only), {written.bytes / GIB:.2f} GiB in"
            f" {written.files} tiled GeoTIFF files. Seconds hold the start of Python and its libraries."
        ),
        "",
        "| step | | pixels | blocks | threads | s | processor s | pixels/s/core | peak memory | stored B/pixel |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [line(each) for each in results]
    first_of_each = {each.step: each for each in reversed(results)}
    return "\n".join(
        [*lines, *(f"\n{whole_tile(first_of_each[step])}" for step in sorted(first_of_each, reverse=True))]
    )


def command_line() -> str:
    """Return what was called, e.g. ``python -m bench.landcover.tile --quick``."""
    name = Path(sys.argv[0]).stem
    module = "bench.landcover" if name == "__main__" else f"bench.landcover.{name}"
    return shlex.join(["python", "-m", module, *sys.argv[1:]])


def line(each: Measured) -> str:
    """Return a line of the table."""
    return (
        f"| {each.step} | {each.what} | {each.rows} x {each.columns:,} | {each.block} | {each.threads} |"
        f" {each.wall_seconds:.1f} | {each.cpu_seconds:.1f} | {each.speed:,.0f} | {each.peak_bytes / GIB:.2f} GiB |"
        f" {each.stored_bytes / each.pixels:.0f} |"
    )


def whole_tile(row: Measured) -> str:
    """Return what follows from a row of blocks for a whole tile, with the arithmetic."""
    tile = TILE_PIXELS * TILE_PIXELS
    stored = row.stored_bytes / row.pixels
    return (
        f"To {row.step} a whole tile, {TILE_PIXELS:,}² = {tile / 1e6:.1f} million pixels, takes"
        f" {tile:,} / {row.speed:,.0f} / 3600 = {tile / row.speed / 3600:.2f} core hours and"
        f" {tile:,} x {stored:.1f} B = {tile * stored / 1e9:.1f} GB; the peak memory is that of the table, for it"
        " depends on the block alone."
    )


def say(text: str) -> None:
    """Write a line for whoever waits."""
    sys.stderr.write(json.dumps({"time": time.strftime("%H:%M:%S"), "doing": text}) + "\n")


if __name__ == "__main__":
    sys.exit(main())
