"""From dated, cloudy observations to twelve gap-free monthly composites with indices: arrays in, arrays out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Bools = npt.NDArray[np.bool_]

MONTHS = 12
# Of Sentinel-2's scene classification: vegetation, bare soil and unclassified; no clouds, shadows, snow or water.
CLEAR_SCENE_CLASSES = (4, 5, 7)
BANDS = ("B3", "B4", "B8A", "B11")
INDICES = {"NDVI": ("B8A", "B4"), "NDMI": ("B8A", "B11"), "MNDWI": ("B3", "B11"), "NDWI": ("B3", "B8A")}
FEATURES = (*BANDS, *INDICES)
REFLECTANCE_SCALE = 10_000


def clear_observations(scene_class: Floats, reflectance: Floats) -> Bools:
    """Tell which pixels of which dates (time, y, x) show the ground in every band of (time, band, y, x)."""
    return np.isin(scene_class, CLEAR_SCENE_CLASSES) & np.isfinite(reflectance).all(axis=1)


def monthly_medians(
    reflectance: Floats, clear: Bools, months: npt.NDArray[np.integer]
) -> tuple[Floats, npt.NDArray[np.uint8]]:
    """Return the median of the clear observations of each month, NaN where there is none, and their number."""
    _, bands, height, width = reflectance.shape
    medians = np.full((MONTHS, bands, height, width), np.nan, dtype=np.float32)
    counts = np.zeros((MONTHS, height, width), dtype=np.uint8)
    for month in range(MONTHS):
        dates = np.flatnonzero(months == month + 1)
        counts[month] = clear[dates].sum(axis=0)
        seen = counts[month] > 0
        if seen.any():
            masked = np.where(clear[dates][:, None], reflectance[dates], np.nan)
            medians[month][:, seen] = np.nanmedian(masked[:, :, seen], axis=0)
    return medians, counts


def fill_gaps(series: Floats) -> Floats:
    """Interpolate linearly over missing months, around the turn of the year; a pixel never seen stays NaN."""
    months = series.shape[0]
    thrice = np.concatenate([series, series, series])
    position = np.arange(3 * months).reshape(-1, *[1] * (series.ndim - 1))
    known = np.isfinite(thrice)
    before = np.maximum.accumulate(np.where(known, position, -1), axis=0)
    after = np.minimum.accumulate(np.where(known, position, 3 * months)[::-1], axis=0)[::-1]
    middle = slice(months, 2 * months)
    before, after, position = before[middle], after[middle], position[middle]
    never_seen = ~known.any(axis=0)
    before, after = np.where(never_seen, 0, before), np.where(never_seen, 0, after)
    left = np.take_along_axis(thrice, before, axis=0)
    right = np.take_along_axis(thrice, after, axis=0)
    weight = (position - before) / np.maximum(after - before, 1)
    filled: Floats = (left + (right - left) * weight).astype(series.dtype)
    return filled


def with_indices(reflectance: Floats) -> Floats:
    """Append the normalised differences of INDICES to the bands of (month, band, y, x)."""
    band = {name: reflectance[:, number] for number, name in enumerate(BANDS)}
    indices = [
        (band[high] - band[low]) / np.maximum(band[high] + band[low], np.float32(1e-4))
        for high, low in INDICES.values()
    ]
    return np.concatenate([reflectance, np.stack(indices, axis=1)], axis=1)
