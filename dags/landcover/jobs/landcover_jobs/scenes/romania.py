"""Scenes out of a package of the Python index: 140 dates of a Romanian valley, Sentinel-2, 20 m, and its tree cover.

The package nrt carries the images as one NetCDF file whose projection is named by its parameters only; it is
EPSG:3035. Each date is written as GeoTIFF files, one a band, as if they had been fetched.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from datetime import UTC
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import rasterio
import xarray as xr

from landcover_jobs.configuration.map_configuration import MapConfiguration
from landcover_jobs.folder import MapFolder
from landcover_jobs.grid.frame import Frame
from landcover_jobs.job import StepError, read_json, replacing, say, write_json
from landcover_jobs.records import file_sha256
from landcover_jobs.scenes.bands import chosen, stated
from landcover_jobs.scenes.fetched import Entry, missing, note_all, wanted_of
from landcover_jobs.scenes.footprint import Bbox, footprint, touches
from landcover_jobs.scenes.inventory import Scene, scene_folder

REQUIREMENT = "nrt==0.2.0"
WHEEL_SHA256 = "3e94a675e1862e9402fb45a806dc8e37994a6729fadb6b4aebc2147b6685aca0"
CUBE_MEMBER = "nrt/data/sentinel2_cube_subset_romania_20m.nc"
OLD_MAP = "tree_cover_density_2018_romania.tif"
OLD_MAP_MEMBER = f"nrt/data/{OLD_MAP}"
LICENCE = (
    "EUPL-1.2 (package nrt); contains modified Copernicus Sentinel data and Copernicus Land Monitoring Service data"
)
DOWNLOAD_SECONDS = 600
CRS = "EPSG:3035"
RESOLUTION = 20.0
# As many as the old map has, which lies on the same grid.
DIGITS = 4
NODATA = 0


def search(configuration: MapConfiguration, folder: MapFolder, boxes: Sequence[Bbox], year: int) -> list[Scene]:
    """Return the scenes of a year, whose files are written already.

    Raises:
        StepError: the package cannot be had, has no images of the year or no such band, or the area lies elsewhere.
    """
    with xr.open_dataset(obtained(folder), engine="h5netcdf") as cube:
        return write_scenes(cube, configuration, folder, boxes, year)


def obtained(folder: MapFolder) -> Path:
    """Return the file with the images, fetched with the old map unless both are there, unchanged."""
    cube, old_map, record = folder.root / "source" / "sentinel2_20m.nc", folder.old_map / OLD_MAP, _record(folder)
    if record.is_file():
        files = read_json(record, made_by="search")["files"]
        if all(path.is_file() and files.get(path.name) == file_sha256(path) for path in (cube, old_map)):
            say(f"reusing {cube}: the hash matches")
            return cube
    cube.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cube.parent, prefix=".download-") as temporary:
        say(f"fetching {REQUIREMENT}")
        wheel = _fetched_wheel(Path(temporary))
        _extract(wheel, CUBE_MEMBER, cube)
        _extract(wheel, OLD_MAP_MEMBER, old_map)
    files = {path.name: file_sha256(path) for path in (cube, old_map)}
    write_json(record, {"from": REQUIREMENT, "wheel": WHEEL_SHA256, "files": files, "licence": LICENCE})
    return cube


def write_scenes(
    cube: xr.Dataset, configuration: MapConfiguration, folder: MapFolder, boxes: Sequence[Bbox], year: int
) -> list[Scene]:
    """Write the dates of a year as scenes and return them; those that are there are left as they are."""
    frame = frame_of(cube)
    if not any(touches(footprint(frame), box) for box in boxes):
        raise StepError(f"the area lies outside of the Romanian images, which show {footprint(frame)} (degrees)")
    images = cube.isel(time=np.flatnonzero(cube["time"].dt.year.to_numpy() == year))
    if not images.sizes["time"]:
        years = cube["time"].dt.year.to_numpy()
        raise StepError(f"there are no Romanian images of {year}, but of {years.min()} to {years.max()}")
    names = chosen(configuration, [str(name) for name in cube.data_vars], "romania")
    times = [pd.Timestamp(time).tz_localize(UTC) for time in images["time"].to_numpy()]
    scenes = [_scene(time, names, frame) for time in times]
    lacking = {each.scene for scene in scenes for each in missing(wanted_of(scene, folder.scenes))}
    pixels = {band: _stored(images[name]) for band, name in names.items()} if lacking else {}
    for number, scene in enumerate(scenes):
        if scene.id in lacking:
            _write(scene, {band: values[number] for band, values in pixels.items()}, frame, folder)
    say(f"{year}: {len(scenes)} Romanian scenes, {len(lacking)} of them new")
    return scenes


def frame_of(cube: xr.Dataset) -> Frame:
    """Return where the images' pixels lie; the file has the coordinates of their centres.

    Raises:
        StepError: they are no grid of 20 m.
    """
    x, y = cube["x"].to_numpy(), cube["y"].to_numpy()
    if not (np.allclose(np.diff(x), RESOLUTION) and np.allclose(np.diff(y), -RESOLUTION)):
        raise StepError(f"the images' pixels are no grid of {RESOLUTION} m that begins in the north-west")
    left, top = round(float(x[0]) - RESOLUTION / 2, DIGITS), round(float(y[0]) + RESOLUTION / 2, DIGITS)
    return Frame(CRS, left, top, RESOLUTION, len(y), len(x))


def _scene(time: pd.Timestamp, names: Mapping[str, str], frame: Frame) -> Scene:
    content = stated(wheel=WHEEL_SHA256)
    addresses = {band: f"{REQUIREMENT.replace('==', ':')}/{name}/{time:%Y-%m-%d}" for band, name in names.items()}
    return Scene(
        f"romania_{time:%Y%m%d}", time.isoformat(), footprint(frame), addresses, dict.fromkeys(addresses, content)
    )


def _stored(values: xr.DataArray) -> npt.NDArray[np.uint16]:
    """Return reflectance x 10,000 (time, y, x) as the sensor's files have it, 0 where there is none."""
    array = values.transpose("time", "y", "x").to_numpy()
    known = np.isfinite(array)
    return np.where(known, np.rint(np.where(known, array, NODATA)), NODATA).astype(np.uint16)


def _write(scene: Scene, bands: Mapping[str, npt.NDArray[np.uint16]], frame: Frame, folder: MapFolder) -> None:
    place = scene_folder(folder.scenes, scene)
    place.mkdir(parents=True, exist_ok=True)
    profile = {"driver": "GTiff", "dtype": "uint16", "count": 1, "height": frame.height, "width": frame.width}
    profile |= {"crs": frame.crs, "transform": frame.transform, "nodata": NODATA, "compress": "deflate"}
    found = {}
    for band, pixels in bands.items():
        path = place / f"{band}.tif"
        path.unlink(missing_ok=True)
        with rasterio.open(path, "w", **profile) as file:
            file.write(pixels, 1)
        size, digest = path.stat().st_size, file_sha256(path)
        found[band] = Entry(path.name, scene.assets[band], scene.content[band], size, digest)
    note_all(place, scene.id, found)


def _record(folder: MapFolder) -> Path:
    return folder.root / "source" / "source.json"


def _fetched_wheel(folder: Path) -> Path:
    """Let pip fetch the package as the machine's own configuration says."""
    # -I: the jobs' PYTHONPATH is no business of pip.
    command = [sys.executable, "-I", "-m", "pip", "download", "--no-deps", "--quiet"]
    command += ["--dest", str(folder), REQUIREMENT]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise StepError(
            f"pip could not fetch {REQUIREMENT} within {DOWNLOAD_SECONDS} s: is the index reachable?"
        ) from error
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.splitlines() if line.startswith("ERROR")] or error.stderr.splitlines()
        raise StepError(
            f"pip could not fetch {REQUIREMENT} ({'; '.join(lines[-2:]) or 'no message'}). This step needs the package "
            f"index: run it on a node with network access, or put the wheel into pip's find-links there."
        ) from error
    wheel = next(folder.glob("nrt-*.whl"))
    found = file_sha256(wheel)
    if found != WHEEL_SHA256:
        raise StepError(f"{wheel.name} has the hash {found}, expected {WHEEL_SHA256}: the index serves another file")
    return wheel


def _extract(wheel: Path, member: str, target: Path) -> None:
    """Copy one file out of the wheel; rasters get the name of their projection."""
    with replacing(target) as temporary:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as source, temporary.open("wb") as sink:
            shutil.copyfileobj(source, sink)
        if target.suffix == ".tif":
            with rasterio.open(temporary, "r+") as raster:
                raster.crs = CRS
