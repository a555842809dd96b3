"""``python -m bench.landcover.mosaic``: what it takes to put tiles together, to find changes and to judge the map.

Predictions of overlapping tiles are invented (patches of ten classes with noise, so that they compress as a map does),
written as `classify` writes them, and put together by the steps themselves, each in a process of its own whose time and
memory are measured: maps of several sizes, one whose tiles lie in another UTM zone, one with a map of the year before.
Run with the jobs' Python, from the project's root, with `dags/landcover/jobs` on PYTHONPATH.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import rasterio
from landcover_jobs.configuration.map_configuration import MapConfiguration
from landcover_jobs.configuration.reading import parse_map
from landcover_jobs.folder import MapFolder
from landcover_jobs.grid.frame import Tile
from landcover_jobs.grid.tiles import mosaic_frame, read_tiles, tiles_of, write_tiles
from landcover_jobs.job import read_json, write_json
from landcover_jobs.product.layers import CLASSES_FILE, RECORD_FILE
from landcover_jobs.product.predictions import SCORE_SCALE
from landcover_jobs.records import file_sha256, record_made
from landcover_jobs.validation.accuracy import scores_with_groups

from bench.landcover.tile import YEAR, command_line, say

MIB: Final = 1 << 20
CLASSES: Final = 10
TILE_PIXELS: Final = 10_980
LEFT, TOP = 399_960, 5_000_040
PATCH, STRIP = 8, 512
CHANGED: Final = 0.05
# Runs a step and notes its peak memory, as /proc has it: rusage counts that of the process that started it as well.
MEASURED: Final = """
import atexit, runpy, sys
from pathlib import Path
target, step = sys.argv[1:3]
del sys.argv[1:3]
status = Path("/proc/self/status")
atexit.register(lambda: Path(target).write_text(status.read_text().partition("VmHWM:")[2].split()[0]))
runpy.run_module(step, run_name="__main__", alter_sys=True)
"""


@dataclass(frozen=True)
class Measured:
    """What one process took."""

    what: str
    edge: int
    threads: int
    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int

    @property
    def speed(self) -> float:
        """Pixels a second and core, by the processor time of all threads."""
        return self.edge**2 / self.cpu_seconds


def main() -> int:
    """Write predictions, measure, and print the report."""
    given = arguments()
    results = []
    with tempfile.TemporaryDirectory(dir=given.folder, prefix="landcover-mosaic-") as temporary:
        for edge in given.edges:
            results += measure_size(Path(temporary), edge)
        results += measure_other_zone(Path(temporary), given.edges[0])
    sys.stdout.write(report(results) + "\n")
    return 0


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.landcover.mosaic", description=__doc__)
    parser.add_argument("--edges", type=int, nargs="+", default=[2048, 4096], help="edges of the maps in pixels")
    parser.add_argument("--folder", type=Path, help="where the files are written (10 B a pixel); a temporary folder")
    return parser.parse_args()


def measure_size(root: Path, edge: int) -> list[Measured]:
    """Measure a map in four tiles that overlap, alone and then beside one of the year before; and judge it."""
    say(f"writing predictions of {edge} x {edge} pixels")
    whole = configuration(edge)
    data = root / f"edge{edge}"
    folder = write_map(data, whole)
    found = [measured("mosaic", data, whole)]
    publish_before(folder)
    found.append(measured("mosaic, with changes", data, whole))
    if read_json(folder.mosaic(YEAR) / RECORD_FILE, made_by="mosaic")["change"] is None:
        raise SystemExit("no changes were looked for: the map of the year before was not found")
    shutil.rmtree(folder.mosaic(YEAR))
    found.append(measured("the same, two threads", data, whole, threads=2))
    found.append(measured("validate, beside the old map", data, whole, step="validate"))
    shutil.rmtree(data)
    return found


def measure_other_zone(root: Path, edge: int) -> list[Measured]:
    """Measure a map whose tiles must be resampled from another UTM zone."""
    say(f"writing predictions of {edge} x {edge} pixels of another zone")
    whole = configuration(edge, product={"crs": "EPSG:32634"})
    data = root / "zone"
    write_map(data, whole)
    found = [measured("mosaic, from another zone", data, whole)]
    shutil.rmtree(data)
    return found


def measured(what: str, data: Path, whole: MapConfiguration, *, step: str = "mosaic", threads: int = 1) -> Measured:
    """Run one step and measure it."""
    tiles, _ = read_tiles(MapFolder(data / whole.name))
    edge = round((tiles[-1].frame.bounds[2] - tiles[0].frame.left) / tiles[0].frame.resolution)
    say(f"{what}: {edge} x {edge} pixels, {threads} threads")
    environment = os.environ | {
        "LANDCOVER_MAP": whole.model_dump_json(), "SLURM_CPUS_PER_TASK": str(threads), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    peak, log = data / "peak", data / "log"
    command = [sys.executable, "-c", MEASURED, str(peak), f"landcover_jobs.steps.{step}"]
    began = time.monotonic()
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, "--data", str(data), "--year", str(YEAR)], env=environment, stdout=output, stderr=output
        )
        os.sched_setaffinity(process.pid, sorted(os.sched_getaffinity(0))[:threads])
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"the step {step} failed:\n{log.read_text()}")
    wall, cpu = time.monotonic() - began, usage.ru_utime + usage.ru_stime
    return Measured(what, edge, threads, wall, cpu, int(peak.read_text()) * 1024)


def configuration(edge: int, **more: Any) -> MapConfiguration:
    """Return a map of so many pixels in four tiles, which overlap by a tenth as those of Sentinel-2 do."""
    content: dict[str, Any] = {
        "name": "map", "title": "Tiles put together",
        "area": {"bounds": [LEFT, TOP - edge * 10, LEFT + edge * 10, TOP]},
        "grid": {
            "kind": "regular", "crs": "EPSG:32635", "resolution": 10, "tile_pixels": edge // 2,
            "overlap_pixels": edge // 40, "origin": [LEFT, TOP],
        },
        "years": {"first": YEAR - 1, "last": YEAR}, "source": {"kind": "folder", "path": "{data}/images"},
        "bands": {"B04": {}}, "composites": {"cloud_mask": {"band": "SCL", "clear": [4]}},
        "classes": [
            {"value": value, "name": f"class {value}", "colour": f"#{value * 24:02x}8040"}
            for value in range(1, CLASSES + 1)
        ],
        "old_map": {
            "path": "{data}/old.tif", "year": YEAR - 1,
            "legend": [{"becomes": value, "values": [value]} for value in range(1, CLASSES + 1)],
        },
        "validation": {"block_size": 5000},
    }  # fmt: skip
    return parse_map(content | more, "bench")


def write_map(data: Path, whole: MapConfiguration) -> MapFolder:
    """Write what `search`, `train` and `classify` leave of a map, and an old map."""
    folder = MapFolder(data / whole.name)
    tiles = tiles_of(whole)
    write_tiles(folder, tiles, mosaic_frame(whole, tiles))
    matrix = np.eye(CLASSES, dtype=np.int64) * 90 + 1
    scores = scores_with_groups(matrix, whole.class_names, whole.class_values, {})
    write_json(folder.models("m") / "training.json", {"better": "transformer", "scores": {"transformer": scores}})
    write_json(folder.current_models, {"key": "m"})
    for number, tile in enumerate(tiles):
        path = folder.predictions(YEAR, tile.name)
        write_predictions(path, tile, number)
        content = {"tile": tile.name, "year": YEAR, "by": "transformer", "models": "m"}
        record_made(path.with_suffix(".json"), file_sha256(path), [path], content)
    old, rng = Tile("old", mosaic_frame(whole, tiles)), np.random.default_rng(9)
    with rasterio.open(folder.root / "old.tif", "w", **raster(old, 1) | {"nodata": 0}) as file:
        for row in range(0, old.frame.height, STRIP):
            height = min(STRIP, old.frame.height - row)
            labels = invented(rng, height, old.frame.width).argmax(axis=0) + 1
            where = rasterio.windows.Window(0, row, old.frame.width, height)
            file.write(labels.astype(np.uint8), 1, window=where)
    return folder


def write_predictions(path: Path, tile: Tile, seed: int) -> None:
    """Write a tile's scores and observations, strip by strip."""
    rng = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(path, "w", **raster(tile, CLASSES + 1)) as file:
        for window in tile.frame.blocks(max(STRIP, tile.frame.width)):
            for row in range(0, window.height, STRIP):
                height = min(STRIP, window.height - row)
                scores = np.rint(invented(rng, height, window.width) * SCORE_SCALE).astype(np.uint8)
                counts = rng.integers(10, 40, (1, height, window.width)).astype(np.uint8)
                where = rasterio.windows.Window(0, window.row + row, window.width, height)
                file.write(np.concatenate([scores, counts]), window=where)


def invented(rng: np.random.Generator, height: int, width: int) -> npt.NDArray[np.float32]:
    """Return probabilities (class, y, x) of patches of 8 x 8 pixels, with some noise."""
    coarse = rng.standard_normal((CLASSES, -(-height // PATCH), -(-width // PATCH)), dtype=np.float32) * 2
    fields = coarse.repeat(PATCH, axis=1).repeat(PATCH, axis=2)[:, :height, :width]
    powers = np.exp(fields + rng.standard_normal(fields.shape, dtype=np.float32) / 2)
    shares: npt.NDArray[np.float32] = powers / powers.sum(axis=0)
    return shares


def raster(tile: Tile, bands: int) -> dict[str, Any]:
    """Return the profile of a file as `classify` writes it."""
    frame = tile.frame
    return {
        "driver": "GTiff", "dtype": "uint8", "count": bands, "height": frame.height, "width": frame.width,
        "crs": frame.crs, "transform": frame.transform, "tiled": True, "blockxsize": 512, "blockysize": 512,
        "compress": "deflate", "interleave": "band",
    }  # fmt: skip


def publish_before(folder: MapFolder) -> None:
    """Publish the map as one of the year before, with 5 % of the pixels of another class."""
    home = folder.versions(YEAR - 1) / "v1-a"
    home.mkdir(parents=True)
    shutil.copy(folder.mosaic(YEAR) / CLASSES_FILE, home / CLASSES_FILE)
    rng = np.random.default_rng(7)
    with rasterio.open(home / CLASSES_FILE, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as file:
        for _, window in file.block_windows(1):
            pixels = file.read(1, window=window)
            other = rng.integers(1, CLASSES + 1, pixels.shape).astype(np.uint8)
            file.write(np.where(rng.random(pixels.shape) < CHANGED, other, pixels), 1, window=window)
    (home.parent / "current").symlink_to(home.name)


def report(results: list[Measured]) -> str:
    """Return the figures and what follows from them for a whole tile, as Markdown."""
    command = command_line()
    now = dt.datetime.now(tz=dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
    lines = [
        "## Putting tiles together",
        "",
        (
            f"`{command}`, {os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}, rasterio"
            f" {rasterio.__version__}, {now}. {CLASSES} classes, four tiles that overlap by a tenth; predictions are"
            " invented. Seconds hold the start of Python and its libraries."
        ),
        "",
        "| | pixels | threads | s | processor s | pixels/s/core | peak memory |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {each.what} | {each.edge:,}² | {each.threads} | {each.wall_seconds:.1f} | {each.cpu_seconds:.1f} |"
        f" {each.speed:,.0f} | {each.peak_bytes / MIB:,.0f} MiB |"
        for each in results
    ]
    largest = max(each.edge for each in results)
    changes = next(each for each in results if each.edge == largest and "changes" in each.what)
    judging = next(each for each in results if each.edge == largest and "validate" in each.what)
    tile = TILE_PIXELS**2
    both = tile / changes.speed + tile / judging.speed
    lines += [
        "",
        (
            f"A whole tile of {TILE_PIXELS:,}² pixels at the figures of {largest:,}²: {tile:,} / {changes.speed:,.0f} +"
            f" {tile:,} / {judging.speed:,.0f} = {both:,.0f} core seconds for the layers with changes and for judging"
            f" them; for 60 tiles {60 * both / 3600:.1f} core hours, in one job of each step."
        ),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
