"""The files of a map: what each holds, its colours, and how it becomes a Cloud-Optimised GeoTIFF."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import rasterio
from rasterio.errors import RasterioError
from rio_cogeo.cogeo import cog_translate, cog_validate
from rio_cogeo.profiles import cog_profiles

from landcover_jobs.configuration.map_configuration import NO_DATA, MapConfiguration
from landcover_jobs.grid.frame import Frame
from landcover_jobs.job import StepError, replacing

BLOCK = 512
# GDAL would take a twentieth of the machine's memory, which is not what the job was given.
CACHE_BYTES = 128 * 2**20
# More pixels than this are translated by way of a file, not in memory.
MOST_IN_MEMORY = 4096 * 4096

CLASSES_FILE = "classes.tif"
CONFIDENCE_FILE = "confidence.tif"
OBSERVATIONS_FILE = "observations.tif"
CHANGE_FILE = "change.tif"
RECORD_FILE = "mosaic.json"
CONFIDENCE_NO_DATA = 255
UNCHANGED = 0
CHANGE_NO_DATA = 255


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One file of uint8 pixels: its bands' names, its value of no data, how overviews are made, its colours."""

    file: str
    bands: tuple[str, ...]
    nodata: int | None
    overviews: Literal["mode", "average", "nearest"]
    colours: dict[int, tuple[int, int, int, int]] | None = None


def class_layer(configuration: MapConfiguration) -> Layer:
    """Return the layer of class values, coloured as configured; its overviews show the most frequent class."""
    colours = {NO_DATA: (0, 0, 0, 0)} | {each.value: (*each.rgb, 255) for each in configuration.classes}
    return Layer(
        file=CLASSES_FILE, bands=("land cover class",), nodata=NO_DATA, overviews="mode", colours=colours
    )  # fmt: skip


CONFIDENCE = Layer(
    file=CONFIDENCE_FILE, bands=("score of the class in per cent",), nodata=CONFIDENCE_NO_DATA, overviews="average"
)
OBSERVATIONS = Layer(
    file=OBSERVATIONS_FILE, bands=("clear observations in the year",), nodata=None, overviews="average"
)
# Overviews are nearest: most frequent values of each band apart would make pairs that no pixel has.
CHANGE = Layer(
    file=CHANGE_FILE, bands=("class before", "class after"), nodata=CHANGE_NO_DATA, overviews="nearest"
)  # fmt: skip


def class_list(configuration: MapConfiguration) -> str:
    """Return the classes as the tag CLASSES has them: two maps can be compared where it is the same."""
    return "; ".join(f"{each.value} {each.name}" for each in configuration.classes)


def tags_of(configuration: MapConfiguration, year: int, model: str) -> dict[str, str]:
    """Return the tags of every layer."""
    return {
        "MAP": configuration.name, "TITLE": configuration.title, "YEAR": str(year), "MODEL": model,
        "CLASSES": class_list(configuration), "LICENCE": configuration.product.licence,
        "ATTRIBUTION": configuration.product.attribution,
    }  # fmt: skip


def bounded_cache() -> rasterio.Env:
    """Return an environment in which GDAL's cache of blocks stays small on a machine of any size."""
    return rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES)


def new_draft(path: Path, layer: Layer, frame: Frame) -> rasterio.io.DatasetWriter:
    """Open a tiled GeoTIFF to be written block by block; blocks that never are, are no data and take no place."""
    draft = rasterio.open(
        path, "w", driver="GTiff", dtype="uint8", count=len(layer.bands), height=frame.height, width=frame.width,
        crs=frame.crs, transform=frame.transform, nodata=layer.nodata, tiled=True, blockxsize=BLOCK, blockysize=BLOCK,
        compress="lzw", sparse_ok=True, bigtiff="if_safer", interleave="pixel",
    )  # fmt: skip
    for number, band in enumerate(layer.bands, start=1):
        draft.set_band_description(number, band)
    if layer.colours is not None:
        draft.write_colormap(1, layer.colours)
    return draft


def publishable(draft: Path, target: Path, layer: Layer, tags: dict[str, str]) -> None:
    """Make a Cloud-Optimised GeoTIFF of a draft, whole or not at all.

    Raises:
        StepError: it cannot be written, or what was written is no Cloud-Optimised GeoTIFF.
    """
    with rasterio.open(draft, "r+") as file:
        file.update_tags(**tags)
        large = file.width * file.height > MOST_IN_MEMORY
        levels = overview_levels(file.width, file.height)
    with replacing(target) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        try:
            cog_translate(
                draft, temporary, cog_profiles["deflate"] | {"bigtiff": "if_safer"},
                overview_level=levels, overview_resampling=layer.overviews, colormap=layer.colours,
                in_memory=not large, allow_intermediate_compression=large, temporary_compression="LZW", quiet=True,
            )  # fmt: skip
            valid, errors, _ = cog_validate(temporary, quiet=True)
        except (RasterioError, OSError) as error:
            raise StepError(f"{target} cannot be written ({error}): see that there is room, and run again") from error
        if not valid:
            raise StepError(f"{target} is no Cloud-Optimised GeoTIFF: {'; '.join(errors)}")


def overview_levels(width: int, height: int) -> int:
    """Return how often a raster is halved until it fits into one block."""
    level = 0
    while max(width, height) > BLOCK << level:
        level += 1
    return level
