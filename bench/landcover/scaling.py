"""What more elements and more processes gain, and what larger areas take: the arithmetic of ``bench.landcover``.

Measured are elements of the array `prepare` (tiles of 512 x 512 pixels, real series repeated), one or more at a time,
and epochs of the transformer on one or more processes (DDP). The rest is arithmetic over figures of
`bench.landcover.tile` and `.mosaic`, shown with each product.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from landcover_jobs.configuration.learning import TransformerSettings
from landcover_jobs.configuration.map_configuration import MapConfiguration
from landcover_jobs.folder import MapFolder
from landcover_jobs.learning.recipe import Labelled, Progress, Recipe
from landcover_jobs.learning.training import fit
from landcover_jobs.learning.transformer import days_of_periods
from landcover_jobs.learning.workers import joined

from bench.landcover.repeated import TILE_PIXELS, write_images
from bench.landcover.tile import YEAR, configuration, run_step, say

EDGE: Final = 512
ELEMENTS: Final = 4
SERIES, PERIODS, CHANNELS, CLASSES, EPOCHS = 16_384, 12, 10, 7, 4
REFERENCE: Final = TransformerSettings(width=64, layers=3, heads=4)
TRAIN_HERE: Final = "--train-here"
STEPS: Final = ("prepare", "classify", "mosaic", "validate")
BYTES: Final = ("scenes", "composites", "predictions", "layers")


@dataclass(frozen=True)
class Figures:
    """What was measured of one tile: pixels a second and core of each step, bytes a pixel and year of each product."""

    speeds: dict[str, float]
    stored: dict[str, float]


@dataclass(frozen=True)
class Areas:
    """What is asked about; the world's tiles are those with land, without Antarctica, a round figure."""

    node_cores: int = 48
    nodes: int = 10
    italy_tiles: int = 60
    world_tiles: int = 18_000


@dataclass(frozen=True)
class Scaled:
    """What so many at a time took."""

    at_once: int
    seconds: float


def array_widths(root: Path, cube: Path, widths: Sequence[int]) -> list[Scaled]:
    """Prepare four tiles, so many elements at a time, a core each."""
    say("writing images")
    write_images(root / "images", cube, year=YEAR, rows=EDGE, columns=EDGE * ELEMENTS)
    whole = configuration(root / "images", rows=EDGE, columns=EDGE * ELEMENTS, block=EDGE)
    grid = whole.grid.model_copy(update={"tile_pixels": EDGE})
    whole = MapConfiguration.model_validate(whole.model_copy(update={"grid": grid}).model_dump(mode="json"))
    data = root / "data"
    for step in ("search", "fetch"):
        run_step(step, data, whole, 1)
    found = []
    for width in widths:
        say(f"preparing {ELEMENTS} tiles, {width} at a time")
        began = time.monotonic()
        with ThreadPoolExecutor(width) as pool:
            list(pool.map(lambda element: prepare(data, whole, element), range(ELEMENTS)))
        found.append(Scaled(width, time.monotonic() - began))
        shutil.rmtree(MapFolder(data / whole.name).composites(YEAR, "any").parent)
    return found


def prepare(data: Path, whole: MapConfiguration, element: int) -> None:
    """Run one element of the array."""
    environment = os.environ | {
        "LANDCOVER_MAP": whole.model_dump_json(), "SLURM_ARRAY_TASK_ID": str(element),
        "HEADNODE_ELEMENT": str(element), "SLURM_CPUS_PER_TASK": "1", "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    command = [sys.executable, "-m", "landcover_jobs.steps.prepare", "--data", str(data), "--year", str(YEAR)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the step prepare failed:\n{done.stdout}{done.stderr}")


def epoch_seconds(root: Path, processes: int) -> float:
    """Train the transformer by torchrun; return the median of the epochs after the first."""
    say(f"training on {processes} processes")
    target = root / f"epochs{processes}.json"
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes),
        "-m", "bench.landcover.scaling", TRAIN_HERE, str(target),
    ]  # fmt: skip
    done = subprocess.run(
        command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"training failed:\n{done.stdout}{done.stderr}")
    ends: list[float] = json.loads(target.read_text(encoding="utf-8"))
    return statistics.median(after - before for before, after in itertools.pairwise(ends))


def train_here(target: Path) -> int:
    """Be one process of a training on made-up series, and note when its epochs were over."""
    random = np.random.default_rng(5)
    features = random.standard_normal((SERIES, PERIODS, CHANNELS), dtype=np.float32)
    samples = Labelled(features, np.zeros((SERIES, PERIODS), dtype=bool), random.integers(0, CLASSES, SERIES))
    ends: list[float] = []

    def after_epoch(progress: Progress) -> None:
        del progress
        ends.append(time.monotonic())

    recipe = Recipe(settings=REFERENCE, epochs=EPOCHS, seed=1, mixed_precision=False)
    with joined() as workers:
        fit(
            samples, classes=CLASSES, days=days_of_periods(PERIODS), recipe=recipe, workers=workers,
            after_epoch=after_epoch,
        )  # fmt: skip
        if workers.first:
            target.write_text(json.dumps(ends), encoding="utf-8")
    return 0


def measured(arrays: Sequence[Scaled], epochs: Sequence[Scaled]) -> list[str]:
    """Return the table of what was measured."""
    what = {
        f"`prepare`, {ELEMENTS} tiles of {EDGE}², elements at a time": arrays,
        f"epoch of {SERIES:,} series (width 64, 3 layers, batch 256), DDP processes": epochs,
    }
    lines = ["| | at once | s | times as fast | efficiency |", "|---|---|---|---|---|"]
    for name, results in what.items():
        for each in results:
            gain = results[0].seconds / each.seconds
            share = gain * results[0].at_once / each.at_once
            lines.append(f"| {name} | {each.at_once} | {each.seconds:.1f} | {gain:.2f} | {share:.0%} |")
    return lines


def arithmetic(figures: Figures, areas: Areas) -> list[str]:
    """Return core hours, storage and wall time of a tile, of Italy and of the world's land, each product shown."""
    pixels = TILE_PIXELS**2
    speeds, stored = figures.speeds, figures.stored
    hours = {step: pixels / speed / 3600 for step, speed in speeds.items()}
    gigabytes = {what: pixels * each / 1e9 for what, each in stored.items()}
    core_hours, storage = sum(hours.values()), sum(gigabytes.values())
    lines = [f"One tile of {TILE_PIXELS:,}² = {pixels:,} pixels, and one year:", ""]
    lines += [f"- `{step}`: {pixels:,} / {speeds[step]:,.0f} /s = {hours[step]:.2f} core hours" for step in STEPS]
    lines += [f"- {what}: {pixels:,} x {stored[what]:g} B = {gigabytes[what]:.1f} GB" for what in BYTES]
    lines += [
        "",
        (
            f"| | tiles | core hours | node hours ({areas.node_cores} cores) | hours of tiles on {areas.nodes} nodes"
            " | storage |"
        ),
        "|---|---|---|---|---|---|",
    ]
    for name, tiles in (("a tile", 1), ("Italy", areas.italy_tiles), ("the world's land", areas.world_tiles)):
        total = core_hours * tiles
        turns = math.ceil(tiles / (areas.nodes * areas.node_cores))
        lines.append(
            f"| {name} | {tiles:,} | {total:,.1f} | {total / areas.node_cores:,.2f} |"
            f" {turns * (hours['prepare'] + hours['classify']):,.2f} h |"
            f" {storage * tiles / 1000:,.2f} TB |"
        )
    return [
        *lines,
        "",
        (
            "Core hours are those of a tile times the tiles: tiles are elements of a core each that share nothing but"
            " the file system, whose throughput is not part of this. `mosaic` and `validate` follow, one job each for a"
            f" map: {hours['mosaic'] + hours['validate']:.3f} core hours a tile. Fetching is bounded by the network."
        ),
    ]


if __name__ == "__main__":
    if sys.argv[1:2] == [TRAIN_HERE]:
        raise SystemExit(train_here(Path(sys.argv[2])))
    raise SystemExit("run python -m bench.landcover")
