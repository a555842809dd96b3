"""What has changed since the map of the nearest earlier year that is published.

The minimum mapping unit is that of CORINE's change layers (Büttner 2014, "CORINE Land Cover and Land Cover Change
Products"): a patch of one and the same transition, its pixels touching at an edge or a corner; smaller patches count as
unchanged in the layer. Single pixels differ between two maps mostly by error, not by change.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterWindow
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from landcover_jobs.configuration.map_configuration import NO_DATA, MapConfiguration
from landcover_jobs.folder import MapFolder
from landcover_jobs.grid.frame import Frame, Window
from landcover_jobs.job import StepError
from landcover_jobs.product.counting import hectares_of_rows
from landcover_jobs.product.layers import (
    BLOCK,
    CHANGE,
    CHANGE_NO_DATA,
    CLASSES_FILE,
    UNCHANGED,
    bounded_cache,
    class_list,
    new_draft,
    publishable,
)
from landcover_jobs.product.resampling import frame_of, read_nearest, same_place
from landcover_jobs.publishing.versions import current_version, years_in

VALUES = 256
NEIGHBOURS = ((0, 1), (1, -1), (1, 0), (1, 1))  # half of those at an edge or a corner: each pair of pixels once


@dataclass(frozen=True)
class Previous:
    """The map that a year is compared with."""

    year: int
    version: str
    path: Path
    classes: str | None  # as the tag CLASSES has them

    def named(self) -> dict[str, Any]:
        """Return what records say of it."""
        return {"year": self.year, "version": self.version}


@dataclass
class Transitions:
    """Pixels and hectares of what was (row) and is (column), by value; and what is not in the matrix."""

    pixels: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros((VALUES, VALUES), dtype=np.int64))
    hectares: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros((VALUES, VALUES)))
    below_unit: int = 0
    resampled: bool = False

    def as_dict(self, configuration: MapConfiguration, frame: Frame) -> dict[str, Any]:
        """Return the record: the diagonal of the matrices is what is unchanged."""
        chosen = np.ix_(configuration.class_values, configuration.class_values)
        pixels, hectares = self.pixels[chosen], self.hectares[chosen]
        off_diagonal = ~np.eye(len(pixels), dtype=bool)
        return {
            "least_pixels": configuration.product.least_change_pixels,
            "resampled": self.resampled,
            "changed_pixels": int(pixels[off_diagonal].sum()),
            "changed_hectares": round(float(hectares[off_diagonal].sum()), 4),
            "unchanged_pixels": int(pixels.trace()),
            "below_least_pixels": self.below_unit,
            "unknown_pixels": frame.height * frame.width - int(pixels.sum()) - self.below_unit,
            "classes": list(configuration.class_names),
            "pixels_rows_before_columns_after": pixels.tolist(),
            "hectares_rows_before_columns_after": np.round(hectares, 4).tolist(),
        }


def previous_map(folder: MapFolder, year: int) -> Previous | None:
    """Return the published map of the nearest year before, None where there is none.

    Raises:
        StepError: that map cannot be read.
    """
    for earlier in reversed([each for each in years_in(folder.published) if each < year]):
        version = current_version(folder.versions(earlier))
        if version is None:
            continue
        path = folder.versions(earlier) / str(version) / CLASSES_FILE
        try:
            with rasterio.open(path) as file:
                return Previous(earlier, str(version), path, file.tags().get("CLASSES"))
        except RasterioError as error:
            raise StepError(
                f"{path}, the published map of {earlier}, cannot be read ({error}): roll {earlier} back to another "
                "version, or publish it again"
            ) from error
    return None


def incomparable(previous: Previous | None, configuration: MapConfiguration) -> str | None:
    """Say why no change can be told, None where it can."""
    if previous is None:
        return "no earlier year is published"
    if previous.classes != class_list(configuration):
        return f"the map of {previous.year} ({previous.version}) has other classes: {previous.classes}"
    return None


def write_change(
    folder: Path,
    frame: Frame,
    previous: Previous,
    configuration: MapConfiguration,
    tags: dict[str, str],
    *,
    block: int = BLOCK,
) -> Transitions:
    """Write change.tif beside classes.tif in a folder: what was and what is, 0 where unchanged, 255 where not known.

    A block is judged with `least_change_pixels` - 1 pixels around it: a patch that reaches farther has enough pixels in
    them already, so the result is that of the whole map at once. Where the previous map has another frame it is
    resampled, nearest.

    Raises:
        StepError: the previous map has no plain grid.
    """
    least, draft, found = configuration.product.least_change_pixels, folder / f"draft-{CHANGE.file}", Transitions()
    area = hectares_of_rows(frame)
    with bounded_cache(), rasterio.open(previous.path) as before, rasterio.open(folder / CLASSES_FILE) as after:
        try:
            before_frame = frame_of(before)
        except ValueError as error:
            raise StepError(str(error)) from error
        found.resampled = not same_place(before_frame, frame)
        before_frame = before_frame if found.resampled else frame
        with new_draft(draft, CHANGE, frame) as file:
            for window in frame.blocks(block):
                grown = _grown(window, least - 1, frame)
                new = after.read(1, window=_raster(grown))
                part = read_nearest(before, before_frame, frame, grown) if new.any() else None
                if part is None:
                    continue
                old = np.where(part.inside, part.pixels[0], NO_DATA).astype(np.uint8)
                core = window.moved(-grown.row, -grown.column).slices
                dropped = below_unit(old, new, least)[core]
                old, new = old[core], new[core]
                file.write(change_bands(old, new, dropped), window=_raster(window))
                _count(found, old, new, dropped, area[window.row : window.row + window.height])
        publishable(draft, folder / CHANGE.file, CHANGE, tags)
        draft.unlink()
    return found


def below_unit(old: npt.NDArray[np.uint8], new: npt.NDArray[np.uint8], least: int) -> npt.NDArray[np.bool_]:
    """Return which changed pixels (y, x) are in patches of one transition with fewer than `least` pixels."""
    dropped = np.zeros(old.shape, dtype=bool)
    transition = np.where(_changed(old, new), old.astype(np.int32) * VALUES + new, 0)
    changed = transition > 0
    count = int(changed.sum())
    if least <= 1 or not count:
        return dropped
    number = np.full(old.shape, -1, dtype=np.int64)
    number[changed] = np.arange(count)
    pairs = np.concatenate([_alike(transition, number, *step) for step in NEIGHBOURS], axis=1)
    graph = coo_array((np.ones(pairs.shape[1], dtype=bool), (pairs[0], pairs[1])), shape=(count, count))
    _, patch = connected_components(graph, directed=False)
    dropped[changed] = np.bincount(patch)[patch] < least
    return dropped


def change_bands(
    old: npt.NDArray[np.uint8], new: npt.NDArray[np.uint8], dropped: npt.NDArray[np.bool_]
) -> npt.NDArray[np.uint8]:
    """Return what was and what is (2, y, x) where it changed, UNCHANGED elsewhere, CHANGE_NO_DATA where not known."""
    changed, known = _changed(old, new) & ~dropped, (old != NO_DATA) & (new != NO_DATA)
    bands = np.where(changed, np.stack([old, new]), UNCHANGED)
    return np.where(known, bands, CHANGE_NO_DATA).astype(np.uint8)


def _alike(
    transition: npt.NDArray[np.int32], number: npt.NDArray[np.int64], down: int, right: int
) -> npt.NDArray[np.int64]:
    """Return the numbers (2, n) of pixels of one transition of which the second lies so far down and right."""
    height, width = transition.shape
    first = slice(0, height - down), slice(max(-right, 0), width - max(right, 0))
    second = slice(down, height), slice(max(right, 0), width - max(-right, 0))
    same = (transition[first] == transition[second]) & (transition[first] > 0)
    return np.stack([number[first][same], number[second][same]])


def _changed(old: npt.NDArray[np.uint8], new: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    return np.asarray((old != new) & (old != NO_DATA) & (new != NO_DATA))


def _count(
    found: Transitions,
    old: npt.NDArray[np.uint8],
    new: npt.NDArray[np.uint8],
    dropped: npt.NDArray[np.bool_],
    area: npt.NDArray[np.float64],
) -> None:
    counted = (old != NO_DATA) & (new != NO_DATA) & ~dropped
    keys = (old.astype(np.int64) * VALUES + new)[counted]
    hectares = np.broadcast_to(area[:, None], old.shape)[counted]
    shape = (VALUES, VALUES)
    found.pixels += np.bincount(keys, minlength=VALUES * VALUES).reshape(shape)
    found.hectares += np.bincount(keys, weights=hectares, minlength=VALUES * VALUES).reshape(shape)
    found.below_unit += int(dropped.sum())


def _grown(window: Window, by: int, frame: Frame) -> Window:
    larger = Window(window.row - by, window.column - by, window.height + 2 * by, window.width + 2 * by)
    clipped = larger.intersection(Window(0, 0, *frame.shape))
    assert clipped is not None  # noqa: S101 - the window lies in the frame
    return clipped


def _raster(window: Window) -> RasterWindow:
    return RasterWindow(window.column, window.row, window.width, window.height)
