"""Only the area's window of a remote raster, read with GDAL's range requests and kept as a tiled GeoTIFF.

A checksum of the whole file says nothing about a window; it is not looked at. Addresses `s3://bucket/key` are read
through /vsis3, with the credentials of the environment (AWS_ACCESS_KEY_ID, AWS_S3_ENDPOINT, AWS_NO_SIGN_REQUEST, ...,
as GDAL documents them); this has not been tried against a real service.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import rasterio
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.warp import transform_bounds
from rasterio.windows import Window

from landcover_jobs.job import StepError, replacing
from landcover_jobs.records import file_sha256
from landcover_jobs.scenes.download import Line, Stopped
from landcover_jobs.scenes.fetched import Wanted
from landcover_jobs.scenes.footprint import DEGREES, EDGE_POINTS, Bbox
from landcover_jobs.scenes.patience import GaveUp

# Resampling looks a few pixels over the edge.
MARGIN_PIXELS = 4
BLOCK_PIXELS = 256
STRIP_ROWS = 1024
NEVER_THERE = re.compile(r"HTTP response code: 40[0-7]|No such file")
# GDAL repeats an address with its signature, which is nothing for a log.
QUERY = re.compile(r"\?[^\s'\"]+")


def fetch_window(wanted: Wanted, line: Line) -> tuple[int, str] | None:
    """Write the window of one file and return its size and SHA-256, None where the file shows nothing of it.

    Raises:
        StepError: it cannot be had, or is no raster.
        Stopped: the step ends.
    """
    assert wanted.window is not None  # noqa: S101 - the caller has seen to it
    patience = line.patience(wanted.what)
    while True:
        try:
            with rasterio.Env(**_options(line)):
                return _copied(_readable(line.sign(wanted.address)), wanted.target, wanted.window, line)
        except (RasterioError, OSError) as error:
            reason = QUERY.sub("?...", str(error.__cause__ or error))
            signed_out = "response code: 403" in reason and line.signs
            if isinstance(error, FileExistsError | PermissionError) or (NEVER_THERE.search(reason) and not signed_out):
                raise StepError(f"{wanted.what}: GDAL cannot open it: {reason}") from error
            try:
                patience.wait(reason)
            except GaveUp as end:
                raise StepError(
                    f"{wanted.what}: its window could not be read: {end}; run `fetch` again, "
                    f"or leave the scene out with source.exclude"
                ) from error


def _options(line: Line) -> dict[str, str]:
    """Return GDAL's settings: it tries single requests again by itself, and sees what has changed meanwhile."""
    transfer = line.transfer
    return {
        "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
        "GDAL_HTTP_MAX_RETRY": str(transfer.attempts - 1),
        "GDAL_HTTP_RETRY_DELAY": str(transfer.wait_seconds),
        "GDAL_HTTP_CONNECTTIMEOUT": str(math.ceil(transfer.timeout_seconds)),
        "GDAL_HTTP_LOW_SPEED_TIME": str(math.ceil(transfer.timeout_seconds)),
        "GDAL_HTTP_LOW_SPEED_LIMIT": "1",
        "CPL_VSIL_CURL_NON_CACHED": "/vsicurl/:/vsis3/",
    }


def _readable(address: str) -> str:
    """Return an address as GDAL wants it."""
    if address.startswith(("http://", "https://")):
        return f"/vsicurl/{address}"
    if address.startswith("s3://"):
        return f"/vsis3/{address.removeprefix('s3://')}"
    return address.removeprefix("file://")


def _copied(source: str, target: Path, area: Bbox, line: Line) -> tuple[int, str] | None:
    with rasterio.open(source) as raster:
        window = _window(raster, area)
        if window is None:
            return None
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as temporary:
            with rasterio.open(temporary, "w", **_profile(raster, window)) as sink:
                for row in range(0, window.height, STRIP_ROWS):
                    if line.stop.is_set():
                        raise Stopped
                    rows = min(STRIP_ROWS, window.height - row)
                    strip = Window(window.col_off, window.row_off + row, window.width, rows)
                    sink.write(raster.read(1, window=strip), 1, window=Window(0, row, window.width, rows))
            size, digest = temporary.stat().st_size, file_sha256(temporary)
    line.progress.arrived(size)
    return size, digest


def _window(raster: DatasetReader, area: Bbox) -> Window | None:
    """Return the whole pixels that hold the area and a margin, None where the raster shows nothing of it."""
    if raster.crs is None:
        raise StepError(f"{raster.name} has no CRS: it cannot be cut; use source.transfer.mode: whole")
    # The inverse of the transform takes the corners to columns and rows, whichever way the raster is turned.
    left, bottom, right, top = transform_bounds(DEGREES, raster.crs, *area, densify_pts=EDGE_POINTS)
    corners = [~raster.transform * corner for corner in ((left, top), (right, top), (left, bottom), (right, bottom))]
    columns, rows = zip(*corners, strict=True)
    first_column, first_row = (max(math.floor(min(each)) - MARGIN_PIXELS, 0) for each in (columns, rows))
    last_column = min(math.ceil(max(columns)) + MARGIN_PIXELS, raster.width)
    last_row = min(math.ceil(max(rows)) + MARGIN_PIXELS, raster.height)
    if last_column <= first_column or last_row <= first_row:
        return None
    return Window(first_column, first_row, last_column - first_column, last_row - first_row)


def _profile(raster: DatasetReader, window: Window) -> dict[str, object]:
    integers = raster.dtypes[0].startswith(("int", "uint"))
    return {
        "driver": "GTiff",
        "width": window.width,
        "height": window.height,
        "count": 1,
        "dtype": raster.dtypes[0],
        "crs": raster.crs,
        "transform": raster.window_transform(window),
        "nodata": raster.nodata,
        "tiled": True,
        "blockxsize": BLOCK_PIXELS,
        "blockysize": BLOCK_PIXELS,
        "compress": "deflate",
        "predictor": 2 if integers else 3,
    }
