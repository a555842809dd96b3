"""What the map says at points whose class is known from elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pyproj import Transformer

from landcover_jobs.grid.frame import Frame, Window
from landcover_jobs.grid.projection import DEGREES
from landcover_jobs.product.layers import BLOCK
from landcover_jobs.validation.accuracy import Matrix, confusion
from landcover_jobs.validation.class_map import ClassMap, Indices

OUTSIDE = -1


@dataclass(frozen=True)
class PointsFound:
    """Points on the map. Matrices have the map's classes as rows, the points' as columns."""

    within_window: Matrix  # a point counts as right where its class is anywhere in the window around it
    at_centre: Matrix  # the pixel that the point lies in: the stratum that it is a sample of
    outside: int  # not on the map's frame
    no_data: int  # on a pixel without a class

    def counts(self) -> dict[str, int]:
        """Return how many points there are, and where."""
        judged = int(self.at_centre.sum())
        total = judged + self.outside + self.no_data
        return {"points": total, "judged": judged, "outside": self.outside, "no_data": self.no_data}


def match_points(
    classes: ClassMap,
    *,
    lon: npt.NDArray[np.float64],
    lat: npt.NDArray[np.float64],
    labels: Indices,
    window_pixels: int,
) -> PointsFound:
    """Look points (n,), in degrees with the index of their class, up in a map.

    A point is right where its class is anywhere within `window_pixels` x `window_pixels`, as is done with LUCAS, whose
    observers stand some metres off; 1 is the pixel itself. A pixel without a class is not judged.

    Raises:
        StepError: the map cannot be read, or holds a value that is no class.
    """
    frame, reach = classes.frame, window_pixels // 2
    rows, columns = _pixels_of(frame, lon, lat)
    inside = rows != OUTSIDE
    centre, said = np.full(len(lon), -1, dtype=np.int64), np.full(len(lon), -1, dtype=np.int64)
    blocks = rows // BLOCK * (frame.width // BLOCK + 1) + columns // BLOCK
    # In the order of the file's blocks, so that each is read once.
    for point in sorted(np.flatnonzero(inside).tolist(), key=blocks.tolist().__getitem__):
        row, column = int(rows[point]), int(columns[point])
        around = Window(row - reach, column - reach, window_pixels, window_pixels)
        window = around.intersection(Window(0, 0, *frame.shape))
        assert window is not None  # noqa: S101 - the point lies inside
        found = classes.read(window)
        centre[point] = found[row - window.row, column - window.column]
        known = centre[point] >= 0
        said[point] = labels[point] if known and (found == labels[point]).any() else centre[point]
    classes_count = int(classes.indices.max()) + 1
    return PointsFound(
        confusion(labels, said, classes_count),
        confusion(labels, centre, classes_count),
        int((~inside).sum()),
        int((inside & (centre < 0)).sum()),
    )


def _pixels_of(frame: Frame, lon: npt.NDArray[np.float64], lat: npt.NDArray[np.float64]) -> tuple[Indices, Indices]:
    """Return rows and columns (n,) of points, OUTSIDE both where a point is not on the frame."""
    x, y = Transformer.from_crs(DEGREES, frame.crs, always_xy=True).transform(lon, lat)
    columns, rows = np.floor((x - frame.left) / frame.resolution), np.floor((frame.top - y) / frame.resolution)
    inside = (rows >= 0) & (rows < frame.height) & (columns >= 0) & (columns < frame.width)
    row, column = np.where(inside, rows, OUTSIDE), np.where(inside, columns, OUTSIDE)
    return row.astype(np.int64), column.astype(np.int64)
