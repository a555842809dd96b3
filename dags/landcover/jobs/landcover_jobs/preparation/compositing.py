"""From dated, cloudy observations to one gap-free composite for each period of the year: arrays in, arrays out.

Medians are taken by a sorting network over the dates: a fixed list of (minimum, maximum) of whole arrays, which numpy
works through at the speed of the memory caches; `nanmedian` takes each pixel apart. Cloudy values are replaced by the
least and the greatest number in turn, so that they pair off at both ends and the median stays in the middle.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
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
    counts: npt.NDArray[np.uint8] = np.ascontiguousarray(clear).view(np.uint8).sum(axis=0, dtype=np.uint8)
    medians = np.zeros((bands, height * width), dtype=np.float32)
    if dates:
        flat, flat_clear = values.reshape(dates, bands, -1), clear.reshape(dates, -1)
        step = max(1024, _CACHED_BYTES // (dates * values.itemsize))
        for begin in range(0, height * width, step):
            part = slice(begin, begin + step)
            middle = _Middle.of(flat_clear[:, part], values.dtype)
            for band in range(bands):
                medians[band, part] = middle.median(flat[:, band, part])
    return medians.reshape(bands, height, width), counts


def fill_gaps(series: Floats, known: Bools) -> None:
    """Interpolate (period, band, pixel) linearly where not `known` (period, pixel), in place, around the year.

    A pixel that is known in no period is left as it is.
    """
    periods, bands, pixels = series.shape
    before, after = _neighbours(known)
    seen = known.any(axis=0)
    flat = series.reshape(-1)
    for period in range(periods):
        gaps = np.flatnonzero(seen & ~known[period])
        first, last = before[period, gaps].astype(np.intp), after[period, gaps].astype(np.intp)
        weight = ((period - first) / (last - first)).astype(np.float32)
        first, last = (each % periods * (bands * pixels) + gaps for each in (first, last))
        for band in range(bands):
            left, right = flat.take(first), flat.take(last)
            series[period, band, gaps] = left + (right - left) * weight
            first += pixels
            last += pixels


def to_stored_units(medians: Floats, band: Band) -> None:
    """Turn medians of raw values into reflectance x 10,000, in place: the median of scaled values is the same."""
    scale, offset = band.scale * REFLECTANCE_SCALE, band.offset * REFLECTANCE_SCALE
    if scale != 1:
        medians *= np.float32(scale)
    if offset:
        medians += np.float32(offset)


def stored(values: Floats, seen: Bools) -> npt.NDArray[np.uint16]:
    """Round reflectance x 10,000 (..., pixel) to integers, cut at 0 and 65,534; NEVER_SEEN where not `seen` (pixel)."""
    rounded = np.rint(values)
    whole = np.clip(rounded, 0, NEVER_SEEN - 1, out=rounded).astype(np.uint16)
    if not seen.all():
        whole[..., ~seen] = NEVER_SEEN
    return whole


def _neighbours(known: Bools) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int16]]:
    """Return the nearest known period before and after each (period, pixel), beyond the year's ends where need be."""
    periods = len(known)
    own = np.arange(periods, dtype=np.int16)[:, None]
    before = np.where(known, own, np.int16(-2 * periods))
    after = np.where(known, own, np.int16(3 * periods))
    # What comes before the first period is the last of the year before, and so on.
    np.maximum(before[0], before.max(axis=0) - np.int16(periods), out=before[0])
    np.minimum(after[-1], after.min(axis=0) + np.int16(periods), out=after[-1])
    for period in range(1, periods):
        np.maximum(before[period], before[period - 1], out=before[period])
        np.minimum(after[-period - 1], after[-period], out=after[-period - 1])
    return before, after


@dataclass(frozen=True)
class _Middle:
    """The middle of sorted dates, of which cloudy ones are the least and the greatest number in turn.

    With an even number of clear dates, the middle is between the two ranks `centre` and `other`; with an odd one it is
    at `centre`: `share` of the way, a half or 0.
    """

    low: npt.NDArray[Any]  # (date, pixel): a value is raised to `low` and then lowered to `high`
    high: npt.NDArray[Any]
    share: Floats  # (pixel,)
    centre: int
    other: int

    @classmethod
    def of(cls, clear: Bools, dtype: np.dtype[Any]) -> _Middle:
        """Return that of some pixels (date, pixel); it serves all bands."""
        dates = len(clear)
        least, greatest = _limits(dtype)
        low, high = np.empty(clear.shape, dtype), np.empty(clear.shape, dtype)
        odd = np.zeros(clear.shape[1:], dtype=np.bool_)  # whether the number of cloudy dates so far is odd
        for date in range(dates):
            cloudy = ~clear[date]
            low[date] = np.where(cloudy & ~odd, greatest, least)
            high[date] = np.where(cloudy & odd, least, greatest)
            odd ^= cloudy
        even = odd == bool(dates % 2)
        centre, other = ((dates - 1) // 2, max((dates - 3) // 2, 0)) if dates % 2 else (dates // 2 - 1, dates // 2)
        return cls(low, high, even * np.float32(0.5), centre, other)

    def median(self, values: npt.NDArray[Any]) -> Floats:
        """Return the median over the clear dates of one band (date, pixel)."""
        rows = [np.fmin(np.fmax(row, low), high) for row, low, high in zip(values, self.low, self.high, strict=True)]
        spare = np.empty_like(rows[0])
        for first, second in _network(len(rows), frozenset({self.centre, self.other})):
            np.minimum(rows[first], rows[second], out=spare)
            np.maximum(rows[first], rows[second], out=rows[second])
            rows[first], spare = spare, rows[first]
        middle: Floats = rows[self.centre].astype(np.float32)
        other = rows[self.other].astype(np.float32)
        other -= middle
        other *= self.share
        middle += other
        return middle


def _limits(dtype: np.dtype[Any]) -> tuple[Any, Any]:
    """Return a number of a type below all values, and one above; integers may be equal to them."""
    if np.issubdtype(dtype, np.integer):
        return dtype.type(np.iinfo(dtype).min), dtype.type(np.iinfo(dtype).max)
    # Their difference is still a number, in float32, too.
    greatest = float(np.finfo(min(dtype, np.dtype(np.float32))).max) / 4
    return dtype.type(-greatest), dtype.type(greatest)


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
