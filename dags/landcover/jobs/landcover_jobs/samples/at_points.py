"""A training set from given points: the series of the pixels that they lie in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from landcover_jobs.configuration.map_configuration import MapConfiguration
from landcover_jobs.folder import MapFolder
from landcover_jobs.grid.folds import fold_of
from landcover_jobs.grid.frame import Frame, Tile
from landcover_jobs.grid.projection import DEGREES
from landcover_jobs.job import StepError, say
from landcover_jobs.preparation.store import open_store, read_block
from landcover_jobs.samples.given import NO_FOLD, Points
from landcover_jobs.samples.ground import Block, blocks_of, in_crs
from landcover_jobs.samples.outcome import Outcome, classes_kept, dropped_classes
from landcover_jobs.samples.pixels import Pixels, Whole, places, training_set_of

NOWHERE = -1


@dataclass(frozen=True)
class _Located:
    """For each point: the number of its tile (NOWHERE: in none), and its pixel there."""

    tile: Whole
    row: Whole
    column: Whole

    def within(self, block: Block) -> npt.NDArray[np.intp]:
        """Return which points lie in a block."""
        row, column = self.row - block.window.row, self.column - block.window.column
        inside = (row >= 0) & (row < block.window.height) & (column >= 0) & (column < block.window.width)
        return np.flatnonzero(inside & (self.tile == block.number))


def choose_at_points(
    folder: MapFolder, configuration: MapConfiguration, tiles: Sequence[Tile], mosaic: Frame, points: Points
) -> Outcome:
    """Return the training set of all points that lie on a pixel that the training year shows.

    Several points of one class in one pixel count once; where their classes differ, none of them counts.

    Raises:
        StepError: several trials are wanted; no point lies in a tile; or fewer than two classes have enough of them.
    """
    trials = configuration.samples.trials
    if trials > 1:
        raise StepError(f"samples.trials is {trials}, but given points are all taken: equal draws; make it 1")
    located = _locate(points, tiles)
    inside = int((located.tile != NOWHERE).sum())
    if not inside:
        raise StepError(
            f"none of the {len(points)} given points lies in a tile of the map: check that lon and lat are not "
            "exchanged, and area"
        )
    pixels = _cut(folder, configuration, tiles, mosaic, points=points, located=located)
    once = _without_repeats(pixels, tiles[0].frame.resolution)
    left_out = {
        "lie outside all tiles": len(points) - inside,
        f"lie on pixels that {configuration.training_year} never shows": inside - len(pixels),
        "share a pixel with another point": len(pixels) - len(once),
    }
    notes = tuple(f"{count} of {len(points)} points {what}: left out" for what, count in left_out.items() if count)
    for note in notes:
        say(note)
    pixels = pixels.take(once)
    counts = np.bincount(pixels.labels, minlength=len(configuration.classes)).tolist()
    about = (counts, configuration.class_names, configuration.samples.least_of_class, "points")
    chosen = pixels.take(np.array(classes_kept(*about))[pixels.labels])
    return Outcome(training_set_of([chosen], tiles[0].frame.resolution), dropped_classes(*about), notes)


def _locate(points: Points, tiles: Sequence[Tile]) -> _Located:
    """Find each point's pixel in the first tile that has it."""
    found = _Located(*(np.full(len(points), NOWHERE, dtype=np.int64) for _ in range(3)))
    for number, tile in enumerate(tiles):
        frame = tile.frame
        x, y = in_crs(points.lon, points.lat, DEGREES, frame.crs)
        column, row = (x - frame.left) / frame.resolution, (frame.top - y) / frame.resolution
        inside = (column >= 0) & (column < frame.width) & (row >= 0) & (row < frame.height) & (found.tile == NOWHERE)
        found.tile[inside] = number
        found.row[inside], found.column[inside] = np.floor(row[inside]), np.floor(column[inside])
    return found


def _cut(
    folder: MapFolder, configuration: MapConfiguration, tiles: Sequence[Tile], mosaic: Frame,
    *, points: Points, located: _Located,
) -> Pixels:  # fmt: skip
    """Return the seen pixels of all points that lie in a tile."""
    parts = []
    for block in blocks_of(tiles, configuration.composites.block_pixels):
        chosen = located.within(block)
        if not len(chosen):
            continue
        row, column = located.row[chosen], located.column[chosen]
        group = open_store(folder.composites(configuration.training_year, block.tile.name))
        series = read_block(group, block.window, configuration)
        frame = block.tile.frame
        centre_x = np.asarray(frame.left + (column + 0.5) * frame.resolution, dtype=np.float64)
        centre_y = np.asarray(frame.top - (row + 0.5) * frame.resolution, dtype=np.float64)
        x, y = in_crs(centre_x, centre_y, frame.crs, mosaic.crs)
        computed = fold_of(x, y, block_size=configuration.validation.block_size, folds=configuration.validation.folds)
        folds = np.where(points.folds[chosen] == NO_FOLD, computed, points.folds[chosen])
        pixel = (row - block.window.row) * block.window.width + column - block.window.column
        found = Pixels(series.features[pixel], series.observations[pixel], points.labels[chosen], folds, x, y)
        parts.append(found.take(series.seen[pixel]))
    return Pixels.joined(parts)


def _without_repeats(pixels: Pixels, resolution: float) -> npt.NDArray[np.intp]:
    """Return the first of the points of each pixel, but none of a pixel whose points are of different classes."""
    place = np.stack(places(pixels.x, pixels.y, resolution), axis=1)
    _, first, number = np.unique(place, axis=0, return_index=True, return_inverse=True)
    differs = pixels.labels != pixels.labels[first][number.ravel()]
    disputed = np.bincount(number.ravel(), weights=differs, minlength=len(first)) > 0
    return np.sort(first[~disputed])
