"""The pixels of a block: the same few kilometres out of many scenes, as the files have them.

Files on the frame's own grid are cut with GDAL; all others (another projection, resolution or pixel origin) are
resampled by odc-stac. Only the block is in memory, and only files whose scene touches it are opened.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.crs import CRS
from rasterio.errors import CRSError, RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window as RasterWindow

from landcover_jobs.configuration.map_configuration import MapConfiguration
from landcover_jobs.folder import MapFolder
from landcover_jobs.grid.frame import Frame, Window
from landcover_jobs.scenes.bands import fill_values
from landcover_jobs.scenes.fetched import damaged, fetched_file
from landcover_jobs.scenes.footprint import footprint, touches
from landcover_jobs.scenes.inventory import Scene
from landcover_jobs.scenes.resampling import exact_fill, resampled

Pixels = npt.NDArray[Any]

MOST_READERS = 8
# Coordinates that went through text are a little off; so much of a pixel does not count.
SAME_PIXEL = 1e-3
# A block is read once: GDAL need not remember much. Neighbouring files are not looked for: there are none to use.
GDAL_OPTIONS = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "GDAL_CACHEMAX": 128 * 2**20}


def read_block(
    scenes: Sequence[Scene], folder: MapFolder, bands: Sequence[str], frame: Frame, configuration: MapConfiguration
) -> Pixels:
    """Return the stored values (scene, band, y, x) of a frame, scenes and bands in the order given.

    Where a scene shows nothing there is the band's nodata (0 where it has none), and in the cloud mask a value that is
    not clear. The type holds all files' values and these; most often it is uint16. Scenes of the same day stay apart.
    Pass the scenes that touch the frame (`footprint.touching`): each given one takes memory.

    Raises:
        StepError: a file is not fetched, or is damaged; the sentence names scene, band and file.
    """
    fills = fill_values(configuration, bands)
    box = footprint(frame)
    near = [number for number, scene in enumerate(scenes) if touches(scene.bbox, box)]
    block: Pixels | None = None
    shape = (len(scenes), len(bands), *frame.shape)
    found = _read([scenes[number] for number in near], folder.scenes, fills, frame, configuration)
    for number, parts in zip(near, found, strict=True):
        for place, pixels in enumerate(parts):
            if pixels is None:
                continue
            if block is None:
                block = _empty(shape, pixels.dtype, fills)
            if not np.can_cast(pixels.dtype, block.dtype):
                block = block.astype(np.result_type(block.dtype, pixels.dtype))
            block[number, place] = pixels
    return block if block is not None else _empty(shape, np.uint16, fills)


def _read(
    scenes: Sequence[Scene], folder: Path, fills: Mapping[str, float], frame: Frame, configuration: MapConfiguration
) -> Iterator[list[Pixels | None]]:
    """Yield the bands of scene after scene; several are read at a time, where there are processors for them."""

    def read(scene: Scene) -> list[Pixels | None]:
        return _scene(scene, folder, fills, frame, configuration)

    readers = min(MOST_READERS, len(os.sched_getaffinity(0)), len(scenes))
    if readers <= 1:
        yield from map(read, scenes)
        return
    with ThreadPoolExecutor(readers) as pool:
        yield from pool.map(read, scenes)


def _scene(
    scene: Scene, folder: Path, fills: Mapping[str, float], frame: Frame, configuration: MapConfiguration
) -> list[Pixels | None]:
    """Return a scene's bands, None where one shows nothing of the frame."""
    found: list[Pixels | None] = []
    # GDAL's settings belong to a thread.
    with rasterio.Env(**GDAL_OPTIONS):
        for band, fill in fills.items():
            path = fetched_file(folder, scene, band)
            try:
                found.append(None if path is None else _band(path, band, fill, frame, configuration))
            except (RasterioError, OSError) as error:
                assert path is not None  # noqa: S101 - without a file nothing is read
                raise damaged(scene, band, path, str(error.__cause__ or error)) from error
    return found


def _band(path: Path, band: str, fill: float, frame: Frame, configuration: MapConfiguration) -> Pixels | None:
    with rasterio.open(path) as raster:
        window = _place(raster, frame)
        if window is not None:
            return _cut(raster, window, frame, fill)
    mask = configuration.composites.cloud_mask.band
    return resampled(path, frame, fill, "nearest" if band == mask else configuration.bands[band].resampling)


def _place(raster: DatasetReader, frame: Frame) -> Window | None:
    """Return where the frame lies in a raster that is on the same grid, None where it is on another one."""
    transform = raster.transform
    if raster.crs is None:
        raise CRSError("it has no CRS")
    if (transform.b, transform.d) != (0, 0) or transform.a != -transform.e or raster.crs != _crs(frame.crs):
        return None
    column, row = (frame.left - transform.c) / transform.a, (transform.f - frame.top) / transform.a
    off = max(abs(column - round(column)), abs(row - round(row)), frame.width * abs(frame.resolution / transform.a - 1))
    return Window(round(row), round(column), *frame.shape) if off < SAME_PIXEL else None


@functools.lru_cache(maxsize=64)
def _crs(name: str) -> CRS:
    return CRS.from_string(name)


def _cut(raster: DatasetReader, window: Window, frame: Frame, fill: float) -> Pixels | None:
    shared = window.intersection(Window(0, 0, raster.height, raster.width))
    if shared is None:
        return None
    values = raster.read(1, window=RasterWindow(shared.column, shared.row, shared.width, shared.height))
    pixels: Pixels = _empty((1, 1, *frame.shape), values.dtype, {"": fill})[0, 0]
    nodata = raster.nodata
    if nodata is not None and nodata != fill and not np.isnan(nodata):
        values = np.where(values == nodata, pixels.dtype.type(exact_fill(fill)), values)
    pixels[shared.moved(-window.row, -window.column).slices] = values
    return pixels


def _empty(shape: tuple[int, ...], dtype: npt.DTypeLike, fills: Mapping[str, float]) -> Pixels:
    """Return (scene, band, y, x), full of each band's fill value, in a type that holds these, too."""
    exact = [exact_fill(fill) for fill in fills.values()]
    held = np.result_type(dtype, *(np.min_scalar_type(fill) for fill in exact))
    pixels = np.empty(shape, dtype=held)
    pixels[:] = np.asarray(exact, dtype=held)[:, None, None]
    return pixels
