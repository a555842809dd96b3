"""A tile's year in a Zarr group: composites as scaled integers, a chunk for all periods and bands of a block.

`bands` is uint16 (period, band, y, x), reflectance x 10,000, NEVER_SEEN where the year does not show the pixel at all
(gaps of a pixel that was seen are filled). `observations` is uint8 (period, y, x), how many clear dates a composite
has. Indices are not stored; `read_block` computes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from landcover_jobs.configuration.map_configuration import MapConfiguration
from landcover_jobs.grid.frame import Frame, Window
from landcover_jobs.job import StepError

REFLECTANCE_SCALE = 10_000
NEVER_SEEN = 65_535


@dataclass(frozen=True)
class Series:
    """The year of some pixels, as models want it but for normalisation."""

    features: npt.NDArray[np.float32]  # (pixel, period, feature): bands as reflectance, then indices; NaN: never seen
    observations: npt.NDArray[np.uint8]  # (pixel, period)

    @property
    def seen(self) -> npt.NDArray[np.bool_]:
        """Which pixels the year shows at all."""
        return np.asarray(np.isfinite(self.features).all(axis=(1, 2)))

    @property
    def hidden(self) -> npt.NDArray[np.bool_]:
        """The periods (pixel, period) without any observation, which models do not attend to; never all of a pixel."""
        empty = self.observations == 0
        return np.where(empty.all(axis=1, keepdims=True), False, empty)


def create_store(path: Path, configuration: MapConfiguration, frame: Frame, year: int) -> zarr.Group:
    """Begin an empty group; the caller fills `bands` and `observations` block by block."""
    periods, edge = configuration.composites.periods, configuration.composites.block_pixels
    height, width = frame.shape
    rows, columns = min(edge, height), min(edge, width)
    count = len(configuration.bands)
    group = zarr.create_group(path, overwrite=True)
    group.create_array(
        "bands", shape=(periods, count, height, width), chunks=(periods, count, rows, columns), dtype="uint16",
        fill_value=NEVER_SEEN, dimension_names=("period", "band", "y", "x"),
    )  # fmt: skip
    group.create_array(
        "observations", shape=(periods, height, width), chunks=(periods, rows, columns), dtype="uint8",
        fill_value=0, dimension_names=("period", "y", "x"),
    )  # fmt: skip
    group.attrs.update({"year": year, "bands": list(configuration.bands), "frame": frame.as_dict()})
    return group


def open_store(path: Path) -> zarr.Group:
    """Open a tile's composites.

    Raises:
        StepError: they are not there.
    """
    if not path.is_dir():
        raise StepError(f"{path} is missing: run the step `prepare` for this year and tile first")
    return zarr.open_group(path, mode="r")


def array_of(group: zarr.Group, name: str) -> zarr.Array[Any]:
    """Return one array of a tile's composites.

    Raises:
        StepError: the group has no such array.
    """
    found = group[name]
    if not isinstance(found, zarr.Array):
        raise StepError(
            f"{name} in {group.store_path} is no array: delete the tile's composites and run `prepare` again"
        )
    return found


def read_block(group: zarr.Group, window: Window, configuration: MapConfiguration) -> Series:
    """Return the series of a window's pixels, row by row."""
    rows, columns = window.slices
    stored = np.asarray(array_of(group, "bands")[:, :, rows, columns])
    periods, bands = stored.shape[:2]
    pixels = stored.reshape(periods, bands, -1).transpose(2, 0, 1)
    reflectance = np.where(pixels == NEVER_SEEN, np.float32(np.nan), pixels * np.float32(1 / REFLECTANCE_SCALE))
    counts = np.asarray(array_of(group, "observations")[:, rows, columns]).reshape(periods, -1).T
    return Series(with_indices(reflectance.astype(np.float32), configuration), np.ascontiguousarray(counts))


def with_indices(reflectance: npt.NDArray[np.float32], configuration: MapConfiguration) -> npt.NDArray[np.float32]:
    """Append the configured normalised differences to (pixel, period, band)."""
    place = {name: number for number, name in enumerate(configuration.bands)}
    indices = []
    for high_name, low_name in configuration.composites.indices.values():
        high, low = reflectance[..., place[high_name]], reflectance[..., place[low_name]]
        indices.append(normalised_difference(high, low))
    return np.concatenate([reflectance, np.stack(indices, axis=-1)], axis=-1) if indices else reflectance


def normalised_difference(high: npt.NDArray[np.float32], low: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return (high - low) / (high + low); a sum below 0.0001 (the store's least step) counts as that."""
    index: npt.NDArray[np.float32] = (high - low) / np.maximum(high + low, np.float32(1e-4))
    return index
