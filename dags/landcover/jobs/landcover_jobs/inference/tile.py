"""A tile, block by block: its composites are read ahead, judged on all threads and written as a GeoTIFF."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
import zarr
from pyproj import Transformer
from rasterio.windows import Window as RasterWindow

from landcover_jobs.configuration.map_configuration import MapConfiguration
from landcover_jobs.grid.folds import fold_of
from landcover_jobs.grid.frame import Frame, Tile, Window
from landcover_jobs.inference.members import ANY_FOLD, Members, judged
from landcover_jobs.job import StepError, replacing
from landcover_jobs.preparation.normalisation import Normalisation
from landcover_jobs.preparation.progress import Progress
from landcover_jobs.preparation.store import Series, open_store, read_block
from landcover_jobs.product.predictions import UNSEEN

BLOCK = 512


@dataclass(frozen=True)
class Found:
    """How many pixels of a tile are of each class, in the order of the classes, and how many the year never shows."""

    of_class: tuple[int, ...]
    unseen: int


def classify_tile(
    store: Path,
    target: Path,
    tile: Tile,
    *,
    configuration: MapConfiguration,
    mosaic_crs: str,
    normalisation: Normalisation,
    members: Members,
    threads: int,
) -> Found:
    """Write the predictions of a tile, whole or not at all, as `product.predictions` defines them.

    Memory: two blocks of `composites.block_pixels` and their intermediate arrays, whatever the tile's size.

    Raises:
        StepError: the composites are missing, or of another frame or other bands than the map has now.
    """
    group = open_store(store)
    _check(group, store, tile, configuration)
    windows = list(tile.frame.blocks(configuration.composites.block_pixels))
    counts = np.zeros(members.classes + 1, dtype=np.int64)
    pixels = tile.frame.height * tile.frame.width
    progress = Progress(f"tile {tile.name}", blocks=len(windows), pixels=pixels)
    with (
        ThreadPoolExecutor(threads) as pool,
        ThreadPoolExecutor(1) as reader,
        replacing(target) as temporary,
        rasterio.open(temporary, "w", **_profile(tile.frame, members.classes + 1)) as file,
    ):
        file.descriptions = (*configuration.class_names, "observations")
        for window, series in _read_ahead(reader, group, windows, configuration):
            folds = _folds(tile.frame.part(window), configuration, mosaic_crs, members)
            stored = judged(series, folds, normalisation, members, pool)
            counts += _counted(stored)
            image = stored.T.reshape(-1, window.height, window.width)
            file.write(image, window=RasterWindow(window.column, window.row, window.width, window.height))
            progress.done(len(stored))
    *of_class, unseen = counts.tolist()
    return Found(tuple(of_class), unseen)


def _read_ahead(
    reader: Executor, group: zarr.Group, windows: Iterable[Window], configuration: MapConfiguration
) -> Iterator[tuple[Window, Series]]:
    """Yield each window's series while the next one's is being read."""
    waiting: list[tuple[Window, Any]] = []
    for window in windows:
        waiting.append((window, reader.submit(read_block, group, window, configuration)))
        if len(waiting) > 1:
            first, series = waiting.pop(0)
            yield first, series.result()
    for window, series in waiting:
        yield window, series.result()


def _folds(frame: Frame, configuration: MapConfiguration, mosaic_crs: str, members: Members) -> npt.NDArray[np.int64]:
    """Return the fold of each pixel of a block, row by row, by where its centre lies in the mosaic's projection."""
    if ANY_FOLD in members.of_fold:
        return np.full(frame.height * frame.width, ANY_FOLD, dtype=np.int64)
    x = frame.left + (np.arange(frame.width) + 0.5) * frame.resolution
    y = frame.top - (np.arange(frame.height) + 0.5) * frame.resolution
    xs, ys = (each.ravel() for each in np.meshgrid(x, y))
    if frame.crs != mosaic_crs:
        xs, ys = Transformer.from_crs(frame.crs, mosaic_crs, always_xy=True).transform(xs, ys)
    validation = configuration.validation
    return fold_of(xs, ys, block_size=validation.block_size, folds=validation.folds)


def _counted(stored: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Return the pixels of each class, and at the end of none, among (pixel, class + 1) as stored."""
    scores = stored[:, :-1]
    classes = scores.shape[1]
    found = np.where(scores[:, 0] == UNSEEN, classes, scores.argmax(axis=1))
    return np.bincount(found, minlength=classes + 1)


def _profile(frame: Frame, bands: int) -> dict[str, Any]:
    return {
        "driver": "GTiff",
        "dtype": "uint8",
        "count": bands,
        "height": frame.height,
        "width": frame.width,
        "crs": frame.crs,
        "transform": frame.transform,
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        "compress": "deflate",
        "interleave": "band",
        "bigtiff": "if_safer",
    }


def _check(group: zarr.Group, store: Path, tile: Tile, configuration: MapConfiguration) -> None:
    noted: dict[str, Any] = dict(group.attrs)
    stored = Frame(**noted["frame"]), list(noted["bands"])
    wanted = tile.frame, list(configuration.bands)
    for what, then, now in zip(("frame", "bands"), stored, wanted, strict=True):
        if then != now:
            raise StepError(f"{store} has the {what} {then}, but the map has {now}: run the step `prepare` again")
