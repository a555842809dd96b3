"""The tables of a report: confusion matrix, areas and changes, as the template wants them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from landcover_jobs.publishing.scores import ClassArea, Scores
from landcover_jobs.publishing.sources import Product
from landcover_jobs.publishing.wording import count, hectares, percent

BAR_PIXELS = 170.0
HIT, MISS = (23, 96, 79), (196, 98, 16)  # told apart by those who do not see red and green apart, too
STRONGEST = 0.5  # of a shade, so that dark figures on it stay legible
MOST_CHANGES = 40
MOST_NAMED_COLUMNS, MOST_WIDE_COLUMNS = 6, 12  # that a page of A4 has the room for


def accuracy_table(scores: Scores, product: Product) -> dict[str, Any]:
    """Return the confusion matrix with user's and producer's accuracy, and how it came about."""
    colours = {each.name: each.colour for each in product.configuration.classes}
    rows = []
    for place, name in enumerate(scores.names):
        counts = scores.matrix[place]
        whole = max(sum(counts), 1)
        cells = [
            {"count": count, "hit": column == place, "shade": _shade(count / whole, HIT if column == place else MISS)}
            for column, count in enumerate(counts)
        ]
        rows.append(
            {
                "number": place + 1, "name": name, "colour": colours.get(name), "cells": cells,
                "users": scores.users[place], "producers": scores.producers[place],
                "users_margin": scores.users_margins[place], "producers_margin": scores.producers_margins[place],
            }
        )  # fmt: skip
    return {
        "rows": rows, "overall": scores.overall, "passed": scores.passed, "threshold": scores.threshold,
        "method": scores.method, "unit": scores.unit, "notes": scores.notes,
        "numbered": len(rows) > MOST_NAMED_COLUMNS, "dense": len(rows) > MOST_WIDE_COLUMNS,
    }  # fmt: skip


def area_table(scores: Scores, product: Product) -> dict[str, Any]:
    """Return mapped areas and, where a sample allows it, estimated ones with their 95 % intervals."""
    mapped = product.hectares
    whole = sum(mapped.values())
    estimates = scores.areas
    reach = max([*mapped.values(), *(each.most for each in estimates.values())], default=0) or 1.0
    rows = []
    for each in product.configuration.classes:
        row: dict[str, Any] = {"name": each.name, "colour": each.colour, "mapped": mapped[each.name]}
        row["share"] = mapped[each.name] / whole if whole else None
        rows.append(row | _area_bar(estimates.get(each.name), reach))
    return {
        "rows": rows, "mapped": whole, "estimated": bool(estimates), "method": scores.area_method,
        "notes": scores.area_notes,
    }  # fmt: skip


def change_table(product: Product) -> dict[str, Any] | None:
    """Return what became what, the largest first; None where there is no map before."""
    change, previous = product.mosaic["change"], product.previous
    if change is None or previous is None:
        return None
    classes = {each.name: each for each in product.configuration.classes}
    names: Sequence[str] = change["classes"]
    pixels, hectares = change["pixels_rows_before_columns_after"], change["hectares_rows_before_columns_after"]
    rows = [
        {
            "before": classes[was],
            "after": classes[now],
            "pixels": pixels[row][column],
            "hectares": hectares[row][column],
        }
        for row, was in enumerate(names)
        for column, now in enumerate(names)
        if row != column and pixels[row][column]
    ]
    rows.sort(key=lambda row: -row["pixels"])
    return {
        "since": f"{previous['year']} ({previous['version']})",
        "rows": rows[:MOST_CHANGES],
        "pixels": change["changed_pixels"],
        "hectares": change["changed_hectares"],
        "method": _change_method(product, change),
    }


def _change_method(product: Product, change: dict[str, Any]) -> str:
    known = change["changed_pixels"] + change["unchanged_pixels"] + change["below_least_pixels"]
    share = change["changed_pixels"] / known if known else 0.0
    note = product.mosaic["change_note"]
    return (
        f"{hectares(change['changed_hectares'])} ha changed, {percent(share)} of what both maps know. Patches of one "
        f"transition with fewer than {change['least_pixels']} pixels count as unchanged: "
        f"{count(change['below_least_pixels'])} pixels. A difference between two maps is change on the ground and "
        "error of both maps: read it beside the accuracy." + (f" Note: {note}." if note else "")
    )


def _area_bar(estimate: ClassArea | None, reach: float) -> dict[str, Any]:
    if estimate is None:
        return {"estimate": None, "margin": None, "bar": 0, "low": 0, "high": 0}
    scale = BAR_PIXELS / reach
    return {
        "estimate": estimate.value,
        "margin": estimate.margin,
        "bar": round(estimate.value * scale, 1),
        "low": round(estimate.least * scale + 1, 1),
        "high": round(estimate.most * scale + 1, 1),
    }


def _shade(share: float, colour: tuple[int, int, int]) -> str:
    strength = STRONGEST * min(share, 1.0) ** 0.5
    mixed = [round(255 + (part - 255) * strength) for part in colour]
    return f"rgb({mixed[0]},{mixed[1]},{mixed[2]})"
