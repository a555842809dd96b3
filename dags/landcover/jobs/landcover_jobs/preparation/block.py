"""One block of a tile: from its scenes, read period by period, to composites as they are stored, with a summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from landcover_jobs.configuration.map_configuration import MapConfiguration
from landcover_jobs.grid.frame import Frame, Window
from landcover_jobs.preparation.cloud_mask import clear_of_mask, far_from_clouds, valid_in_all
from landcover_jobs.preparation.compositing import (
    fill_gaps,
    medians_of,
    one_a_day,
    period_of,
    stored,
    to_stored_units,
)
from landcover_jobs.preparation.normalisation import Statistics
from landcover_jobs.preparation.store import NEVER_SEEN, REFLECTANCE_SCALE, normalised_difference
from landcover_jobs.scenes.footprint import touching
from landcover_jobs.scenes.inventory import Scene

# Statistics are taken of so many pixels at a time; in float64 they are some megabytes.
_PIXELS_AT_ONCE = 8192


class Reader(Protocol):
    """Reads the values of bands, as they are stored in the scenes' files, on a frame's pixels."""

    def __call__(self, scenes: Sequence[Scene], bands: Sequence[str], frame: Frame) -> npt.NDArray[Any]:
        """Return (scene, band, y, x), scenes and bands in the order given."""
        ...


@dataclass(frozen=True)
class Composites:
    """A block as the store has it."""

    bands: npt.NDArray[np.uint16]  # (period, band, y, x)
    observations: npt.NDArray[np.uint8]  # (period, y, x)


@dataclass(frozen=True)
class Summary:
    """What is noted of a block, or of all blocks of a tile together."""

    pixels: int
    observations: int  # clear ones, over all pixels and periods
    seen_in_period: tuple[int, ...]  # pixels with a clear observation
    statistics: Statistics  # of the features of pixels that were seen at all

    @property
    def pixels_never_seen(self) -> int:
        """How many pixels no date of the year shows."""
        return self.pixels - self.statistics.count

    @property
    def empty_periods(self) -> tuple[int, ...]:
        """The periods, from 0, in which no pixel was seen; interpolated all over the tile."""
        return tuple(period for period, seen in enumerate(self.seen_in_period) if not seen)

    def merged(self, other: Summary) -> Summary:
        """Return that of both together."""
        seen = tuple(mine + theirs for mine, theirs in zip(self.seen_in_period, other.seen_in_period, strict=True))
        statistics = self.statistics.merged(other.statistics)
        return Summary(self.pixels + other.pixels, self.observations + other.observations, seen, statistics)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "pixels": self.pixels,
            "observations": self.observations,
            "seen_in_period": list(self.seen_in_period),
            "statistics": self.statistics.as_dict(),
        }

    @classmethod
    def from_dict(cls, noted: Mapping[str, Any]) -> Summary:
        """Read what as_dict returned."""
        seen, statistics = tuple(noted["seen_in_period"]), Statistics.from_dict(noted["statistics"])
        return cls(int(noted["pixels"]), int(noted["observations"]), seen, statistics)


def by_period(scenes: Sequence[Scene], configuration: MapConfiguration) -> tuple[tuple[Scene, ...], ...]:
    """Return each period's scenes, in the order of their dates."""
    composites = configuration.composites
    periods: list[list[Scene]] = [[] for _ in range(composites.periods)]
    for scene in sorted(scenes, key=lambda each: (each.time, each.id)):
        periods[period_of(scene.time, composites.period)].append(scene)
    return tuple(tuple(each) for each in periods)


def composites_of(
    read: Reader, periods: Sequence[Sequence[Scene]], frame: Frame, configuration: MapConfiguration
) -> Composites:
    """Return the composites of the pixels of `frame`, periods and bands in the order given.

    Memory: the values of one period's scenes, and the year's composites, in float32 and as they are stored.
    """
    bands = list(configuration.bands.values())
    medians = np.zeros((len(periods), len(bands), *frame.shape), dtype=np.float32)
    observations = np.zeros((len(periods), *frame.shape), dtype=np.uint8)
    for number, all_scenes in enumerate(periods):
        scenes = touching(all_scenes, frame)
        clear = _clear_of_clouds(read, scenes, frame, configuration)
        if not clear.any():
            continue
        values = read(scenes, list(configuration.bands), frame)
        values, clear = one_a_day(values, clear & valid_in_all(values, bands), [scene.time for scene in scenes])
        medians[number], observations[number] = medians_of(values, clear)
    for number, band in enumerate(bands):
        to_stored_units(medians[:, number], band)
    series, known = medians.reshape(len(periods), len(bands), -1), observations.reshape(len(periods), -1) > 0
    fill_gaps(series, known)
    whole = np.empty(medians.shape, dtype=np.uint16)
    seen = np.asarray(known.any(axis=0)).reshape(frame.shape)
    for number in range(len(periods)):
        whole[number] = stored(medians[number], seen)
    return Composites(whole, observations)


def summary_of(composites: Composites, configuration: MapConfiguration) -> Summary:
    """Return what is noted of a block, computed from its values as they are stored."""
    periods, bands = composites.bands.shape[:2]
    pixels = composites.bands.reshape(periods, bands, -1)
    shape = (periods, len(configuration.features))
    statistics = Statistics(0, np.zeros(shape), np.zeros(shape))
    for begin in range(0, pixels.shape[2], _PIXELS_AT_ONCE):
        part = pixels[:, :, begin : begin + _PIXELS_AT_ONCE]
        seen = part[0, 0] != NEVER_SEEN
        if seen.any():
            part = part if seen.all() else part[:, :, seen]
            statistics = statistics.merged(_statistics_of(part, configuration))
    observations = composites.observations.reshape(periods, -1)
    seen_in_period = tuple(int(count) for count in np.count_nonzero(observations, axis=1))
    return Summary(pixels.shape[2], int(observations.sum(dtype=np.int64)), seen_in_period, statistics)


def _statistics_of(pixels: npt.NDArray[np.uint16], configuration: MapConfiguration) -> Statistics:
    """Return those of (period, band, pixel), all seen; each (period, feature) is a row of pixels, which is fastest."""
    periods, bands, count = pixels.shape
    names = list(configuration.bands)
    pairs = [(names.index(high), names.index(low)) for high, low in configuration.composites.indices.values()]
    mean, squares = np.empty((2, periods, bands + len(pairs)))
    features = np.empty((bands + len(pairs), count))
    for period in range(periods):
        reflectance = pixels[period] * np.float32(1 / REFLECTANCE_SCALE)
        features[:bands] = reflectance
        for row, (high, low) in enumerate(pairs, start=bands):
            features[row] = normalised_difference(reflectance[high], reflectance[low])
        mean[period] = features.mean(axis=1)
        features -= mean[period][:, None]
        squares[period] = np.einsum("fp,fp->f", features, features)
    return Statistics(count, mean, squares)


def _clear_of_clouds(
    read: Reader, scenes: Sequence[Scene], frame: Frame, configuration: MapConfiguration
) -> npt.NDArray[np.bool_]:
    """Return (date, y, x) of the frame; the mask, and one band, are read so far beyond it as clouds grow into it."""
    rule = configuration.composites.cloud_mask
    margin = rule.grow_pixels
    if not margin:
        return clear_of_mask(read(scenes, [rule.band], frame)[:, 0], rule)
    height, width = frame.shape
    around = frame.part(Window(-margin, -margin, height + 2 * margin, width + 2 * margin))
    clear = clear_of_mask(read(scenes, [rule.band], around)[:, 0], rule)
    if clear.all() or not clear.any():
        return clear[:, :height, :width]
    name, band = next(iter(configuration.bands.items()))
    shown = valid_in_all(read(scenes, [name], around), [band])
    return far_from_clouds(clear, shown, margin)[:, margin : margin + height, margin : margin + width]
