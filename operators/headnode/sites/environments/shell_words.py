"""Values as words of shell text: paths may hold the site's variables, everything else is taken as it is."""

from __future__ import annotations

import re
import shlex
from typing import Annotated, Final

from pydantic import AfterValidator

_PLAIN: Final = re.compile(r"[A-Za-z0-9_./:@%+=,-]+")
_WITH_VARIABLES: Final = re.compile(
    r"(?:[A-Za-z0-9_./:@%+=, ~-]|\$[A-Za-z_][A-Za-z0-9_]*|\$\{[A-Za-z_][A-Za-z0-9_]*\})+"
)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_LONGEST: Final = 4000


def _one_line(value: str) -> str:
    if not value or _CONTROL.search(value) or len(value) > _LONGEST:
        raise ValueError(f"{value[:80]!r} is empty, too long, or holds line breaks or other control characters")
    return value


def _no_option(value: str) -> str:
    if value.startswith("-"):
        raise ValueError(f"{value[:80]!r} begins with a dash, as options do")
    return _one_line(value)


#: One line of text, which goes through ``shell_word``.
OneLine = Annotated[str, AfterValidator(_one_line)]
#: The same, where a program must not take it for an option.
Operand = Annotated[str, AfterValidator(_no_option)]


def shell_word(value: str) -> str:
    """Return one word of shell text: ``$NAME``, ``${NAME}`` and a leading ``~/`` mean what they mean to a shell.

    Whatever else means something to a shell makes the whole value literal.
    """
    if _PLAIN.fullmatch(value):
        return value
    if "$" not in value and not value.startswith("~/"):
        return shlex.quote(value)
    if not _WITH_VARIABLES.fullmatch(value):
        return shlex.quote(value)
    return f'"$HOME/{value[2:]}"' if value.startswith("~/") else f'"{value}"'
