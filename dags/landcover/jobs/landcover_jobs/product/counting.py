"""How much of a map is what: pixels and hectares of each value, added up block by block."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pyproj import CRS

from landcover_jobs.grid.frame import Frame, Window

SQUARE_METRES_OF_HECTARE = 10_000.0
VALUES = 256


class Counts:
    """Pixels and hectares of the values 0 to 255."""

    def __init__(self, frame: Frame) -> None:
        self.pixels: npt.NDArray[np.int64] = np.zeros(VALUES, dtype=np.int64)
        self.hectares: npt.NDArray[np.float64] = np.zeros(VALUES)
        self._of_row = hectares_of_rows(frame)
        self._frame = frame

    def add(self, values: npt.NDArray[np.uint8], window: Window) -> None:
        """Count a window of the frame."""
        keys = np.arange(window.height)[:, None] * VALUES + values
        counts = np.bincount(keys.ravel(), minlength=window.height * VALUES).reshape(window.height, VALUES)
        self.pixels += counts.sum(axis=0)
        self.hectares += self._of_row[window.row : window.row + window.height] @ counts

    def complete(self, value: int) -> None:
        """Count all pixels of the frame that were in no window as this value."""
        height, width = self._frame.shape
        self.pixels[value] += height * width - int(self.pixels.sum())
        self.hectares[value] += float(self._of_row.sum()) * width - float(self.hectares.sum())


def hectares_of_rows(frame: Frame) -> npt.NDArray[np.float64]:
    """Return the area of one pixel in each row, in hectares.

    In a projection it is the pixel's nominal area, as map areas are commonly given: true in equal-area projections,
    within 0.2 % in UTM. In degrees it is computed on the ellipsoid.
    """
    crs = CRS.from_user_input(frame.crs)
    if not crs.is_geographic:
        metres = frame.resolution * crs.axis_info[0].unit_conversion_factor
        return np.full(frame.height, metres**2 / SQUARE_METRES_OF_HECTARE)
    ellipsoid, edge = crs.get_geod(), frame.resolution
    assert ellipsoid is not None  # noqa: S101 - a geographic CRS has one
    tops = frame.top - np.arange(frame.height) * edge
    areas = [
        abs(ellipsoid.polygon_area_perimeter([0, edge, edge, 0], [top, top, top - edge, top - edge])[0])
        for top in tops.tolist()
    ]
    return np.array(areas) / SQUARE_METRES_OF_HECTARE
