"""How good a map is, as its report, metrics and item say it: read from `validation.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from landcover_jobs.validation.gate import WORDS

ABOUT_AREAS = "The areas are estimated"
MAPPED_ONLY = "Mapped areas are sums of pixels; no sample is there from which the error could be estimated."
Margins = tuple[float | None, ...]


@dataclass(frozen=True)
class ClassArea:
    """The estimated area of one class in hectares, with its 95 % interval where that is defined."""

    value: float
    margin: float | None
    least: float
    most: float


@dataclass(frozen=True, kw_only=True)
class Scores:
    """The figures by which a map is judged, on its classes; those on groups of classes where it has such."""

    by: str  # points, or cross_validation
    training_year: int
    names: tuple[str, ...]
    matrix: tuple[tuple[int, ...], ...]  # rows: what the map says
    overall: float | None
    overall_margin: float | None  # half of the 95 % interval, where a sample gives one
    macro_f1: float | None
    users: Margins
    users_margins: Margins
    producers: Margins
    producers_margins: Margins
    groups: dict[str, float | None] | None  # overall accuracy and macro F1
    gate: dict[str, Any]
    areas: dict[str, ClassArea]
    area_method: str
    area_notes: tuple[str, ...]
    notes: tuple[str, ...]

    @classmethod
    def of(cls, validation: Mapping[str, Any]) -> Scores:
        """Return those of a record of `validate`."""
        gate, areas = validation["gate"], validation["areas"]
        by = str(gate["by"])
        found = validation["points"] if by == "points" else validation["cross_validation"][validation["by"]]
        classes, names = found["classes"], found["classes"]["classes"]
        sampled = areas if _is_of_these(areas, validation["points"]) else None
        about_areas = [note for note in validation["notes"] if note.startswith(ABOUT_AREAS)]
        return cls(
            by=by,
            training_year=int(validation["training_year"]),
            names=tuple(names),
            matrix=tuple(tuple(row) for row in classes["confusion_rows_map_columns_reference"]),
            overall=classes["overall_accuracy"],
            overall_margin=None if sampled is None else sampled["overall_accuracy"]["half_width"],
            macro_f1=classes["macro_f1"],
            users=tuple(classes["users_accuracy"][name] for name in names),
            users_margins=_margins(sampled, names, "users_accuracy"),
            producers=tuple(classes["producers_accuracy"][name] for name in names),
            producers_margins=_margins(sampled, names, "producers_accuracy"),
            groups=_two_figures(found["groups"]) if gate["on"] == "groups" else None,
            gate=dict(gate),
            areas=_areas(areas),
            area_method=" ".join(about_areas) or MAPPED_ONLY,
            area_notes=() if areas is None else tuple(areas["notes"]),
            notes=tuple(note for note in validation["notes"] if not note.startswith(ABOUT_AREAS)),
        )

    @property
    def passed(self) -> bool:
        """Whether the map may be published without a person being asked."""
        return bool(self.gate["passed"])

    @property
    def threshold(self) -> str:
        """What was asked of the map."""
        least = f"overall accuracy {self.gate['least_overall_accuracy']:g}"
        if self.gate["least_macro_f1"]:
            least += f", macro F1 {self.gate['least_macro_f1']:g}"
        return f"{least}, of the {self.gate['on']}"

    @property
    def method(self) -> str:
        """On what the figures were measured."""
        text = f"Measured by {WORDS['points' if self.by == 'points' else 'cross_validation']}."
        if self.groups is not None:
            overall, f1 = (_figure(self.groups[name]) for name in ("overall_accuracy", "macro_f1"))
            text += (
                f" With the classes in groups, as the threshold has them: overall accuracy {overall}, macro F1 {f1}."
            )
        return f"{text} Threshold for publishing: {self.threshold}."

    @property
    def basis(self) -> str:
        """On what, in a few words, for readers who take no more than a figure."""
        return "independent points" if self.by == "points" else f"cross-validated, {self.training_year}"

    @property
    def unit(self) -> str:
        """What the matrix counts."""
        return "points" if self.by == "points" else "labelled pixels"

    def headline(self) -> dict[str, Any]:
        """Return the few figures that a catalogue or an event has."""
        few: dict[str, Any] = {
            "by": self.by,
            "overall_accuracy": self.overall,
            "overall_accuracy_margin_95": self.overall_margin,
            "macro_f1": self.macro_f1,
            "passed": self.passed,
        }
        return few | ({"groups": self.groups} if self.groups is not None else {})


def _is_of_these(areas: Mapping[str, Any] | None, points: Mapping[str, Any] | None) -> bool:
    """Tell whether the intervals belong to the figures: both of points, judged by the very pixel that they lie in."""
    return areas is not None and areas["sample"] == "points" and points is not None and points["window_pixels"] == 1


def _margins(sampled: Mapping[str, Any] | None, names: Sequence[str], figure: str) -> Margins:
    if sampled is None:
        return (None,) * len(names)
    return tuple(sampled["classes"][name][figure]["half_width"] for name in names)


def _areas(areas: Mapping[str, Any] | None) -> dict[str, ClassArea]:
    found = {}
    for name, each in ({} if areas is None else areas["classes"]).items():
        area = each["area_hectares"]
        if area["value"] is not None:
            low, high = (area["value"] if area[end] is None else area[end] for end in ("low", "high"))
            found[name] = ClassArea(area["value"], area["half_width"], low, high)
    return found


def _two_figures(scores: Mapping[str, Any]) -> dict[str, float | None]:
    return {name: scores[name] for name in ("overall_accuracy", "macro_f1")}


def _figure(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.3f}"
