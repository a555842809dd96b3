"""The legend: three classes by tree cover, from which forest or not follows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class LandCover:
    """One class of the map: its value in the file, name, least tree cover in per cent, and colour."""

    value: int
    name: str
    least_cover: int
    colour: tuple[int, int, int]


CLASSES = (
    LandCover(1, "Non-forest (< 30 %)", 0, (232, 214, 150)),
    LandCover(2, "Open forest (30-69 %)", 30, (127, 188, 96)),
    LandCover(3, "Dense forest (≥ 70 %)", 70, (18, 97, 54)),
)
NO_DATA = 0
NAMES = tuple(land_cover.name for land_cover in CLASSES)
REFERENCE_NO_DATA = 255


def from_tree_cover(per_cent: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """Return the index into CLASSES of each pixel, -1 where the reference says nothing."""
    index = np.digitize(per_cent, [land_cover.least_cover for land_cover in CLASSES[1:]])
    return np.where(per_cent == REFERENCE_NO_DATA, -1, index)


def is_forest(index: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
    """Tell which class indices are forest: 30 % tree cover or more."""
    return index >= 1
