"""Put the tiles together and write the year's layers as Cloud-Optimised GeoTIFF: classes, confidence, observations."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.io import MemoryFile
from rio_cogeo.cogeo import cog_translate, cog_validate
from rio_cogeo.profiles import cog_profiles

from landcover_jobs.classes import CLASSES, NAMES, NO_DATA
from landcover_jobs.download import LICENCE
from landcover_jobs.job import StepError, arguments, read_json, replacing, run, say
from landcover_jobs.layout import SCENE_SIZE, TILES, Layout, check_year, tile_window

CLASS_MAP = "classes.tif"
CONFIDENCE = "confidence.tif"
OBSERVATIONS = "observations.tif"
LAYERS = (CLASS_MAP, CONFIDENCE, OBSERVATIONS)
CONFIDENCE_NO_DATA = 255
# The grid's projection; the reference file itself names it only by its parameters.
CRS = "EPSG:3035"
OVERVIEWS = 2


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One file of the product."""

    name: str
    description: str
    nodata: int | None
    overview_resampling: Literal["mode", "average"]
    colours: dict[int, tuple[int, int, int, int]] | None = None


DESCRIPTIONS = (
    Layer(
        name=CLASS_MAP,
        description="land cover class",
        nodata=NO_DATA,
        overview_resampling="mode",
        colours={NO_DATA: (0, 0, 0, 0)} | {entry.value: (*entry.colour, 255) for entry in CLASSES},
    ),
    Layer(
        name=CONFIDENCE,
        description="probability of the class in per cent",
        nodata=CONFIDENCE_NO_DATA,
        overview_resampling="average",
    ),
    Layer(name=OBSERVATIONS, description="clear observations in the year", nodata=None, overview_resampling="average"),
)


def load_probabilities(layout: Layout, year: int, kind: str) -> npt.NDArray[np.float32]:
    """Return the class probabilities (y, x, class) of the scene as one kind of model sees them, NaN where unseen."""
    scene = np.empty((SCENE_SIZE, SCENE_SIZE, len(CLASSES)), dtype=np.float32)
    for tile in range(TILES):
        window = tile_window(tile)
        scene[window] = load_tile(layout, year, tile)[kind].reshape(scene[window].shape)
    return scene


def load_tile(layout: Layout, year: int, tile: int) -> dict[str, npt.NDArray[Any]]:
    """Read what `classify` wrote about one tile."""
    path = layout.predictions(year, tile)
    if not path.is_file():
        raise StepError(f"{path} is missing: run the step `classify` for {year}, tile {tile}, first")
    with np.load(path) as stored:
        return dict(stored)


def load_observations(layout: Layout, year: int) -> npt.NDArray[np.uint8]:
    """Return how often the ground of each pixel was seen."""
    scene = np.empty((SCENE_SIZE, SCENE_SIZE), dtype=np.uint8)
    for tile in range(TILES):
        window = tile_window(tile)
        scene[window] = load_tile(layout, year, tile)["observations"].reshape(scene[window].shape)
    return scene


def layers(
    probabilities: npt.NDArray[np.float32], observations: npt.NDArray[np.uint8]
) -> dict[str, npt.NDArray[np.uint8]]:
    """Return the pixels of each file."""
    seen = np.isfinite(probabilities).all(axis=-1)
    certain = np.nan_to_num(probabilities)
    values = np.array([entry.value for entry in CLASSES], dtype=np.uint8)
    return {
        CLASS_MAP: np.where(seen, values[certain.argmax(axis=-1)], NO_DATA).astype(np.uint8),
        CONFIDENCE: np.where(seen, np.rint(100 * certain.max(axis=-1)), CONFIDENCE_NO_DATA).astype(np.uint8),
        OBSERVATIONS: observations,
    }


def write_cog(
    path: Path, pixels: npt.NDArray[np.uint8], layer: Layer, transform: rasterio.Affine, tags: dict[str, str]
) -> None:
    """Write one Cloud-Optimised GeoTIFF."""
    height, width = pixels.shape
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "height": height, "width": width}
    profile |= {"crs": CRS, "transform": transform, "nodata": layer.nodata}
    with MemoryFile() as memory, replacing(path) as temporary:
        with memory.open(**profile) as target:
            target.write(pixels, 1)
            target.set_band_description(1, layer.description)
            target.update_tags(**tags)
            if layer.colours is not None:
                target.write_colormap(1, layer.colours)
        with memory.open() as source:
            cog_translate(
                source,
                temporary,
                cog_profiles["deflate"],
                overview_level=OVERVIEWS,
                overview_resampling=layer.overview_resampling,
                colormap=layer.colours,
                in_memory=True,
                quiet=True,
                forward_band_tags=True,
            )
    valid, errors, _ = cog_validate(path)
    if not valid:
        raise StepError(f"{path} is no Cloud-Optimised GeoTIFF: {'; '.join(errors)}")


def main() -> dict[str, Any]:
    """Write the three layers of the year."""
    given = arguments("mosaic", "year")
    layout, year = Layout(given.data), check_year(given.year)
    better = read_json(layout.training_record, made_by="train")["better"]
    pixels = layers(load_probabilities(layout, year, better), load_observations(layout, year))
    with rasterio.open(layout.reference) as reference:
        transform = reference.transform
    tags = {"YEAR": str(year), "MODEL": better, "MODEL_VERSION": layout.model_version, "LICENCE": LICENCE}
    tags["CLASSES"] = "; ".join(f"{entry.value} {entry.name}" for entry in CLASSES)
    for layer in DESCRIPTIONS:
        write_cog(layout.mosaic(year) / layer.name, pixels[layer.name], layer, transform, tags)
        say(f"{layout.mosaic(year) / layer.name}: {layer.description}")
    counts = np.bincount(pixels[CLASS_MAP].ravel(), minlength=len(CLASSES) + 1)
    return {"year": year, "by": better, "pixels": dict(zip(("no data", *NAMES), counts.tolist(), strict=True))}


if __name__ == "__main__":
    run(main)
