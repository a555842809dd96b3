"""The whole scene as models see it: one row a pixel, features standardised for each month of each year."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import rasterio
import xarray as xr

from landcover_jobs.classes import from_tree_cover
from landcover_jobs.composites import FEATURES, MONTHS
from landcover_jobs.folds import block_folds
from landcover_jobs.job import StepError
from landcover_jobs.layout import SCENE_SIZE, TILES, Layout, tile_window


@dataclass(frozen=True)
class Series:
    """The time series of all pixels of one year, row by row of the scene."""

    features: npt.NDArray[np.float32]  # (pixel, month, feature), standardised
    observations: npt.NDArray[np.uint8]  # (pixel, month), how often the ground was seen

    @property
    def seen(self) -> npt.NDArray[np.bool_]:
        """Which pixels the year shows at all."""
        return np.asarray(self.observations.any(axis=1))


def standardise(features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Give every month and feature mean 0 and deviation 1 over the scene, and pixels never seen the mean.

    This takes out most of what differs between years without being land cover: dates of the images, haze, dry summers.
    No label is used.
    """
    mean = np.nanmean(features, axis=0, keepdims=True)
    deviation = np.nanstd(features, axis=0, keepdims=True)
    scaled: npt.NDArray[np.float32] = (features - mean) / np.maximum(deviation, np.float32(1e-6))
    return np.nan_to_num(scaled)


def load_series(layout: Layout, year: int) -> Series:
    """Put the tiles of a year together."""
    features = np.empty((MONTHS, len(FEATURES), SCENE_SIZE, SCENE_SIZE), dtype=np.float32)
    observations = np.empty((MONTHS, SCENE_SIZE, SCENE_SIZE), dtype=np.uint8)
    for tile in range(TILES):
        path = layout.composites(year, tile)
        if not path.is_file():
            raise StepError(f"{path} is missing: run the step `prepare` for {year}, tile {tile}, first")
        rows, columns = tile_window(tile)
        with xr.open_dataset(path, engine="h5netcdf") as composites:
            features[:, :, rows, columns] = composites["features"].values
            observations[:, rows, columns] = composites["observations"].values
    pixels = features.transpose(2, 3, 0, 1).reshape(-1, MONTHS, len(FEATURES))
    return Series(standardise(pixels), observations.transpose(1, 2, 0).reshape(-1, MONTHS))


def load_reference(layout: Layout) -> npt.NDArray[np.int64]:
    """Return the class index of every pixel, -1 where the reference says nothing."""
    with rasterio.open(layout.reference) as file:
        return from_tree_cover(file.read(1)).ravel()


def pixel_folds() -> npt.NDArray[np.int64]:
    """Return the fold of every pixel of the scene."""
    return block_folds(SCENE_SIZE, SCENE_SIZE).ravel()


def tile_pixels(tile: int) -> npt.NDArray[np.int64]:
    """Return the row numbers of a tile's pixels."""
    return np.arange(SCENE_SIZE**2).reshape(SCENE_SIZE, SCENE_SIZE)[tile_window(tile)].ravel()
