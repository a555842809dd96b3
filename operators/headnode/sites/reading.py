"""Reading a system's file, so that what is wrong is told with its line and with what would be right.

Scalars are read as YAML 1.2 does: ``no`` is a text, ``24:00:00`` is one too, and ``2024-10-15`` is no date object.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from headnode.errors import JobSpecError
from headnode.sites.nearest import nearest
from headnode.sites.system import System

_MOST_PROBLEMS = 5
_LONGEST_VALUE = 60
_MESSAGES: Final = {
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "string_type": "must be a text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
}
_MERGE = "tag:yaml.org,2002:merge"


# The C one is about seven times as fast, and may not have been built.
class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc] # chosen when it runs
    yaml_implicit_resolvers: Final[dict[str, Any]] = {}


for _tag, _pattern, _first in (
    ("null", r"^(?:~|null|)$", ["~", "n", ""]),
    ("bool", r"^(?:true|false)$", list("tf")),
    ("int", r"^[-+]?[0-9]+$", list("-+0123456789")),
    ("float", r"^[-+]?[0-9]+\.[0-9]+(?:[eE][-+]?[0-9]+)?$", list("-+0123456789")),
    ("merge", r"^<<$", ["<"]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)


def read_system(path: Path) -> System:
    """Return the system that a file describes.

    Raises:
        JobSpecError: it can't be right; the message has the file, the lines, what is wrong and what is allowed.
    """
    try:
        state = path.stat()
        return _read(path, state.st_mtime_ns, state.st_size)
    except OSError as error:
        raise JobSpecError("site", f"{path}: can't be read: {error.strerror or error}") from error


@lru_cache(maxsize=256)
def _read(path: Path, mtime_ns: int, size: int) -> System:  # noqa: ARG001 - a changed file is read again
    node, data = _parse(path)
    for line, problem in _duplicates(node):
        raise _wrong(path, line, problem)
    try:
        system = System.model_validate(data)
    except ValidationError as error:
        raise JobSpecError("site", _describe(path, node, error)) from error
    if system.name != path.stem:
        line = _line(node, ("name",))
        raise _wrong(path, line, f"name: {system.name!r} must be that of the file, {path.stem!r}")
    return system


def _parse(path: Path) -> tuple[yaml.MappingNode, Any]:
    try:
        loader = _Loader(path.read_text(encoding="utf-8"))
        try:
            node = loader.get_single_node()
            data = loader.construct_document(node) if node is not None else None
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = " ".join(filter(None, (error.context, error.problem)))
        raise _wrong(path, mark.line + 1 if mark else 1, f"is no YAML: {problem}") from error
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise JobSpecError("site", f"{path}: is no YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(node, yaml.MappingNode):
        raise _wrong(path, 1, f"must be a mapping of {', '.join(System.model_fields)}")
    return node, data


def _wrong(path: Path, line: int, problem: str) -> JobSpecError:
    return JobSpecError("site", f"{path}, line {line}: {problem}")


def _describe(path: Path, node: yaml.MappingNode, error: ValidationError) -> str:
    found = []
    for each in error.errors(include_url=False):
        place = (*each["loc"], *each.get("ctx", {}).get("place", ()))
        named = ".".join(str(part) for part in place if part != "[key]")
        found.append((_line(node, place), f"{named}: {_problem(each)}"))
    found.sort()
    told = [f"line {line}: {problem}" for line, problem in found[:_MOST_PROBLEMS]]
    return f"{path}, {'; '.join(told + ([f'and {len(found) - len(told)} more'] if len(found) > len(told) else []))}"


def _problem(error: ErrorDetails) -> str:
    loc = error["loc"]
    key = str(loc[-1]) if loc else ""
    given = _shown(error["input"])
    match error["type"]:
        case "extra_forbidden":
            block = _block_at(loc[:-1])
            return f"{_shown(key)} is no key here{_allowed(key, list(block.model_fields))}"
        case "literal_error":
            expected = re.findall(r"'([^']*)'", str(error.get("ctx", {}).get("expected", "")))
            wrong = str(error["input"]) if given else ""
            return f"{given or 'a value of another kind'} is not allowed{_allowed(wrong, expected)}"
        case "missing":
            return "is missing"
        case "string_pattern_mismatch":
            return f"{given} does not match {error.get('ctx', {}).get('pattern')}"
    message = _MESSAGES.get(error["type"]) or error["msg"].removeprefix("Value error, ")
    # What headnode says itself shows the value where it helps.
    return f"{message}, not {given}" if given and error["type"] not in ("value_error", "wrong_fact") else message


def _allowed(name: str, known: list[str]) -> str:
    """Return what is nearest to ``name``, and all that is allowed."""
    close = nearest(name, known)
    everything = ", ".join(sorted(known))
    return f"{close} Allowed are {everything}" if close.endswith("?") else f"; allowed are {everything}"


def _shown(value: Any) -> str:
    """Return a scalar as it may stand in a message; nothing for what has parts."""
    if isinstance(value, dict | list):
        return ""
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


def _block_at(loc: tuple[int | str, ...]) -> type[BaseModel]:
    """Return the form of the block at a place in the file."""
    block: type[BaseModel] = System
    parts = iter(loc)
    for part in parts:
        annotation = block.model_fields[str(part)].annotation
        if get_origin(annotation) in (dict, tuple):
            next(parts, None)  # the name or the number of a block
        block = next(_models_in(annotation), block)
    return block


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def _line(node: yaml.Node, place: tuple[int | str, ...]) -> int:
    """Return the line, from 1, of a place in the file, or of the nearest part of it that is there."""
    line: int = node.start_mark.line
    for part in place:
        found = _entry(node, part)
        if found is None:
            break
        key, node = found
        line = key.start_mark.line
    return line + 1


def _entry(node: yaml.Node, part: int | str) -> tuple[yaml.Node, yaml.Node] | None:
    """Return the nodes of a key and its value; of a list's element, the element as both."""
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part]
    if not isinstance(node, yaml.MappingNode):
        return None
    for key, value in node.value:
        if key.value == str(part):
            return key, value
    return None


def _duplicates(root: yaml.Node) -> Iterator[tuple[int, str]]:
    """Yield the line of each key that a mapping has twice, and what is wrong."""
    seen: set[int] = set()
    nodes = [root]
    while nodes:
        node = nodes.pop()
        if id(node) in seen:
            continue  # an alias of what was looked at
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            nodes += node.value
        elif isinstance(node, yaml.MappingNode):
            first: dict[str, int] = {}
            for key, value in node.value:
                nodes.append(value)
                line = key.start_mark.line + 1
                if str(key.value) in first and key.tag != _MERGE:
                    yield line, f"{_shown(key.value)} is here for the second time, after line {first[str(key.value)]}"
                first.setdefault(str(key.value), line)
