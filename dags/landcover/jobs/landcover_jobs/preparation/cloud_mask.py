"""Which observations show the ground: the cloud mask's rule, clouds grown by a disk, and bands without a value.

Arrays in, arrays out; (date, y, x) for masks, (date, band, y, x) for bands.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from math import isqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from landcover_jobs.configuration.images import Band, CloudMask

Bools = npt.NDArray[np.bool_]


def clear_of_mask(mask: npt.NDArray[Any], rule: CloudMask) -> Bools:
    """Tell which pixels of the mask's band (date, y, x) are clear by the rule, clouds not grown."""
    if rule.clear is not None:
        return _among(mask, rule.clear)
    clouded = sum(1 << bit for bit in rule.clouded_bits or ())
    whole = mask if np.issubdtype(mask.dtype, np.integer) else np.where(np.isfinite(mask), mask, clouded)
    return np.asarray(whole.astype(np.int64) & clouded == 0)


def far_from_clouds(clear: Bools, shown: Bools, radius: int) -> Bools:
    """Tell which clear pixels (date, y, x) are farther than `radius` from any that is shown and not clear.

    Where an image shows nothing (not `shown`) is no cloud: it does not grow, so that the edge of an image costs
    nothing. The outermost `radius` rows and columns do not know of clouds beyond; the caller cuts them off.
    """
    return clear & ~grown(shown & ~clear, radius)


def valid_in_all(values: npt.NDArray[Any], bands: Sequence[Band]) -> Bools:
    """Tell which pixels (date, y, x) have a finite value that is not the band's nodata in every band."""
    missing = (_without_value(values[:, number], band.nodata) for number, band in enumerate(bands))
    return ~functools.reduce(operator.or_, missing)


def grown(mask: Bools, radius: int) -> Bools:
    """Return (..., y, x) with every true pixel grown to the disk of all pixels whose centres are within `radius`.

    A disk is a stack of horizontal lines: the mask is widened step by step, and each width is laid on the rows that are
    as far away as it is wide. Some `radius` passes over bytes; a structuring element takes `radius` squared.
    """
    height, width = mask.shape[-2:]
    result, wide, reach = mask.copy(), mask.copy(), 0
    for rows in range(min(radius, height), -1, -1):
        half_width = min(isqrt(radius * radius - rows * rows), width)
        while reach < half_width:
            reach += 1
            wide[..., reach:] |= mask[..., : width - reach]
            wide[..., : width - reach] |= mask[..., reach:]
        result[..., rows:, :] |= wide[..., : height - rows, :]
        result[..., : height - rows, :] |= wide[..., rows:, :]
    return result


def _among(mask: npt.NDArray[Any], values: Sequence[int]) -> Bools:
    """Tell where the mask has one of some values; a comparison for each is faster than `isin` for so few."""
    found = np.zeros(mask.shape, dtype=np.bool_)
    for value in values:
        found |= mask == value
    return found


def _without_value(values: npt.NDArray[Any], nodata: float | None) -> Bools:
    missing = np.zeros(values.shape, dtype=np.bool_)
    if np.issubdtype(values.dtype, np.floating):
        missing |= ~np.isfinite(values)
    if nodata is not None:
        missing |= values == nodata
    return missing
