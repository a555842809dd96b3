"""Texts of others in lines of ours: what a terminal or a browser would act on, or take for a line's end, is shown."""

from __future__ import annotations

import re
from typing import Final

# Colours are only dropped: they change nothing but the look, and nearly every tool writes them. ``K`` clears to the end
# of the line, where nothing is.
_LOOKS: Final = re.compile(r"\x1b\[[0-9;:]{0,40}[mK]")
# C0 and C1 controls but for the tab, line and paragraph separators, marks and embeddings of direction, half characters.
_UNSEEN: Final = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(line: str) -> str:
    r"""Return ``line`` as one line without control characters: those that are not colours become ``\x1b``, ``\u202e``.

    Tabs stay.
    """
    return _UNSEEN.sub(lambda match: match[0].encode("unicode_escape").decode(), _LOOKS.sub("", line))


def is_visible(text: str) -> bool:
    """Whether ``text`` is one line without control characters, and can be written as UTF-8."""
    return _UNSEEN.search(text) is None


def visible_block(text: str, *, mark: str = "  ") -> str:
    """Return ``text`` with ``mark`` before each of its lines, so that none of them passes for a line of ours."""
    return "\n".join(mark + visible(line) for line in text.split("\n"))
