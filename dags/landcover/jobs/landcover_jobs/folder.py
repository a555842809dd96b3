"""Where everything of one map lies in its data folder on the cluster."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class MapFolder:
    """The paths below `<data>/<map>`."""

    root: Path

    @property
    def scenes(self) -> Path:
        """Fetched scenes, a folder each: `<scene>/item.json` and its assets."""
        return self.root / "scenes"

    def inventory(self, year: int) -> Path:
        """Return the list of the scenes that a year's map is made of."""
        return self.root / "inventory" / f"{year}.json"

    @property
    def tiles(self) -> Path:
        """The tiles and the mosaic's frame, as `search` has computed them."""
        return self.root / "tiles.json"

    @property
    def old_map(self) -> Path:
        """Where the old map is kept that came over the network."""
        return self.root / "old_map"

    def composites(self, year: int, tile: str) -> Path:
        """Return the Zarr group of one tile's composites; its record is `<tile>.json` beside it."""
        return self.root / "composites" / str(year) / f"{tile}.zarr"

    def normalisation(self, year: int, model: str) -> Path:
        """Return the means and deviations by which a year is seen by a model: fixed at its first use."""
        return self.root / "models" / model / "normalisation" / f"{year}.json"

    def samples(self, key: str) -> Path:
        """Return the folder of a training set: `samples.npz` and its record `samples.json`."""
        return self.root / "samples" / key

    @property
    def current_samples(self) -> Path:
        """Which training set counts now."""
        return self.root / "samples" / "current.json"

    def models(self, key: str) -> Path:
        """Return the folder of a set of models: members, their ONNX files and `training.json`."""
        return self.root / "models" / key

    @property
    def current_models(self) -> Path:
        """Which set of models counts now."""
        return self.root / "models" / "current.json"

    def predictions(self, year: int, tile: str) -> Path:
        """Return the GeoTIFF of a tile's class probabilities; its record is `<tile>.json` beside it."""
        return self.root / "predictions" / str(year) / f"{tile}.tif"

    def mosaic(self, year: int) -> Path:
        """Return the folder of a year's layers before they are published; its record is `mosaic.json`."""
        return self.root / "mosaics" / str(year)

    def validation(self, year: int) -> Path:
        """Return the scores of a year's map."""
        return self.mosaic(year) / "validation.json"

    @property
    def published(self) -> Path:
        """The STAC collection with all years."""
        return self.root / "published"

    def versions(self, year: int) -> Path:
        """Return the folder of a year's published versions, and of the link `current`."""
        return self.published / str(year)
