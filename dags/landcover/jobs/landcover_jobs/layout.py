"""Where everything lies in the data folder, and how the scene is cut into tiles."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from landcover_jobs.job import StepError

SCENE_SIZE = 50
TILE_SIZE = 25
TILES = (SCENE_SIZE // TILE_SIZE) ** 2
REFERENCE_YEAR = 2018
YEARS = range(2016, 2021)
MODEL_MODULES = ("classes", "composites", "download", "folds", "models", "scene", "train", "transformer", "tune")


def check_year(year: int) -> int:
    """Refuse a year that the satellite series does not cover."""
    if year not in YEARS:
        raise StepError(f"there are no whole years of images for {year}: choose one of {YEARS[0]} to {YEARS[-1]}")
    return year


def tile_window(tile: int) -> tuple[slice, slice]:
    """Return the rows and columns of a tile."""
    if not 0 <= tile < TILES:
        raise StepError(f"there is no tile {tile}: the scene has the tiles 0 to {TILES - 1}")
    row, column = divmod(tile, SCENE_SIZE // TILE_SIZE)
    return (
        slice(row * TILE_SIZE, (row + 1) * TILE_SIZE),
        slice(column * TILE_SIZE, (column + 1) * TILE_SIZE),
    )


@dataclass(frozen=True)
class Layout:
    """The paths below one data folder."""

    root: Path

    @property
    def cube(self) -> Path:
        """The Sentinel-2 images."""
        return self.root / "source" / "sentinel2_20m.nc"

    @property
    def reference(self) -> Path:
        """The tree cover density of the reference year."""
        return self.root / "source" / "tree_cover_density_2018.tif"

    @property
    def source_record(self) -> Path:
        """What was fetched, and from what."""
        return self.root / "source" / "source.json"

    def composites(self, year: int, tile: int) -> Path:
        """Return the monthly composites of one tile."""
        return self.root / "composites" / str(year) / f"tile-{tile}.nc"

    @cached_property
    def model_version(self) -> str:
        """A short name of the code that shapes the models: those made by other code are never reused."""
        digest = hashlib.sha256()
        for module in MODEL_MODULES:
            path = Path(__file__).with_name(f"{module}.py")
            digest.update(module.encode() + b"\0" + path.read_bytes() + b"\0")
        return digest.hexdigest()[:10]

    @property
    def models(self) -> Path:
        """The study, the fitted models and their scores."""
        return self.root / "models" / self.model_version

    @property
    def training_record(self) -> Path:
        """The scores of both models and which one is better."""
        return self.models / "training.json"

    def predictions(self, year: int, tile: int) -> Path:
        """Return what the models say about one tile."""
        return self.root / "predictions" / str(year) / f"tile-{tile}.npz"

    def mosaic(self, year: int) -> Path:
        """Return the folder of a year's map before it is published."""
        return self.root / "mosaics" / str(year)

    def published(self, year: int) -> Path:
        """Return the folder of a year's published versions."""
        return self.root / "published" / str(year)
