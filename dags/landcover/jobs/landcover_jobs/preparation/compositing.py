"""From dated, cloudy observations to one gap-free composite for each period of the year: arrays in, arrays out.

Medians are taken by a sorting network over the dates: a fixed list of (minimum, maximum) of whole arrays, which numpy
works through at the speed of the memory caches; `nanmedian` takes each pixel apart. Cloudy values are replaced by the
least and the greatest number in turn, so that they pair off at both ends and the median stays in the middle.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from landcover_jobs.configuration.images import Band
from landcover_jobs.preparation.store import NEVER_SEEN, REFLECTANCE_SCALE

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
# So many values of all dates are sorted at a time: they stay in a core's own cache.
_CACHED_BYTES = 1 << 18


def period_of(time: datetime, period: Literal["month", "ten_days"]) -> int:
    """Return the period of the year that a date belongs to, in UTC, from 0.

    A month has three dekads: days 1 to 10, 11 to 20, and the rest (8 to 11 days).
    """
    utc = time.astimezone(UTC)
    return utc.month - 1 if period == "month" else 3 * (utc.month - 1) + min((utc.day - 1) // 10, 2)


def one_a_day(
    values: npt.NDArray[Any], clear: Bools, times: Sequence[datetime]
) -> tuple[npt.NDArray[Any], Bools]:  # fmt: skip
    """Lay scenes of the same day (UTC), most often of one overpass, over one another: the first clear one counts.

    (scene, band, y, x) and (scene, y, x) become (date, ...), so that a strip that two scenes share is not seen twice.
    """
    days = [time.astimezone(UTC).date() for time in times]
    first = {day: days.index(day) for day in days}
    if len(first) == len(days):
        return values, clear
    for number, day in enumerate(days):
        if number != first[day]:
            new = clear[number] & ~clear[first[day]]
            np.copyto(values[first[day]], values[number], where=new)
            clear[first[day]] |= new
    kept = list(first.values())
    return values[kept], clear[kept]


def medians_of(values: npt.NDArray[Any], clear: Bools) -> tuple[Floats, npt.NDArray[np.uint8]]:
    """Return the median of the clear observations (band, y, x) and their number (y, x).

    `values` is (date, band, y, x) of any number type, `clear` (date, y, x). What is returned where nothing is clear
    has no meaning. An even number of observations has the mean of the middle two. The order of the dates is irrelevant.

    Raises:
        ValueError: there are more than 255 dates.
    """
    dates, bands, height, width = values.shape
    if dates > np.iinfo(np.uint8).max:
        raise ValueError(f"{dates} dates in one period; their number is stored in a byte")
    counts: npt.NDArray[np.uint8] = clear.sum(axis=0, dtype=np.uint8)
    medians = np.zeros((bands, height * width), dtype=np.float32)
    if not dates:
        return medians.reshape(bands, height, width), counts
    flat, flat_clear = values.reshape(dates, bands, -1), clear.reshape(dates, -1)
    step = max(1024, _CACHED_BYTES // (dates * values.itemsize))
    for begin in range(0, height * width, step):
        part = slice(begin, begin + step)
        if not counts.reshape(-1)[part].any():
            continue
        median = _median_function(flat_clear[:, part], values.dtype)
        for band in range(bands):
            medians[band, part] = median(flat[:, band, part])
    return medians.reshape(bands, height, width), counts


def fill_gaps(series: Floats, known: Bools) -> None:
    """Interpolate (period, band, pixel) linearly where not `known` (period, pixel), in place, around the year.

    A pixel that is known in no period is left as it is.
    """
    periods = len(series)
    before, after = _neighbours(known)
    seen = known.any(axis=0)
    for period in range(periods):
        gaps = np.flatnonzero(seen & ~known[period])
        first, last = before[period, gaps].astype(np.intp), after[period, gaps].astype(np.intp)
        weight = ((period - first) / (last - first)).astype(np.float32)
        first, last = first % periods, last % periods
        for band in range(series.shape[1]):
            left, right = series[first, band, gaps], series[last, band, gaps]
            series[period, band, gaps] = left + (right - left) * weight


def to_stored_units(medians: Floats, band: Band) -> None:
    """Turn medians of raw values into reflectance x 10,000, in place: the median of scaled values is the same."""
    scale, offset = band.scale * REFLECTANCE_SCALE, band.offset * REFLECTANCE_SCALE
    if scale != 1:
        medians *= np.float32(scale)
    if offset:
        medians += np.float32(offset)


def stored(values: Floats, seen: Bools) -> npt.NDArray[np.uint16]:
    """Round reflectance x 10,000 (..., pixel) to integers, cut at 0 and 65,534; NEVER_SEEN where not `seen` (pixel)."""
    rounded = np.clip(np.rint(values), 0, NEVER_SEEN - 1)
    return np.where(seen, rounded, NEVER_SEEN).astype(np.uint16)


def _neighbours(known: Bools) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int16]]:
    """Return the nearest known period before and after each (period, pixel), beyond the year's ends where need be."""
    periods = len(known)
    before = np.empty(known.shape, dtype=np.int16)
    after = np.empty(known.shape, dtype=np.int16)
    nearest = np.full(known.shape[1:], -2 * periods, dtype=np.int16)
    for period in range(-periods, periods):
        np.copyto(nearest, np.int16(period), where=known[period % periods])
        if period >= 0:
            before[period] = nearest
    nearest.fill(3 * periods)
    for period in range(2 * periods - 1, -1, -1):
        np.copyto(nearest, np.int16(period), where=known[period % periods])
        if period < periods:
            after[period] = nearest
    return before, after


def _median_function(clear: Bools, dtype: np.dtype[Any]) -> Callable[[npt.NDArray[Any]], Floats]:
    """Return what takes the median over clear dates of one band (date, pixel); the masks serve all bands."""
    dates = len(clear)
    least, greatest = _limits(dtype)
    low, high = np.full(clear.shape, greatest, dtype), np.full(clear.shape, least, dtype)
    odd = np.zeros(clear.shape[1:], dtype=np.bool_)  # whether the number of cloudy dates so far is odd
    for date in range(dates):
        cloudy = ~clear[date]
        np.copyto(low[date], least, where=cloudy & odd)
        np.copyto(high[date], greatest, where=cloudy & ~odd)
        odd ^= cloudy
    even = np.asarray(odd == bool(dates % 2))  # whether the number of clear dates is even
    centre, other = ((dates - 1) // 2, (dates - 3) // 2) if dates % 2 else (dates // 2 - 1, dates // 2)
    network = _network(dates, frozenset({centre, max(other, 0)}))

    def median(values: npt.NDArray[Any]) -> Floats:
        if dates == 1:
            return np.where(clear[0], values[0], 0).astype(np.float32)
        rows = [np.fmin(np.fmax(values[date], high[date]), low[date]) for date in range(dates)]
        spare = np.empty_like(rows[0])
        for first, second in network:
            np.minimum(rows[first], rows[second], out=spare)
            np.maximum(rows[first], rows[second], out=rows[second])
            rows[first], spare = spare, rows[first]
        middle = rows[centre].astype(np.float32)
        partner = np.where(even, rows[other], rows[centre]).astype(np.float32)
        middle += partner
        middle *= np.float32(0.5)
        return middle

    return median


def _limits(dtype: np.dtype[Any]) -> tuple[Any, Any]:
    """Return the least and the greatest number of a type; of float64 those that are float32, too."""
    limits = np.iinfo(dtype) if np.issubdtype(dtype, np.integer) else np.finfo(min(dtype, np.dtype(np.float32)))
    return limits.min, limits.max


@functools.cache
def _network(count: int, wanted: frozenset[int]) -> tuple[tuple[int, int], ...]:
    """Return Batcher's merge exchange (Knuth, The Art of Computer Programming 3, 5.2.2 M) for `wanted` ranks only."""
    exchanges = []
    top = 1 << max(count - 1, 1).bit_length() - 1
    length = top
    while length > 0:
        stride, remainder, distance = top, 0, length
        while True:
            exchanges += [(i, i + distance) for i in range(count - distance) if i & length == remainder]
            if stride == length:
                break
            distance, stride, remainder = stride - length, stride >> 1, length
        length >>= 1
    needed, kept = set(wanted), []
    for first, second in reversed(exchanges):
        if first in needed or second in needed:
            needed |= {first, second}
            kept.append((first, second))
    return tuple(reversed(kept))
