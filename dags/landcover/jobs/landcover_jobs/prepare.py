"""Turn one tile's images of a year, and of the reference year, into monthly composites; an array element is a tile."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from landcover_jobs.composites import (
    BANDS,
    FEATURES,
    MONTHS,
    REFLECTANCE_SCALE,
    clear_observations,
    fill_gaps,
    monthly_medians,
    with_indices,
)
from landcover_jobs.job import StepError, arguments, array_element, replacing, run, say
from landcover_jobs.layout import REFERENCE_YEAR, Layout, check_year, tile_window


def composite_tile(cube: xr.Dataset, year: int) -> xr.Dataset:
    """Return the gap-free features (month, feature, y, x) and the clear observations of each month."""
    images = cube.sel(time=str(year))
    reflectance = np.stack([images[band].values for band in BANDS], axis=1) / np.float32(REFLECTANCE_SCALE)
    clear = clear_observations(images["SCL"].values, reflectance)
    medians, counts = monthly_medians(reflectance, clear, images["time"].dt.month.values)
    features = with_indices(fill_gaps(medians))
    return xr.Dataset(
        {
            "features": (("month", "feature", "y", "x"), features.astype(np.float32)),
            "observations": (("month", "y", "x"), counts),
        },
        coords={
            "month": np.arange(1, MONTHS + 1),
            "feature": list(FEATURES),
            "y": images["y"].values,
            "x": images["x"].values,
        },
        attrs={"year": year, "dates": images.sizes["time"]},
    )


def main() -> dict[str, Any]:
    """Write the composites of this element's tile."""
    given = arguments("prepare", "year")
    layout, year, tile = Layout(given.data), check_year(given.year), array_element()
    if not layout.cube.is_file():
        raise StepError(f"{layout.cube} is missing: run the step `download` first")
    rows, columns = tile_window(tile)
    result: dict[str, Any] = {"tile": tile, "year": year}
    with xr.open_dataset(layout.cube, engine="h5netcdf") as scene:
        cube = scene.isel(y=rows, x=columns).load()
    for wanted in sorted({year, REFERENCE_YEAR}):
        composites = composite_tile(cube, wanted)
        with replacing(layout.composites(wanted, tile)) as temporary:
            composites.to_netcdf(temporary, engine="h5netcdf")
        counts = composites["observations"].values.sum(axis=0)
        say(f"tile {tile}, {wanted}: {composites.attrs['dates']} dates, {counts.mean():.1f} clear a pixel")
        if wanted == year:
            result |= {
                "dates": composites.attrs["dates"],
                "clear_observations_mean": round(float(counts.mean()), 1),
                "pixels_never_seen": int((counts == 0).sum()),
            }
    return result


if __name__ == "__main__":
    run(main)
