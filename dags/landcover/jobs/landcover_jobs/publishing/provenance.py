"""From what, by what and where a version was made: `provenance.json`, and what STAC has fields for."""

from __future__ import annotations

import functools
import os
import platform
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import quote

import rasterio

from landcover_jobs.configuration.images import Source, StacSource
from landcover_jobs.configuration.map_configuration import MapConfiguration
from landcover_jobs.folder import MapFolder
from landcover_jobs.records import PACKAGE, code_key, file_sha256
from landcover_jobs.scenes.fetched import entries
from landcover_jobs.scenes.inventory import read_inventory, scene_folder

LOCK = "requirements.lock"
LOCK_VARIABLE = "LANDCOVER_LOCK"
# What computes pixels; all the other packages are in provenance.json.
MAIN_PACKAGES = (
    "numpy", "onnxruntime", "odc-stac", "pystac", "rasterio", "rio-cogeo", "scikit-learn", "torch", "zarr",
)  # fmt: skip
SLURM = {
    "job": "SLURM_JOB_ID",
    "cluster": "SLURM_CLUSTER_NAME",
    "partition": "SLURM_JOB_PARTITION",
    "account": "SLURM_JOB_ACCOUNT",
    "node": "SLURMD_NODENAME",
}


def provenance(configuration: MapConfiguration, folder: MapFolder, year: int, model: dict[str, Any]) -> dict[str, Any]:
    """Return all of it as plain values.

    Raises:
        StepError: the scenes of the year are not known.
    """
    scenes = {str(each): scenes_of(configuration, folder, each) for each in configuration.years_needed(year)}
    return {
        "made": datetime.now(tz=UTC).isoformat(timespec="seconds"),
        "map": configuration.name,
        "year": year,
        "configuration": configuration.model_dump(mode="json"),
        "code": {"package": "landcover_jobs", "key": package_key()},
        "model": model,
        "environment": environment(),
        "slurm": {name: os.environ[variable] for name, variable in SLURM.items() if os.environ.get(variable)},
        "scenes": scenes,
    }


def package_key() -> str:
    """Return the short name of the code of the whole package."""
    return code_key("")


def environment() -> dict[str, Any]:
    """Return Python, the platform, the lock file's hash (None where it is not beside the jobs) and every package."""
    lock = lock_file()
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "lock": {"name": lock.name, "sha256": file_sha256(lock)} if lock else None,
        "packages": installed_packages(),
    }


def lock_file() -> Path | None:
    """Return $LANDCOVER_LOCK, or the `requirements.lock` beside the jobs' folder or in it, where there is one."""
    named = os.environ.get(LOCK_VARIABLE)
    places = [Path(named).expanduser()] if named else [place / LOCK for place in (PACKAGE.parent, PACKAGE.parents[1])]
    return next((place for place in places if place.is_file()), None)


def installed_packages() -> dict[str, str]:
    """Return every package of the jobs' environment and its version."""
    return dict(_installed())


def software() -> dict[str, str]:
    """Return what STAC calls processing:software: the code and the packages that compute pixels."""
    installed = installed_packages()
    named = {name: installed[name] for name in MAIN_PACKAGES if name in installed} | {"gdal": rasterio.__gdal_version__}
    return {"landcover_jobs": package_key(), "python": platform.python_version()} | named


def scenes_of(configuration: MapConfiguration, folder: MapFolder, year: int) -> list[dict[str, Any]]:
    """Return id, date, addresses and contents of a year's scenes, and where a STAC API describes each (or None)."""
    return [
        {
            "id": scene.id,
            "date": scene.date,
            "item": _described_at(configuration.source, scene.id),
            "assets": scene.assets,
            "content": scene.content,
            "sha256": {
                band: entry.sha256
                for band, entry in sorted(entries(scene_folder(folder.scenes, scene)).items())
                if entry.sha256
            },
        }
        for scene in read_inventory(folder.inventory(year))
    ]


def _described_at(source: Source, scene: str) -> str | None:
    """Return the address that the STAC API standard gives an item; static catalogues have no such rule."""
    if not isinstance(source, StacSource) or not source.url.startswith("http") or source.url.endswith(".json"):
        return None
    return f"{source.url.rstrip('/')}/collections/{quote(source.collection)}/items/{quote(scene)}"


@functools.cache
def _installed() -> tuple[tuple[str, str], ...]:
    described = [each.metadata for each in metadata.distributions()]
    return tuple(sorted((str(each["Name"]).lower(), str(each["Version"])) for each in described if each["Name"]))
