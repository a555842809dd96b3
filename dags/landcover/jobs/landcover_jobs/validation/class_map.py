"""Reading the map that is judged: its classes as indices, window by window."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterWindow

from landcover_jobs.configuration.map_configuration import NO_DATA
from landcover_jobs.grid.frame import Frame, Window
from landcover_jobs.job import StepError
from landcover_jobs.product.layers import BLOCK

Indices = npt.NDArray[np.int64]
VALUES = 256


@dataclass(frozen=True)
class ClassMap:
    """An open classes.tif."""

    file: rasterio.DatasetReader
    frame: Frame
    indices: Indices  # (256,) from a value in the file to the index of its class, -1 where it is none

    @classmethod
    @contextmanager
    def opened(cls, path: Path, frame: Frame, values: Sequence[int]) -> Iterator[ClassMap]:
        """Open a map of a frame and of these class values; all that goes wrong with the file is said by its name.

        Raises:
            StepError: the map is missing, cannot be read, or is not of this frame.
        """
        try:
            with rasterio.open(path) as file:
                if (file.height, file.width) != frame.shape:
                    raise StepError(
                        f"{path} has {file.height} x {file.width} pixels, the mosaic {frame.height} x {frame.width}: "
                        "run the step `mosaic` again"
                    )
                table = np.full(VALUES, -1, dtype=np.int64)
                table[list(values)] = np.arange(len(values))
                yield cls(file, frame, table)
        except RasterioError as error:
            raise StepError(f"{path} cannot be read ({error}): run the step `mosaic` again") from error

    def read(self, window: Window) -> Indices:
        """Return the class index (y, x) of each pixel of a window, -1 where the map has none.

        Raises:
            StepError: the map holds a value that is no class.
        """
        stored = self.file.read(1, window=RasterWindow(window.column, window.row, window.width, window.height))
        found = self.indices[stored]
        strange = (found < 0) & (stored != NO_DATA)
        if strange.any():
            raise StepError(
                f"{self.file.name} holds the value {stored[strange][0]}, which is no class of the map: run the step "
                "`mosaic` again"
            )
        return np.asarray(found)

    def blocks(self) -> Iterator[tuple[Window, Indices]]:
        """Yield windows that have any class, and their class indices (y, x)."""
        for window in self.frame.blocks(BLOCK):
            found = self.read(window)
            if (found >= 0).any():
                yield window, found
