"""The fields of a map's configuration as tables in Markdown: `python -m landcover_jobs.configuration.reference`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

from landcover_jobs.configuration.map_configuration import MapConfiguration
from landcover_jobs.configuration.wording import MEANINGS

HEADER = "| field | allowed | default | meaning |\n|---|---|---|---|"
NUMBERS = {"integer": "a whole number", "number": "a number"}


def tables() -> str:
    """Return a table for each part of a configuration, in the order in which the parts come up."""
    schema = MapConfiguration.model_json_schema()
    parts = {"MapConfiguration": schema}
    _collect(schema, schema["$defs"], parts)
    return "\n\n".join(_table(name, part) for name, part in parts.items() if _fields(part))


def _collect(place: Any, definitions: dict[str, Any], parts: dict[str, Any]) -> None:
    for name in _references(place.get("properties", {})):
        if name not in parts:
            parts[name] = definitions[name]
            _collect(definitions[name], definitions, parts)


def _references(place: Any) -> Iterator[str]:
    if isinstance(place, dict):
        if "$ref" in place:
            yield place["$ref"].rpartition("/")[2]
        for key, part in place.items():
            if key not in ("default", "discriminator"):
                yield from _references(part)
    elif isinstance(place, list):
        for part in place:
            yield from _references(part)


def _table(name: str, part: dict[str, Any]) -> str:
    title = "The whole map" if name == "MapConfiguration" else _title(name)
    rows = [_row(field, content, part.get("required", ())) for field, content in _fields(part).items()]
    return f"### {title}\n\n{part['description']}\n\n{HEADER}\n" + "\n".join(rows)


def _fields(part: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a part, but for the one that tells of which kind it is."""
    return {name: content for name, content in part["properties"].items() if "const" not in content}


def _row(field: str, content: dict[str, Any], required: Any) -> str:
    cells = [f"`{field}`", _allowed(field, content), _default(field, content, required), content.get("description", "")]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(field: str, content: dict[str, Any], required: Any) -> str:
    if field in required:
        return "**needed**"
    default = content.get("default")
    if default in (None, [], {}, ""):
        return ""
    return "its own" if isinstance(default, dict) else f"`{json.dumps(default, ensure_ascii=False)}`"


def _allowed(field: str, content: dict[str, Any]) -> str:
    if "$ref" in content:
        return _linked(content["$ref"])
    choices = content.get("anyOf") or content.get("oneOf")
    if choices:
        return " or ".join(_allowed(field, each) for each in choices if each.get("type") != "null")
    if "enum" in content:
        return ", ".join(f"`{each}`" for each in content["enum"])
    return _of_type(field, content)


def _of_type(field: str, content: dict[str, Any]) -> str:
    kind = content.get("type")
    if kind == "array":
        return _list(field, content)
    if kind == "object":
        values = [*content.get("patternProperties", {}).values(), content.get("additionalProperties")]
        return f"names, each with {_allowed(field, values[0])}" if isinstance(values[0], dict) else "an object"
    if kind in NUMBERS:
        return NUMBERS[kind] + _bounds(content)
    text = MEANINGS.get(field, "text") if "pattern" in content else "text"
    return "`true` or `false`" if kind == "boolean" else text


def _list(field: str, content: dict[str, Any]) -> str:
    if "prefixItems" in content:
        kinds = [_allowed(field, each) for each in content["prefixItems"]]
        return f"a list of {len(kinds)}: {kinds[0]} each"
    return f"a list: {_allowed(field, content['items'])} each"


def _bounds(content: dict[str, Any]) -> str:
    least, most = content.get("minimum"), content.get("maximum")
    if least is not None and most is not None:
        return f" from {least:,} to {most:,}"
    if least is not None:
        return f", {least:,} at least"
    if "exclusiveMinimum" in content:
        upper = f", {most:,} at most" if most is not None else ""
        return f" over {content['exclusiveMinimum']:,}{upper}"
    return ""


def _linked(reference: str) -> str:
    title = _title(reference.rpartition("/")[2])
    return f"[{title}](#{title.lower().replace(' ', '-')})" if title != "Romania source" else "Romania source"


def _title(name: str) -> str:
    words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name).strip()
    return words[0].upper() + words[1:]


if __name__ == "__main__":
    sys.stdout.write(tables() + "\n")
