"""Whether a map is good enough to be published without a person being asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from landcover_jobs.configuration.legend import Validation

Kind = Literal["points", "cross_validation"]
WORDS: dict[Kind, str] = {
    "points": "independent points",
    "cross_validation": "cross-validation of the training year, on places that no model had seen",
}


@dataclass(frozen=True)
class Verdict:
    """The measured figures, and why they do not suffice where they do not."""

    passed: bool
    reasons: tuple[str, ...]
    by: Kind
    on: Literal["groups", "classes"]
    overall_accuracy: float | None
    macro_f1: float | None
    least_overall_accuracy: float
    least_macro_f1: float

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self) | {"reasons": list(self.reasons)}


def verdict(scores: Mapping[str, Any], thresholds: Validation, by: Kind) -> Verdict:
    """Judge `{"classes": scores, "groups": scores}` of validation.accuracy; groups count where the map has them.

    A figure that could not be measured is below any threshold.
    """
    measured = scores["groups"]
    on: Literal["groups", "classes"] = "groups" if thresholds.groups else "classes"
    reasons = []
    if not measured["pixels"]:
        reasons.append(f"nothing could be measured by {WORDS[by]}")
    for name, words in (("overall_accuracy", "overall accuracy"), ("macro_f1", "macro F1")):
        figure, least = measured[name], getattr(thresholds, f"least_{name}")
        if figure is None and measured["pixels"]:
            reasons.append(f"{words} of the {on} could not be measured by {WORDS[by]}")
        elif figure is not None and figure < least:
            reasons.append(f"{words} of the {on} is {figure:.4f} by {WORDS[by]}; {least:g} is the least")
    return Verdict(
        not reasons, tuple(reasons), by, on, measured["overall_accuracy"], measured["macro_f1"],
        thresholds.least_overall_accuracy, thresholds.least_macro_f1,
    )  # fmt: skip
