"""Figures as readers want them: thin spaces between thousands, a dash where a figure is not defined."""

from __future__ import annotations

NARROW_SPACE = "\N{NARROW NO-BREAK SPACE}"
HYPHEN = "\N{NON-BREAKING HYPHEN}"
NOT_DEFINED = "\N{EN DASH}"
KIBIBYTE = 1024
WHOLE_FROM = 10_000


def percent(share: float | None) -> str:
    """Write a share as per cent."""
    return NOT_DEFINED if share is None else f"{100 * share:.1f}{NARROW_SPACE}%"


def points(share: float) -> str:
    """Write a margin in percentage points, without the unit."""
    return f"{100 * share:.1f}"


def hectares(area: float | None) -> str:
    """Write an area, to about five digits."""
    if area is None:
        return NOT_DEFINED
    return _spaced(f"{area:,.1f}" if area < WHOLE_FROM else f"{area:,.0f}")


def count(number: int) -> str:
    """Write a whole number."""
    return _spaced(f"{number:,}")


def file_size(size: float) -> str:
    """Write a file's size."""
    for unit in ("B", "KiB", "MiB"):
        if size < KIBIBYTE:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= KIBIBYTE
    return f"{size:.1f} GiB"


def day(date: str) -> str:
    """Write the day of an ISO date so that no line breaks in it."""
    return date[:10].replace("-", HYPHEN)


def _spaced(text: str) -> str:
    return text.replace(",", NARROW_SPACE)
