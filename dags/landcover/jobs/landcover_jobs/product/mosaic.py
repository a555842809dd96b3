"""All tiles of a year as one map: classes, confidence and observations, block by block, in bounded memory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterWindow

from landcover_jobs.configuration.map_configuration import NO_DATA, MapConfiguration
from landcover_jobs.grid.frame import Frame, Tile, Window
from landcover_jobs.job import StepError, say
from landcover_jobs.product.blending import Blend
from landcover_jobs.product.counting import Counts
from landcover_jobs.product.layers import (
    BLOCK,
    CONFIDENCE,
    OBSERVATIONS,
    Layer,
    bounded_cache,
    class_layer,
    new_draft,
    publishable,
)
from landcover_jobs.product.resampling import covered, frame_of, read_nearest, same_place

Done = TypeVar("Done")
Pixels = tuple[npt.NDArray[np.uint8], ...]  # classes, confidence, observations
SAY_BLOCKS = 500


@dataclass(frozen=True)
class Source:
    """A tile's predictions, and the part of the mosaic that they may touch."""

    tile: Tile
    path: Path
    reaches: Window

    @classmethod
    def checked(cls, tile: Tile, path: Path, mosaic: Frame, classes: int) -> Source:
        """Return a tile's predictions as they lie in the mosaic.

        Raises:
            StepError: they are missing, cannot be read, or are not of this tile and these classes.
        """
        if not path.is_file():
            raise StepError(f"{path} is missing: run the step `classify` for the tile {tile.name}")
        try:
            with rasterio.open(path) as file:
                frame, bands = frame_of(file), file.count
        except (RasterioError, ValueError) as error:
            raise StepError(f"{path}: {error}; run the step `classify` for the tile {tile.name} again") from error
        if not same_place(frame, tile.frame) or bands != classes + 1:
            raise StepError(
                f"{path} has {bands} bands on {frame}, but the tile {tile.name} needs {classes} classes and the "
                f"observations on {tile.frame}: run the step `classify` again"
            )
        reaches = covered(tile.frame, mosaic)
        if reaches is None:
            raise StepError(f"the tile {tile.name} lies outside the mosaic {mosaic}: run the step `search` again")
        return cls(tile, path, reaches)


def write_layers(
    folder: Path,
    frame: Frame,
    sources: Sequence[Source],
    configuration: MapConfiguration,
    tags: dict[str, str],
    *,
    block: int = BLOCK,
    threads: int = 1,
) -> tuple[tuple[Layer, ...], Counts]:
    """Write classes.tif, confidence.tif and observations.tif into a folder; return what they are, and what is where.

    Memory: `threads` blocks of (class, block, block) float32, and what is read of the tiles for them; the files are
    written as they come, so the mosaic's size does not matter. The pixels depend neither on `block` nor on `threads`.

    Raises:
        StepError: predictions cannot be read, or a file cannot be written.
    """
    layers = (class_layer(configuration), CONFIDENCE, OBSERVATIONS)
    values = np.array(configuration.class_values, dtype=np.uint8)
    counts = Counts(frame)
    windows = [each for each in frame.blocks(block) if any(source.reaches.intersection(each) for source in sources)]
    drafts = [folder / f"draft-{layer.file}" for layer in layers]

    def work(window: Window) -> Pixels:
        return mosaic_block(window, frame, sources, values)

    with bounded_cache():
        files = [new_draft(path, layer, frame) for path, layer in zip(drafts, layers, strict=True)]
        try:
            for number, (window, pixels) in enumerate(in_order(work, windows, threads), start=1):
                where = RasterWindow(window.column, window.row, window.width, window.height)
                for file, band in zip(files, pixels, strict=True):
                    file.write(band, 1, window=where)
                counts.add(pixels[0], window)
                if number % SAY_BLOCKS == 0:
                    say(f"{number} of {len(windows)} blocks")
        finally:
            for file in files:
                file.close()
        counts.complete(NO_DATA)
        for draft, layer in zip(drafts, layers, strict=True):
            publishable(draft, folder / layer.file, layer, tags)
            draft.unlink()
    return layers, counts


def mosaic_block(window: Window, frame: Frame, sources: Iterable[Source], values: npt.NDArray[np.uint8]) -> Pixels:
    """Return classes, confidence and observations of a window of the mosaic."""
    blend = Blend(len(values), window.height, window.width)
    for source in sources:
        if source.reaches.intersection(window) is None:
            continue
        try:
            with rasterio.open(source.path) as file:
                found = read_nearest(file, source.tile.frame, frame, window)
        except RasterioError as error:
            raise StepError(
                f"{source.path} cannot be read ({error}): run the step `classify` for the tile {source.tile.name} again"
            ) from error
        if found is not None:
            blend.add(found.pixels, found.edge_distance)
    classes, confidence, observations = blend.layers(values)
    return classes, confidence, observations


def in_order(work: Callable[[Window], Done], windows: Iterable[Window], threads: int) -> Iterator[tuple[Window, Done]]:
    """Yield each window and what `work` makes of it, in order, while the next ones are worked on; few at a time."""
    waiting: deque[tuple[Window, Future[Done]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for window in windows:
            waiting.append((window, pool.submit(work, window)))
            if len(waiting) > 2 * threads:
                first, done = waiting.popleft()
                yield first, done.result()
        for first, done in waiting:
            yield first, done.result()


def threads_allowed() -> int:
    """Return on how many processors this job may run: Slurm's CPUs of a task, or those open to the process."""
    granted = os.environ.get("SLURM_CPUS_PER_TASK", "")
    return int(granted) if granted.isdigit() and int(granted) else len(os.sched_getaffinity(0))
