"""Layers as small pictures: read at the size of a screen, coloured, and how long a scale bar is."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import rasterio
from PIL import Image
from rasterio.enums import Resampling

from landcover_jobs.configuration.legend import LandCoverClass
from landcover_jobs.job import StepError

Pixels = npt.NDArray[np.integer[Any]]
Colours = npt.NDArray[np.uint8]

LONGEST_EDGE = 1200
UNCHANGED = (236, 237, 234)
NOTHING = (255, 255, 255)
METRES_OF_DEGREE = 111_320.0
ROUND_STEPS = (1, 2, 5)
KILOMETRE = 1000
PALETTE = 256


@dataclass(frozen=True)
class Picture:
    """A layer, thinned out where it is larger than a screen; what the file says is nothing is masked."""

    values: np.ma.MaskedArray[Any, Any]  # (row, column)
    metres_of_width: float

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.values.shape[0], self.values.shape[1]

    @property
    def aspect(self) -> float:
        """Width over height."""
        return self.shape[1] / self.shape[0]


def read_picture(path: Path, longest: int = LONGEST_EDGE) -> Picture:
    """Read a layer, its longer edge at most `longest` pixels; overviews are used, so memory does not grow with it.

    Raises:
        StepError: the file cannot be read.
    """
    try:
        with rasterio.open(path) as file:
            shrink = max(file.width, file.height, longest) / longest
            shape = (max(1, round(file.height / shrink)), max(1, round(file.width / shrink)))
            values = file.read(1, out_shape=shape, resampling=Resampling.nearest, masked=True)
            return Picture(values, _metres_of_width(file))
    except rasterio.errors.RasterioError as error:
        raise StepError(f"{path} cannot be read ({error}): remove it and run the step `mosaic` again") from error


def class_colours(values: np.ma.MaskedArray[Any, Any], classes: Sequence[LandCoverClass]) -> Colours:
    """Return (row, column, 3): the legend's colours, white where there is no class."""
    table = np.full((256, 3), NOTHING, dtype=np.uint8)
    for each in classes:
        table[each.value] = each.rgb
    return table[np.ma.filled(values, 0)]


def change_colours(changed: npt.NDArray[np.bool_], classes: Colours, seen: npt.NDArray[np.bool_]) -> Colours:
    """Return the new class's colour where it changed, light grey where it did not, white where nothing is known."""
    coloured = np.where(changed[..., None], classes, np.array(UNCHANGED, dtype=np.uint8))
    return np.where(seen[..., None], coloured, np.array(NOTHING, dtype=np.uint8)).astype(np.uint8)


def ramp_colours(values: np.ma.MaskedArray[Any, Any], low: float, high: float, name: str = "cividis") -> Colours:
    """Return the colours of a continuous layer, white where it says nothing."""
    share = np.clip((np.ma.filled(values, 0).astype(np.float64) - low) / max(high - low, 1e-9), 0, 1)
    coloured = mpl.colormaps[name](share, bytes=True)[..., :3]
    nothing = hidden(values)[..., None]
    return np.where(nothing, np.array(NOTHING, dtype=np.uint8), coloured).astype(np.uint8)


def least_shown(confidence: Picture) -> int:
    """Return where a colour ramp of per cent begins: a multiple of ten, not above any value."""
    seen = confidence.values.compressed()
    return min(int(seen.min()) // 10 * 10, 90) if len(seen) else 0


def hidden(values: np.ma.MaskedArray[Any, Any]) -> npt.NDArray[np.bool_]:
    """Return where a layer says nothing."""
    return np.asarray(np.ma.getmaskarray(values))


def png(colours: Colours) -> bytes:
    """Return a picture file; with a palette, exact and small, where there are at most 256 colours."""
    packed = colours.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], dtype=np.uint32)
    found, place = np.unique(packed, return_inverse=True)
    if len(found) <= PALETTE:
        image = Image.fromarray(place.reshape(packed.shape).astype(np.uint8), mode="P")
        image.putpalette(np.stack([found >> 16, found >> 8 & 255, found & 255], axis=1).astype(np.uint8).tobytes())
    else:
        image = Image.fromarray(colours)
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return file.getvalue()


def scale_bar(metres_of_width: float, share: float = 0.25) -> tuple[float, str]:
    """Return the length of a bar, as a part of the picture's width up to `share`, and what to write on it."""
    most = metres_of_width * share
    power = 10.0 ** math.floor(math.log10(most))
    metres = max(step * power for step in ROUND_STEPS if step * power <= most)
    words = f"{metres / KILOMETRE:g} km" if metres >= KILOMETRE else f"{metres:g} m"
    return metres / metres_of_width, words


def _metres_of_width(file: rasterio.DatasetReader) -> float:
    units = abs(float(file.transform.a)) * int(file.width)
    if file.crs is None or not file.crs.is_geographic:
        return units * float(file.crs.linear_units_factor[1] if file.crs is not None and file.crs.is_projected else 1)
    latitude = math.radians((file.bounds.top + file.bounds.bottom) / 2)
    return units * METRES_OF_DEGREE * max(math.cos(latitude), 0.01)
