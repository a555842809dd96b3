"""Labelled series from outside the project, as models want them, each with its own days of the year and places."""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
import rasterio.warp
from landcover_jobs.learning.recipe import Labelled

MODIS_BANDS = ("blue", "red", "nir", "mir", "ndvi", "evi")
MODIS_SCALE = 10_000.0
# The sixteen-day composites of a crop year from September: days of the year on which they begin.
MODIS_DAYS = (*range(257, 354, 16), *range(1, 242, 16))
SCARCE = ("Forest", "Soy_Fallow")


@dataclass(frozen=True)
class DataSet:
    """Pixels with labels, and what tells which of them are neighbours."""

    name: str
    samples: Labelled  # features not normalised
    classes: tuple[str, ...]
    days: tuple[float, ...]
    blocks: npt.NDArray[np.int64]  # (n,) pixels of one block share a fold
    years: npt.NDArray[np.int64]  # (n,) in which the labelled year begins
    places: npt.NDArray[np.int64]  # (n,) the same where the ground is the same
    groups: Mapping[str, Sequence[int]] = field(default_factory=dict)  # of class indices that count as one

    def only(self, rows: npt.NDArray[np.bool_]) -> DataSet:
        """Return some of the pixels, with all classes."""
        return DataSet(
            self.name,
            self.samples.only(rows),
            self.classes,
            self.days,
            self.blocks[rows],
            self.years[rows],
            self.places[rows],
            self.groups,
        )


def mt_modis(data: Path, *, all_classes: bool) -> DataSet:
    """Return crop years of Mato Grosso in blocks of one degree: all nine classes, or without the two scarce ones."""
    with np.load(data / "mt_modis_samples.npz", allow_pickle=False) as stored:
        found = {name: stored[name] for name in stored.files}
    names = [str(name) for name in found["classes"]]
    kept = [name for name in names if all_classes or name not in SCARCE]
    index = np.array([kept.index(name) if name in kept else -1 for name in names])
    labels = index[found["y"]]
    rows = labels >= 0
    features = np.ascontiguousarray(found["X"][rows].astype(np.float32))
    hidden = np.zeros(features.shape[:2], dtype=bool)
    blocks = numbered(np.stack([np.floor(found["lon"][rows]), np.floor(found["lat"][rows])], axis=1))
    samples = Labelled(features, hidden, labels[rows].astype(np.int64))
    name = f"mt_modis, {len(kept)} classes"
    places = numbered(np.stack([found["lon"][rows], found["lat"][rows]], axis=1))
    return DataSet(name, samples, tuple(kept), MODIS_DAYS, blocks, np.zeros(len(blocks), dtype=np.int64), places)


def lucc_mt(data: Path, *, block_pixels: int = 3) -> DataSet:
    """Return labelled crop years of one scene: 23 composites from September, missing ones filled and hidden."""
    folder = data / "lucc_mt"
    with (folder / "samples.csv").open(newline="", encoding="utf-8") as file:
        points = list(csv.DictReader(file))
    stacks, dates, rows, columns = _stacks(folder, points)
    names = tuple(sorted({point["label"] for point in points}))
    years = np.array([int(point["from"][:4]) for point in points])
    series = [
        _crop_year(stacks[:, :, row, column], dates, year)
        for row, column, year in zip(rows, columns, years.tolist(), strict=True)
    ]
    samples = Labelled(
        np.stack([features for features, _ in series]),
        np.stack([hidden for _, hidden in series]),
        np.array([names.index(point["label"]) for point in points]),
    )
    blocks = numbered(np.stack([np.array(rows) // block_pixels, np.array(columns) // block_pixels], axis=1))
    places = numbered(np.stack([np.array(rows), np.array(columns)], axis=1))
    return DataSet("lucc_mt", samples, names, MODIS_DAYS, blocks, years, places)


def numbered(keys: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return the number of each row among the different rows."""
    return np.unique(keys, axis=0, return_inverse=True)[1].ravel().astype(np.int64)


def _stacks(
    folder: Path, points: Sequence[dict[str, str]]
) -> tuple[npt.NDArray[np.float32], list[dt.date], list[int], list[int]]:
    """Return the bands (band, date, y, x), their dates, and the row and column of each point."""
    bands = []
    for band in MODIS_BANDS:
        with rasterio.open(folder / f"{band}.tif") as file:
            values = file.read().astype(np.float32)
            bands.append(np.where(values == file.nodata, np.nan, values / MODIS_SCALE))
            dates = [dt.date.fromisoformat(text[-10:].replace(".", "-")) for text in file.descriptions]
            xs, ys = rasterio.warp.transform(
                "EPSG:4326",
                file.crs,
                [float(point["longitude"]) for point in points],
                [float(point["latitude"]) for point in points],
            )
            places = [file.index(x, y) for x, y in zip(xs, ys, strict=True)]
    return np.stack(bands), dates, [int(row) for row, _ in places], [int(column) for _, column in places]


def _crop_year(
    pixel: npt.NDArray[np.float32], dates: Sequence[dt.date], year: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Return (period, feature) of the year from September, and which periods had to be interpolated."""
    first, end = dt.date(year, 9, 1), dt.date(year + 1, 9, 1)
    series = np.full((len(MODIS_DAYS), len(pixel)), np.nan, dtype=np.float32)
    for number, date in enumerate(dates):
        if first <= date < end:
            day = date.timetuple().tm_yday
            nearest = min(range(len(MODIS_DAYS)), key=lambda period: abs(MODIS_DAYS[period] - day))
            series[nearest] = pixel[:, number]
    hidden: npt.NDArray[np.bool_] = np.asarray(~np.isfinite(series).all(axis=1))
    known = np.flatnonzero(~hidden)
    for feature in range(series.shape[1]):
        series[:, feature] = np.interp(np.arange(len(series)), known, series[known, feature])
    return series, hidden
