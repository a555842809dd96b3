"""Draw the map, its confidence and the reference as one picture with a legend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import rasterio
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from landcover_jobs.classes import CLASSES, NO_DATA, from_tree_cover
from landcover_jobs.mosaic import CLASS_MAP, CONFIDENCE, CONFIDENCE_NO_DATA

SCALE_BAR_METRES = 200
INK = "#1d2b2a"


def class_colours() -> tuple[ListedColormap, BoundaryNorm]:
    """Return the legend's colours for the values 0 (nothing) to the last class."""
    colours = ["#ffffff", *(f"#{bytes(entry.colour).hex()}" for entry in CLASSES)]
    return ListedColormap(colours), BoundaryNorm(np.arange(-0.5, len(colours)), len(colours))


def read(path: Path) -> tuple[npt.NDArray[np.uint8], float]:
    """Return pixels and the pixel's size in metres."""
    with rasterio.open(path) as file:
        return file.read(1), float(file.res[0])


def draw_scale_bar(axes: Any, pixel_metres: float, height: int) -> None:
    """Draw a bar of known length into the lower left corner."""
    length = SCALE_BAR_METRES / pixel_metres
    axes.add_patch(Rectangle((1, height - 3.2), length + 1.2, 2.6, color="white", alpha=0.85, lw=0))
    axes.plot([1.6, 1.6 + length], [height - 1.2, height - 1.2], color=INK, lw=2, solid_capstyle="butt")
    axes.text(1.6 + length / 2, height - 1.5, f"{SCALE_BAR_METRES} m", ha="center", va="bottom", fontsize=7, color=INK)


def draw(folder: Path, reference: Path, target: Path, *, title: str, subtitle: str) -> None:
    """Write the picture of the layers in `folder`."""
    classes, pixel_metres = read(folder / CLASS_MAP)
    confidence, _ = read(folder / CONFIDENCE)
    cover, _ = read(reference)
    colours, norm = class_colours()
    with mpl.rc_context({"font.family": "DejaVu Sans", "text.color": INK}):
        figure = Figure(figsize=(11, 4.9), dpi=130, facecolor="white")
        left, middle, right = figure.subplots(1, 3)
        figure.subplots_adjust(left=0.015, right=0.985, top=0.80, bottom=0.12, wspace=0.05)
        left.imshow(classes, cmap=colours, norm=norm, interpolation="nearest")
        middle.imshow(from_tree_cover(cover) + 1, cmap=colours, norm=norm, interpolation="nearest")
        shade = np.ma.masked_equal(confidence, CONFIDENCE_NO_DATA)
        image = right.imshow(shade, cmap="cividis", vmin=33, vmax=100, interpolation="nearest")
        draw_scale_bar(left, pixel_metres, classes.shape[0])
        headings = ("Map", "Reference: tree cover density 2018", "Confidence of the map")
        for axes, heading in zip((left, middle, right), headings, strict=True):
            axes.set_title(heading, fontsize=10, loc="left", pad=5)
            axes.set_axis_off()
        figure.text(0.015, 0.94, title, fontsize=15, weight="bold")
        figure.text(0.015, 0.885, subtitle, fontsize=9, color="#51605e")
        legend = [Patch(facecolor=colours(entry.value), edgecolor=INK, lw=0.4, label=entry.name) for entry in CLASSES]
        if (classes == NO_DATA).any():
            legend.append(Patch(facecolor="white", edgecolor=INK, lw=0.4, label="No clear observation"))
        figure.legend(
            handles=legend, loc="lower left", bbox_to_anchor=(0.005, 0.01), ncols=4, frameon=False, fontsize=9
        )
        scale = figure.colorbar(image, cax=figure.add_axes((0.72, 0.065, 0.22, 0.022)), orientation="horizontal")
        scale.set_ticks([33, 50, 75, 100], labels=["33", "50", "75", "100 %"])
        scale.ax.tick_params(labelsize=8, length=2)
        figure.savefig(target)
