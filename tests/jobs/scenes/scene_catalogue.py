"""A static STAC catalogue made of real images (or invented ones where they are absent), and maps that use it."""

from pathlib import Path
from typing import Any

import numpy as np
import pystac
import rasterio
import xarray as xr
from landcover_jobs.configuration.map_configuration import MapConfiguration
from landcover_jobs.configuration.reading import parse_map
from landcover_jobs.grid.frame import Frame
from landcover_jobs.scenes.checksum import multihash_of
from landcover_jobs.scenes.footprint import footprint
from landcover_jobs.scenes.romania import frame_of

PROJECT = Path(__file__).parents[3]
BANDS = ("B3", "B4", "B8A", "B11")
MASK = "SCL"
COLLECTION = "sentinel2"
CLOUDED = (3, 8, 9, 10)


def real_cube() -> Path | None:
    """Return the Romanian images where a demonstration has left them beside the project's files."""
    found = sorted(PROJECT.glob(".demo/**/source/sentinel2_20m.nc"))
    return found[0] if found else None


def invented_cube(edge: int = 50, dates: int = 12, years: tuple[int, ...] = (2018, 2019)) -> xr.Dataset:
    """Return images of noise, `dates` a year, with the real ones' names, grid and kinds of values."""
    random = np.random.default_rng(2018)
    days = np.arange(dates) * np.timedelta64(365 // dates, "D")
    times = np.concatenate([np.datetime64(f"{year}-01-08") + days for year in years])
    shape = (len(times), edge, edge)
    bands = {band: (("time", "y", "x"), random.integers(1, 6000, shape).astype(np.float32)) for band in BANDS}
    # From no clouds to almost nothing else.
    clouded = random.random(shape) < (np.arange(len(times)) % 6 / 6)[:, None, None]
    kinds = np.where(clouded, random.choice(CLOUDED, shape), random.choice([4, 5], shape))
    mask = {MASK: (("time", "y", "x"), kinds.astype(np.float32))}
    coordinates = {
        "time": times.astype("datetime64[ns]"),
        "y": 2_533_004.2149 - 10 - 20 * np.arange(edge),
        "x": 5_271_982.5766 + 10 + 20 * np.arange(edge),
    }
    return xr.Dataset(bands | mask, coordinates)


def cube_of(path: Path | None) -> xr.Dataset:
    """Return the images of a file, or invented ones."""
    if path is None:
        return invented_cube()
    with xr.open_dataset(path, engine="h5netcdf") as cube:
        return cube.load()


def build_catalogue(cube: xr.Dataset | Path | None, folder: Path, *, dates: slice | None = None) -> Path:
    """Write a catalogue with a collection `sentinel2` and return its `catalog.json`.

    Each date is an item with an asset a band: a GeoTIFF beside it, with `file:checksum` and `file:size`.
    """
    images = cube if isinstance(cube, xr.Dataset) else cube_of(cube)
    images = images if dates is None else images.sel(time=dates)
    frame = frame_of(images)
    catalogue = pystac.Catalog("test", "images for tests")
    collection = pystac.Collection(
        COLLECTION,
        "Sentinel-2",
        pystac.Extent(pystac.SpatialExtent([list(footprint(frame))]), pystac.TemporalExtent([[None, None]])),
    )
    catalogue.add_child(collection)
    for number in range(images.sizes["time"]):
        collection.add_item(add_scene(images.isel(time=number), frame, folder))
    catalogue.normalize_and_save(str(folder), pystac.CatalogType.SELF_CONTAINED)
    return folder / "catalog.json"


def add_scene(image: xr.Dataset, frame: Frame, folder: Path) -> pystac.Item:
    """Write the files of one date and return its item."""
    time = image["time"].values.astype("datetime64[ms]").item()
    west, south, east, north = footprint(frame)
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    clouds = float(np.isin(image[MASK].values, CLOUDED).mean() * 100)
    item = pystac.Item(
        f"S2_{time:%Y%m%d}",
        {"type": "Polygon", "coordinates": [ring]},
        [west, south, east, north],
        time,
        {"eo:cloud_cover": round(clouds, 2), "platform": "sentinel-2a"},
    )
    for band in (*BANDS, MASK):
        path = folder / COLLECTION / item.id / f"{band}.tif"
        write_raster(path, np.nan_to_num(image[band].values).astype(np.uint16), frame)
        fields = {"file:checksum": multihash_of(path), "file:size": path.stat().st_size}
        item.add_asset(band, pystac.Asset(f"./{band}.tif", media_type=pystac.MediaType.GEOTIFF, extra_fields=fields))
    return item


def write_raster(path: Path, pixels: Any, frame: Frame, **profile: Any) -> None:
    """Write a GeoTIFF of one band."""
    path.parent.mkdir(parents=True, exist_ok=True)
    settings = {"driver": "GTiff", "count": 1, "dtype": pixels.dtype, "crs": frame.crs, "transform": frame.transform}
    settings |= {"height": frame.height, "width": frame.width, "nodata": 0, "compress": "deflate"}
    with rasterio.open(path, "w", **(settings | profile)) as file:
        file.write(pixels, 1)


def map_content(source: dict[str, Any], frame: Frame, **more: Any) -> dict[str, Any]:
    """Return the configuration of a map of a frame; `more` replaces fields."""
    grid = {"kind": "regular", "crs": frame.crs, "resolution": frame.resolution, "tile_pixels": 25}
    content: dict[str, Any] = {
        "name": "test",
        "title": "a map for tests",
        "area": {"bounds": list(frame.bounds)},
        "grid": grid | {"origin": [frame.left, frame.top]},
        "years": {"first": 2015},
        "source": source,
        "bands": {band: {} for band in BANDS},
        "composites": {"cloud_mask": {"band": MASK, "clear": [4, 5, 7]}},
        "classes": [
            {"value": 1, "name": "open", "colour": "#ffff00"},
            {"value": 2, "name": "forest", "colour": "#006600"},
        ],
        "old_map": {"path": "/nowhere/old.tif", "year": 2018, "legend": [{"becomes": 1, "values": [0]}]},
        "validation": {"block_size": 200},
    }
    return content | more


def map_of(source: dict[str, Any], frame: Frame, **more: Any) -> MapConfiguration:
    """Return a map of a frame."""
    return parse_map(map_content(source, frame, **more), "test")


def impatient(**more: Any) -> dict[str, Any]:
    """Return settings of transfers that do not wait."""
    return {"attempts": 3, "wait_seconds": 0.01, "timeout_seconds": 5, "at_once": 4} | more
