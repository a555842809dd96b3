"""A file on another grid than the frame's, brought onto it by odc-stac."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import odc.stac
import pystac
import rasterio
from odc.geo.geobox import GeoBox
from rasterio.io import DatasetReader
from rasterio.warp import transform_bounds

from landcover_jobs.grid.frame import Frame
from landcover_jobs.scenes.footprint import DEGREES, EDGE_POINTS

ASSET = "band"
# odc-stac sorts scenes by their dates; here it sees one at a time.
ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)


def exact_fill(fill: float) -> int | float:
    """Return a whole number as an integer: numpy finds the smallest type of an integer, but of no float."""
    return int(fill) if float(fill).is_integer() else fill


def resampled(path: Path, frame: Frame, fill: float, method: str) -> npt.NDArray[Any]:
    """Return the first band of a raster on a frame's pixels, `fill` where it shows nothing.

    Args:
        path: of a raster that GDAL reads.
        frame: the pixels wanted.
        fill: the value of no data, also in the file where it names none itself.
        method: GDAL's name of the way to resample.

    Raises:
        rasterio.errors.RasterioError: the file cannot be read.
    """
    exact = exact_fill(fill)
    with rasterio.open(path) as raster:
        item = _item(raster)
        held = np.result_type(np.dtype(raster.dtypes[0]), np.min_scalar_type(exact))
        nodata = exact if raster.nodata is None else exact_fill(raster.nodata)
    asset = {"data_type": str(held), "nodata": nodata}
    loaded = odc.stac.load(
        [item],
        bands=[ASSET],
        geobox=GeoBox(frame.shape, frame.transform, frame.crs),
        resampling=method,
        dtype=str(held),
        nodata=nodata,
        stac_cfg={"*": {"assets": {"*": asset}}},
        fail_on_error=True,
    )
    values = np.asarray(loaded[ASSET].values[0])
    return values if nodata == exact else np.where(values == nodata, held.type(exact), values)


def _item(raster: DatasetReader) -> pystac.Item:
    """Return the file as STAC describes one: odc-stac reads nothing else."""
    west, south, east, north = transform_bounds(raster.crs, DEGREES, *raster.bounds, densify_pts=EDGE_POINTS)
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    outline = {"type": "Polygon", "coordinates": [ring]}
    item = pystac.Item("scene", outline, [west, south, east, north], ANY_TIME, {})
    item.add_asset(ASSET, pystac.Asset(str(raster.name), media_type=pystac.MediaType.GEOTIFF, roles=["data"]))
    return item
