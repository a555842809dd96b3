"""The map that is updated, seen pixel by pixel in the frame of a tile and in the classes of the new map.

The old map may have any projection and resolution. Where its pixels are finer than the frame's, a pixel of the frame
takes the class that most of them have; its values become classes first, because the most frequent of 44 values need not
lie in the most frequent of 11 classes. Values of floating-point rasters (per cent, say) are rounded to whole numbers.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds

from landcover_jobs.configuration.legend import OldMap
from landcover_jobs.grid.frame import Frame, Window
from landcover_jobs.job import StepError
from landcover_jobs.samples.ground import centres, in_crs

UNKNOWN = -1
MOST_VOTES = 8  # along one edge: of a much finer map 64 evenly spread pixels vote, so that memory stays bounded
SHOWN_VALUES = 12

Classes = npt.NDArray[np.int16]
Bools = npt.NDArray[np.bool_]


@dataclass
class OldMapReader:
    """An open old map; `unlisted` counts the values met so far that the legend does not know."""

    source: Any  # rasterio's dataset, which has no types
    old_map: OldMap
    class_values: tuple[int, ...]
    unlisted: Counter[int] = field(default_factory=Counter)

    def read(self, frame: Frame, margin: int = 0) -> tuple[Classes, Bools]:
        """Return class indices (UNKNOWN: none) and what the old map covers, `margin` pixels over the frame's edges.

        Raises:
            StepError: the file cannot be read.
        """
        grown = frame.part(Window(-margin, -margin, frame.height + 2 * margin, frame.width + 2 * margin))
        covered = self._covered(grown)
        if not covered.any():
            return np.full(grown.shape, UNKNOWN, dtype=np.int16), covered
        votes = self._votes(grown)
        classes = self._classes(*self._values(grown, votes), margin * votes)
        return np.where(covered, majority(classes, votes), np.int16(UNKNOWN)), covered

    def refuse_unlisted(self) -> None:
        """End the step where values were met that the legend does not list, unless they may be unknown."""
        if not self.unlisted or self.old_map.unlisted == "unknown":
            return
        shown = ", ".join(f"{value} ({count} pixels)" for value, count in sorted(self.unlisted.items())[:SHOWN_VALUES])
        more = f", and {len(self.unlisted) - SHOWN_VALUES} more" if len(self.unlisted) > SHOWN_VALUES else ""
        raise StepError(
            f"the old map {self.source.name} has values that old_map.legend does not list: {shown}{more}; list them "
            "in old_map.legend or old_map.unknown, or write old_map.unlisted: unknown"
        )

    def _covered(self, frame: Frame) -> Bools:
        """Tell for each pixel of the frame whether its centre lies in the file's extent."""
        left, bottom, right, top = self.source.bounds
        try:
            west, south, east, north = transform_bounds(frame.crs, self.source.crs, *frame.bounds)
        except RasterioError:  # parts of the frame lie where the old map's projection is not defined
            west, south, east, north = -math.inf, -math.inf, math.inf, math.inf
        if left <= west and east <= right and bottom <= south and north <= top:
            return np.ones(frame.shape, dtype=bool)
        if west >= right or east <= left or south >= top or north <= bottom:
            return np.zeros(frame.shape, dtype=bool)
        x, y = in_crs(*centres(frame), frame.crs, self.source.crs.to_wkt())
        columns, rows = ~self.source.transform @ (x, y)
        inside = (columns >= 0) & (columns < self.source.width) & (rows >= 0) & (rows < self.source.height)
        return np.asarray(inside & np.isfinite(columns) & np.isfinite(rows))

    def _votes(self, frame: Frame) -> int:
        """Return how many pixels of the old map an edge of a pixel in the middle of the frame spans, at least 1."""
        left, bottom, right, top = frame.bounds
        middle_x, middle_y, step = (left + right) / 2, (bottom + top) / 2, frame.resolution
        x = np.array([middle_x, middle_x + step, middle_x])
        y = np.array([middle_y, middle_y, middle_y + step])
        columns, rows = ~self.source.transform @ in_crs(x, y, frame.crs, self.source.crs.to_wkt())
        spans = np.hypot(columns[1:] - columns[0], rows[1:] - rows[0])
        longest = float(spans.max())
        return min(max(round(longest), 1), MOST_VOTES) if math.isfinite(longest) else 1

    def _values(self, frame: Frame, votes: int) -> tuple[npt.NDArray[Any], Bools]:
        """Return the values of the nearest pixels, `votes` x `votes` for each of the frame, and which are any."""
        fine = Frame(
            frame.crs, frame.left, frame.top, frame.resolution / votes, frame.height * votes, frame.width * votes
        )
        has_alpha = ColorInterp.alpha in self.source.colorinterp
        try:
            with WarpedVRT(
                self.source, crs=fine.crs, transform=fine.transform, height=fine.height, width=fine.width,
                resampling=Resampling.nearest, add_alpha=not has_alpha,
            ) as warped:  # fmt: skip
                return warped.read(1), warped.dataset_mask() > 0
        except RasterioError as error:
            raise StepError(f"the old map {self.source.name} cannot be read: {error}; fetch it again") from error

    def _classes(self, values: npt.NDArray[Any], valid: Bools, margin: int) -> Classes:
        valid = valid & np.isfinite(values)
        whole = np.rint(np.where(valid, values, 0)).astype(np.int64)
        present = np.unique(whole[valid])
        table = np.array([self._class_of(value) for value in present.tolist()] or [UNKNOWN], dtype=np.int16)
        place = np.minimum(np.searchsorted(present, whole), max(len(present) - 1, 0))
        core = tuple(slice(margin, size - margin) for size in whole.shape)
        for value in present[table == UNKNOWN].tolist():
            count = int(np.count_nonzero((whole[core] == value) & valid[core]))
            if count and value not in self.old_map.unknown:
                self.unlisted[value] += count
        return np.where(valid, table[place], np.int16(UNKNOWN))

    def _class_of(self, value: int) -> int:
        if value in self.old_map.unknown:
            return UNKNOWN
        for entry in self.old_map.legend:
            if entry.holds(value):
                return self.class_values.index(entry.becomes)
        return UNKNOWN


@contextmanager
def open_old_map(path: Path, old_map: OldMap, class_values: tuple[int, ...]) -> Iterator[OldMapReader]:
    """Open the old map's first band.

    Raises:
        StepError: it is missing, GDAL cannot read it, or it does not say its projection.
    """
    if not path.is_file():
        raise StepError(f"the old map {path} is missing: put it there, or correct old_map.path")
    try:
        source = rasterio.open(path)
    except RasterioError as error:
        raise StepError(f"the old map {path} cannot be read as a raster: {error}") from error
    with source:
        if source.crs is None:
            raise StepError(
                f"the old map {path} does not say its projection: write it into the file, "
                f"for example with `rio edit-info --crs EPSG:3035 {path.name}`"
            )
        yield OldMapReader(source, old_map, class_values)


def majority(classes: Classes, votes: int) -> Classes:
    """Return the most frequent class of every `votes` x `votes` pixels; among equals UNKNOWN, then the first class."""
    if votes == 1:
        return classes
    height, width = (size // votes for size in classes.shape)
    best = np.full((height, width), UNKNOWN, dtype=np.int16)
    most = np.zeros((height, width), dtype=np.int64)
    for value in np.unique(classes).tolist():
        count = (classes == value).reshape(height, votes, width, votes).sum(axis=(1, 3))
        best[count > most] = value
        most = np.maximum(most, count)
    return best
