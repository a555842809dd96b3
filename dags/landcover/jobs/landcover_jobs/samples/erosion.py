"""Edges of classes are where old maps err most: there a disk eats them away."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt

Bools = npt.NDArray[np.bool_]


def inside_of_classes(classes: npt.NDArray[np.integer], covered: Bools, radius: int) -> Bools:
    """Tell which pixels have only pixels of their own class within `radius`.

    This is each class eroded by a disk. Unknown pixels (negative) eat as another class does; pixels that the old map
    does not cover eat nothing, because where a map ends no class need end.

    Args:
        classes: class indices (y, x); the outer `radius` pixels serve as neighbours only and are cut off.
        covered: what the old map covers, (y, x).
        radius: of the disk, in pixels; 0 leaves all pixels of any class.
    """
    known = (classes >= 0) & covered
    if not radius:
        return known
    kept = np.zeros(classes.shape, dtype=bool)
    for value in np.unique(classes[known]).tolist():
        own = known & (classes == value)
        foreign = covered & (classes != value)
        # The distance to the nearest foreign pixel is not defined where there is none.
        kept |= own & (distance_transform_edt(~foreign) > radius) if foreign.any() else own
    return kept[radius:-radius, radius:-radius]
