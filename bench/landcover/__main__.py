"""``python -m bench.landcover``: each step's speed, memory and storage, and from them what larger areas take.

Measured are a row of blocks of a tile of 10,980² pixels (`tile`), the mosaic and its validation (`mosaic`), and how
array elements and training processes scale (`scaling`). The arithmetic for a tile, for Italy and for the world's land
follows from these figures, in the same report. Run with the jobs' Python from the project's root, with
`dags/landcover/jobs` on PYTHONPATH, or `make bench-landcover-scale`, on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Final

from bench.landcover import mosaic, scaling, tile
from bench.landcover.repeated import TILE_PIXELS, Written, write_images

RESULTS: Final = Path("bench/RESULTS.md")
ROWS: Final = 512
BEFORE_CHANGES: Final = "mosaic, with changes"
JUDGED: Final = "validate, beside the old map"
# A class map, its confidence, its observations, and two bands of change, all of one byte, before compression.
LAYER_BYTES: Final = 5.0


def main() -> int:
    """Measure, print the report, and append it to the results where that is wanted."""
    given = arguments()
    if not given.cube.is_file():
        sys.stderr.write(f"{given.cube} is missing: run `make demo` first, or name the images with --cube\n")
        return 2
    with tempfile.TemporaryDirectory(dir=given.folder, prefix="landcover-") as temporary:
        text = measured(Path(temporary), given)
    sys.stdout.write(text)
    if given.write:
        with RESULTS.open("a", encoding="utf-8") as results:
            results.write("\n" + text)
    return 0


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.landcover", description=__doc__)
    parser.add_argument("--cube", type=Path, default=tile.CUBE, help="the Romanian images, as `make demo` leaves them")
    parser.add_argument("--columns", type=int, default=TILE_PIXELS, help="how wide the row of blocks is")
    parser.add_argument("--edge", type=int, default=4096, help="edge of the map that is put together, in pixels")
    parser.add_argument("--at-once", type=int, nargs="+", default=[1, 2], help="elements and processes")
    parser.add_argument("--folder", type=Path, help="where images (about 1 GB) are written; a temporary folder")
    parser.add_argument("--write", action="store_true", help="append the report to bench/RESULTS.md")
    return parser.parse_args()


def measured(root: Path, given: argparse.Namespace) -> str:
    """Measure everything and return the report."""
    written = write_images(root / "images", given.cube, year=tile.YEAR, rows=ROWS, columns=given.columns)
    rows = []
    for what, columns in (("one row of blocks", given.columns), ("a quarter as wide", given.columns // 4)):
        tile.say(f"preparing and classifying {what}")
        prepared = tile.measure(root, what, rows=ROWS, columns=columns, block=ROWS, threads=1)
        rows += [prepared, tile.classify(root, prepared)]
    layers = mosaic.measure_size(root, given.edge)
    arrays = scaling.array_widths(root / "arrays", given.cube, given.at_once)
    epochs = [scaling.Scaled(count, scaling.epoch_seconds(root, count)) for count in given.at_once]
    scaled = ["## Scaling, and larger areas", "", *scaling.measured(arrays, epochs), ""]
    sums = scaling.arithmetic(figures(written, rows, layers), scaling.Areas())
    return "\n\n".join([tile.report(written, rows), mosaic.report(layers), "\n".join([*scaled, *sums])]) + "\n"


def figures(written: Written, rows: list[tile.Measured], layers: list[mosaic.Measured]) -> scaling.Figures:
    """Return what the arithmetic is about: of the whole row, and of the layers with changes."""
    prepared, classified = rows[:2]
    speeds = {each.what: each.speed for each in layers}
    return scaling.Figures(
        speeds={
            "prepare": prepared.speed,
            "classify": classified.speed,
            "mosaic": speeds[BEFORE_CHANGES],
            "validate": speeds[JUDGED],
        },
        stored={
            "scenes": written.bytes / prepared.pixels,
            "composites": prepared.stored_bytes / prepared.pixels,
            "predictions": classified.stored_bytes / classified.pixels,
            "layers": LAYER_BYTES,
        },
    )


if __name__ == "__main__":
    raise SystemExit(main())
