"""A catalogue file as text that a person can read: each fact on its line, with a comment where one is needed."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml

from headnode.slurm.visible import is_visible, visible

_WIDTH: Final = 120
_ENDLESS: Final = 1_000_000
_NO_YAML: Final = re.compile("[\ufffe\uffff]")


@dataclass(frozen=True)
class Fact:
    """A key with its value, None where it is unknown; ``comment`` says why, or what else is to be known.

    The value is what YAML can write, or facts in turn (a block).
    """

    name: str
    value: Any = None
    comment: str = ""


Block = tuple[Fact, ...]


def render_site(block: Sequence[Fact], *, heading: Sequence[str] = ()) -> str:
    """Return the facts as YAML, with ``heading`` as comment before them."""
    lines = [line for text in heading for line in _comment(text, "")]
    return "\n".join([*lines, *_render(block, "")]) + "\n"


def plain(block: Sequence[Fact]) -> dict[str, Any]:
    """Return the facts without their comments, as reading the YAML returns them."""
    return {fact.name: plain(fact.value) if _is_block(fact.value) else fact.value for fact in block}


def _is_block(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(each, Fact) for each in value)


def _render(block: Sequence[Fact], indent: str) -> list[str]:
    lines: list[str] = []
    for fact in block:
        key = f"{indent}{_flow(fact.name)}:"
        if _is_block(fact.value) and fact.value:
            lines += [*_comment(fact.comment, indent), key, *_render(fact.value, indent + "  ")]
        elif isinstance(fact.value, list) and any(isinstance(each, dict) for each in fact.value):
            lines += [*_comment(fact.comment, indent), key, *(f"{indent}  - {_flow(each)}" for each in fact.value)]
        else:
            lines += _with_comment(f"{key} {_flow({} if _is_block(fact.value) else fact.value)}", fact.comment, indent)
    return lines


def _with_comment(line: str, comment: str, indent: str) -> list[str]:
    behind = f"{line}  # {_told(comment)}"
    if not comment:
        return [line]
    return [behind] if len(behind) <= _WIDTH else [*_comment(comment, indent), line]


def _comment(text: str, indent: str) -> list[str]:
    wrapped = textwrap.wrap(_told(text), _WIDTH - len(indent) - 2, break_long_words=False, break_on_hyphens=False)
    return [f"{indent}# {line}" for line in wrapped]


def _texts(value: Any) -> list[str]:
    if isinstance(value, list | dict):
        return [text for each in (value.values() if isinstance(value, dict) else value) for text in _texts(each)]
    return [value] if isinstance(value, str) else []


def _told(text: str) -> str:
    return _NO_YAML.sub("?", visible(text))


def _flow(value: Any) -> str:
    # What is no single line is written with escapes.
    style = '"' if any(not is_visible(text) or _NO_YAML.search(text) for text in _texts(value)) else None
    text = yaml.safe_dump(
        value, default_flow_style=True, default_style=style, width=_ENDLESS, allow_unicode=True, sort_keys=False
    )
    return str(text).removesuffix("\n").removesuffix("\n...")
