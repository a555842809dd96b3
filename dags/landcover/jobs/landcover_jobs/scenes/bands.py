"""Which assets a map needs of each scene, and what stands where a scene shows nothing."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

from landcover_jobs.configuration.images import CloudMask
from landcover_jobs.configuration.map_configuration import MapConfiguration
from landcover_jobs.job import StepError


def asset_names(configuration: MapConfiguration) -> dict[str, str]:
    """Return the source's name of each band, the cloud mask's band last."""
    mask = configuration.composites.cloud_mask.band
    return {name: band.asset or name for name, band in configuration.bands.items()} | {mask: mask}


def chosen(configuration: MapConfiguration, available: Collection[str], scene: str) -> dict[str, str]:
    """Return the asset of each band, all of which a scene must have.

    Raises:
        StepError: it has not.
    """
    names = asset_names(configuration)
    for band, asset in names.items():
        if asset not in available:
            there = ", ".join(sorted(available)) or "none at all"
            raise StepError(
                f"scene {scene} has no asset {asset!r} for the band {band}; there are: {there}. "
                f"Name the asset in bands.{band}.asset, or leave the scene out with source.exclude"
            )
    return names


def stated(**content: Any) -> str:
    """Return what a source says of a file's content as text that changes with it, "" where it says nothing."""
    said = {name: value for name, value in content.items() if value is not None}
    return json.dumps(said, sort_keys=True) if said else ""


def fill_values(configuration: MapConfiguration, bands: Sequence[str]) -> dict[str, float]:
    """Return each band's value where a scene shows nothing: its nodata; in the cloud mask one that is not clear."""
    mask = configuration.composites.cloud_mask
    fills: dict[str, float] = {}
    for band in bands:
        nodata = _unclear(mask) if band == mask.band else configuration.bands[band].nodata
        fills[band] = 0 if nodata is None else nodata
    return fills


def _unclear(mask: CloudMask) -> int:
    if mask.clouded_bits:
        return 1 << mask.clouded_bits[0]
    return next(value for value in range(256) if value not in (mask.clear or ()))
