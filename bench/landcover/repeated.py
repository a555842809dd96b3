"""A tile's images, synthetic in size only: real series of 50 x 50 pixels, repeated, turned and with the sensor's noise.

Each pixel is a real pixel's series of one year. Every repetition is turned or mirrored, alike on all dates, and each
value is moved by up to 8 of 10,000: without that, files and composites would compress as no real image does.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import rasterio
import xarray as xr
from landcover_jobs.grid.frame import Frame

TILE_PIXELS: Final = 10_980
RESOLUTION: Final = 10.0
# Ten bands as Sentinel-2 has them at 10 and 20 m, from the four of the cube, each with noise of its own.
SOURCES: Final = {
    "B02": "B3", "B03": "B3", "B04": "B4", "B05": "B4", "B06": "B8A",
    "B07": "B8A", "B08": "B8A", "B8A": "B8A", "B11": "B11", "B12": "B11", "SCL": "SCL",
}  # fmt: skip
MASK: Final = "SCL"
BANDS: Final = tuple(band for band in SOURCES if band != MASK)
NOISE: Final = 8
WHOLE_TILE: Final = Frame("EPSG:32635", 300_000.0, 5_100_000.0, RESOLUTION, TILE_PIXELS, TILE_PIXELS)
PROFILE: Final = {
    "driver": "GTiff", "dtype": "uint16", "count": 1, "height": TILE_PIXELS, "width": TILE_PIXELS, "nodata": 0,
    "crs": WHOLE_TILE.crs, "transform": WHOLE_TILE.transform, "tiled": True, "blockxsize": 512, "blockysize": 512,
    "compress": "deflate", "predictor": 2, "sparse_ok": True,
}  # fmt: skip


@dataclass(frozen=True)
class Written:
    """What was written."""

    dates: int
    files: int
    bytes: int


def write_images(folder: Path, cube: Path, *, year: int, rows: int, columns: int) -> Written:
    """Write all dates of a year as files of a whole tile that hold its first rows and columns only."""
    with xr.open_dataset(cube, engine="h5netcdf") as whole:
        images = whole.sel(time=str(year)).load()
    rng = np.random.default_rng(year)
    place = repeated_places(rng, rows, columns, images.sizes["y"])
    files = size = 0
    for number, time in enumerate(images["time"].to_numpy()):
        date = folder / f"{pd.Timestamp(time):%Y%m%d}"
        date.mkdir(parents=True, exist_ok=True)
        for band, source in SOURCES.items():
            values = np.nan_to_num(images[source].to_numpy()[number]).ravel()
            path = date / f"{band}.tif"
            _write(path, repeated(values, place, rng, noise=0 if band == MASK else NOISE))
            files, size = files + 1, size + path.stat().st_size
    return Written(images.sizes["time"], files, size)


def repeated_places(rng: np.random.Generator, rows: int, columns: int, edge: int) -> npt.NDArray[np.int32]:
    """Return for each pixel which pixel of the small square it repeats; each repetition is turned as it falls."""
    square = np.arange(edge * edge, dtype=np.int32).reshape(edge, edge)
    turned = [np.rot90(side, quarter) for side in (square, square.T) for quarter in range(4)]
    down, across = -(-rows // edge), -(-columns // edge)
    place = np.empty((down * edge, across * edge), dtype=np.int32)
    for row in range(down):
        for column in range(across):
            place[row * edge : (row + 1) * edge, column * edge : (column + 1) * edge] = turned[rng.integers(8)]
    return place[:rows, :columns]


def repeated(
    values: npt.NDArray[Any], place: npt.NDArray[np.int32], rng: np.random.Generator, *, noise: int
) -> npt.NDArray[np.uint16]:
    """Return the values at their places; noise leaves 0, no data, as it is."""
    image = values.astype(np.int32)[place]
    if noise:
        moved = np.maximum(image + rng.integers(-noise, noise + 1, image.shape, dtype=np.int8), 1)
        image = np.where(image == 0, 0, moved)
    return image.astype(np.uint16)


def _write(path: Path, image: npt.NDArray[np.uint16]) -> None:
    with rasterio.open(path, "w", **PROFILE) as file:
        window = rasterio.windows.Window(0, 0, image.shape[1], image.shape[0])
        file.write(image, 1, window=window)
