"""The quicklook of a version: the classes, beside them the change since the map before (or the confidence), a legend.

Drawn for a screen, 1430 pixels wide. All sizes here are inches on the sheet, from its upper left corner.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from landcover_jobs.configuration.legend import LandCoverClass
from landcover_jobs.publishing.pictures import UNCHANGED, Colours, scale_bar

DOTS_PER_INCH = 130
WIDTH, MARGIN, GAP = 11.0, 0.45, 0.35
TOP, UNDER, ROW, FOOT = 1.45, 0.42, 0.27, 0.50
TALLEST, LOWEST = 6.5, 1.2
INK, FAINT, LINE = "#1b2724", "#55625e", "#c9d0cd"
LONGEST_LABEL, LONGEST_LINE = 42, 140


@dataclass(frozen=True, kw_only=True)
class Caption:
    """What is written on the sheet."""

    title: str
    subtitle: str
    attribution: str
    left: str
    right: str
    right_note: str = ""


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """What is drawn: two pictures of the same shape, and the legend of the left one."""

    left: Colours
    right: Colours
    metres_of_width: float
    classes: Sequence[LandCoverClass]
    shows_nothing: bool  # some pixels have no class
    ramp: tuple[str, float, float] | None = None  # colour map, low, high, where the right picture is continuous


def draw_quicklook(sheet: Sheet, caption: Caption, target: Path) -> None:
    """Write the picture."""
    height, width = sheet.left.shape[:2]
    panel = (WIDTH - 2 * MARGIN - GAP) / 2
    tall = panel * height / width
    shrink = min(1.0, TALLEST / tall)
    drawn_width, drawn_height = panel * shrink, max(tall * shrink, LOWEST)
    legend = _legend_entries(sheet)
    columns = _columns([label for _, label in legend])
    rows = -(-len(legend) // columns)
    whole = TOP + drawn_height + UNDER + rows * ROW + FOOT
    with mpl.rc_context({"font.family": "DejaVu Sans", "text.color": INK, "text.parse_math": False}):
        figure = Figure(figsize=(WIDTH, whole), dpi=DOTS_PER_INCH, facecolor="white")
        _write(figure, MARGIN, 0.55, _one_line(caption.title, 70), size=17, weight="bold")
        _write(figure, MARGIN, 0.88, _one_line(caption.subtitle, LONGEST_LINE), size=9.5, color=FAINT)
        second = MARGIN + panel + GAP
        for left, picture, heading in ((MARGIN, sheet.left, caption.left), (second, sheet.right, caption.right)):
            _panel(figure, picture, (left, TOP, drawn_width, drawn_height))
            _write(figure, left, TOP - 0.11, _one_line(heading, 60), size=10.5, weight="bold")
        under = TOP + drawn_height
        _draw_scale_bar(figure, sheet.metres_of_width, MARGIN, under + 0.22, drawn_width)
        _draw_right_note(figure, sheet, caption.right_note, (second, under + 0.22, drawn_width))
        _draw_legend(figure, legend, columns, under + UNDER)
        _write(figure, MARGIN, whole - 0.18, _one_line(caption.attribution, 170), size=7.5, color=FAINT)
        figure.savefig(target)


def _legend_entries(sheet: Sheet) -> list[tuple[str, str]]:
    """Return colours and labels."""
    entries = [(each.colour, _one_line(each.name, LONGEST_LABEL)) for each in sheet.classes]
    if sheet.ramp is None:
        entries.append((f"#{bytes(UNCHANGED).hex()}", "Not changed"))
    if sheet.shows_nothing:
        entries.append(("#ffffff", "No clear observation"))
    return entries


def _columns(labels: Sequence[str]) -> int:
    inches = 0.5 + 0.078 * max(len(label) for label in labels)
    return max(1, min(6, len(labels), int((WIDTH - 2 * MARGIN) / inches)))


def _panel(figure: Figure, picture: Colours, place: tuple[float, float, float, float]) -> None:
    axes = figure.add_axes(_box(figure, place))
    # Pixels larger than the screen's keep their edges; smaller ones are averaged.
    axes.imshow(picture, interpolation="nearest" if picture.shape[1] < DOTS_PER_INCH * place[2] else "antialiased")
    axes.set_aspect("auto" if place[3] == LOWEST else "equal")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(color=LINE, linewidth=0.8)


def _draw_scale_bar(figure: Figure, metres_of_width: float, left: float, top: float, panel: float) -> None:
    share, words = scale_bar(metres_of_width)
    height = figure.get_figheight()
    ends, y = (left / WIDTH, (left + share * panel) / WIDTH), 1 - top / height
    tick = 0.045 / height
    figure.add_artist(Line2D(ends, (y, y), color=INK, linewidth=1.6, solid_capstyle="butt"))
    for end in ends:
        figure.add_artist(Line2D((end, end), (y - tick, y + tick), color=INK, linewidth=1.2))
    _write(figure, left + share * panel + 0.1, top + 0.045, words, size=9)


def _draw_right_note(figure: Figure, sheet: Sheet, note: str, place: tuple[float, float, float]) -> None:
    left, top, panel = place
    if sheet.ramp is None:
        _write(figure, left, top + 0.045, note, size=9)
        return
    name, low, high = sheet.ramp
    axes = figure.add_axes(_box(figure, (left + 0.46, top - 0.06, panel * 0.4, 0.12)))
    bar = figure.colorbar(ScalarMappable(Normalize(low, high), name), cax=axes, orientation="horizontal", ticks=[])
    bar.outline.set(linewidth=0.4, edgecolor="#00000055")
    _write(figure, left, top + 0.045, f"{low:g} %", size=9)
    _write(figure, left + 0.46 + panel * 0.4 + 0.1, top + 0.045, f"{high:g} %   {note}", size=9)


def _draw_legend(figure: Figure, entries: Sequence[tuple[str, str]], columns: int, top: float) -> None:
    whole = WIDTH - 2 * MARGIN
    step = (whole + GAP) / 2 if columns == 2 else whole / columns  # noqa: PLR2004 - below the two panels
    rows = -(-len(entries) // columns)
    for number, (colour, label) in enumerate(entries):
        column, row = divmod(number, rows)
        left, middle = MARGIN + column * step, top + 0.16 + row * ROW
        box = _box(figure, (left, middle - 0.075, 0.24, 0.15))
        figure.add_artist(Rectangle(box[:2], *box[2:], facecolor=colour, edgecolor="#00000055", linewidth=0.5))
        _write(figure, left + 0.33, middle + 0.045, label, size=9.5)


def _write(figure: Figure, left: float, baseline: float, text: str, *, size: float, **style: Any) -> None:
    figure.text(left / WIDTH, 1 - baseline / figure.get_figheight(), text, fontsize=size, va="baseline", **style)


def _box(figure: Figure, place: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    left, top, width, height = place
    sheet = figure.get_figheight()
    return left / WIDTH, 1 - (top + height) / sheet, width / WIDTH, height / sheet


def _one_line(text: str, longest: int) -> str:
    return textwrap.shorten(" ".join(text.split()), longest, placeholder=" …")
