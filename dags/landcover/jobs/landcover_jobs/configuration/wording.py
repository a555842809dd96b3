"""What pydantic finds wrong with a configuration, in sentences for who wrote the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

# Fields of which there are several kinds; pydantic puts the kind between such a field and its parts.
KINDS = {"source": ("stac", "folder", "romania"), "grid": ("regular", "mgrs")}
# What a pattern means, by the name of its field.
MEANINGS = {
    "name": "lower-case letters, digits and _, beginning with a letter, at most 40",
    "crs": "an EPSG code such as EPSG:3035",
    "tiles": "a Sentinel-2 tile such as 31UFS",
    "colour": "a colour such as #1f77b4",
    "memory": "a whole number and K, M, G or T, such as 8G",
    "time_limit": "hours:minutes:seconds, such as 02:00:00, or days before them, such as 1-00:00:00",
    "partition": "names of Slurm partitions, with commas between them",
    "url": "an address that begins with https:// or http://, or a path that begins with /, ~/ or {data}",
    "collection": "a collection's id, without blanks and slashes",
    "path": "a path or an address, without line breaks and other control characters",
    "points": "a path without line breaks and other control characters",
    "pattern": "a path without control characters",
    **dict.fromkeys(("band", "bands", "indices"), "letters, digits and _, beginning with a letter, at most 20"),
}


def lines_of(error: ValidationError) -> list[str]:
    """Return a line for each wrong field: its path, what is allowed there, and what was given."""
    found = error.errors(include_url=False)
    return [_line(each) for each in found if not _follows(each["loc"], each["type"], [other["loc"] for other in found])]


def _follows(place: tuple[str | int, ...], kind: str, places: Sequence[tuple[str | int, ...]]) -> bool:
    """Tell whether a list is too short only since its entries are wrong, of which there are lines already."""
    return kind == "too_short" and any(len(each) > len(place) and each[: len(place)] == place for each in places)


def _line(each: Mapping[str, Any]) -> str:
    field = ".".join(_path(each["loc"]))
    message, given = _message(each), each.get("input")
    if each["type"].startswith("union_tag"):
        field, given = f"{field}.kind", given.get("kind") if isinstance(given, dict) else given
    is_shown = isinstance(given, str | int | float) and not isinstance(given, bool)
    shown = f" (given: {given!r})" if is_shown and each["type"] != "missing" else ""
    return f"{field}: {message}{shown}" if field else message


def _path(places: tuple[str | int, ...]) -> list[str]:
    parts: list[str] = []
    for part in places:
        if part == "[key]" or (parts and part in KINDS.get(parts[-1], ())):
            continue
        parts.append(str(part))
    return parts


def _message(each: Mapping[str, Any]) -> str:
    kind, context = each["type"], each.get("ctx", {})
    if kind == "missing":
        return "it is missing"
    if kind == "extra_forbidden":
        return "there is no such field"
    if kind == "union_tag_not_found":
        return "it is missing"
    if kind == "union_tag_invalid":
        return f"it must be one of {context['expected_tags']}"
    if kind == "string_pattern_mismatch":
        meanings = [MEANINGS[part] for part in each["loc"] if isinstance(part, str) and part in MEANINGS]
        return f"it must be {meanings[-1]}" if meanings else str(each["msg"])
    return str(each["msg"]).removeprefix("Value error, ")
