"""Whether a command given as shell text is one plain command, which a launcher can start."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from headnode.errors import JobSpecError

_PIECES = re.compile(
    r"""\\. | '[^']*' | "(?:\\.|[^"\\])*" | `[^`]*` | \$\( | \$\{[^}]*\} | [<>]& | &> | >\| | && | \|\| | . """,
    re.DOTALL | re.VERBOSE,
)
_OPERATORS: Final[Mapping[str, str]] = {
    ";": "';'", "&&": "'&&'", "||": "'||'", "|": "'|'", "&": "'&'", "\n": "a line break", "(": "'('", ")": "')'",
}  # fmt: skip
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\+?=")
_OF_THE_SHELL: Final = frozenset(
    {
        "!", ".", "[[", "alias", "break", "case", "cd", "continue", "declare", "eval", "exec", "exit", "export", "for",
        "function", "if", "local", "module", "popd", "pushd", "read", "return", "select", "set", "shift", "source",
        "trap", "ulimit", "umask", "unset", "until", "while", "{",
    }
)  # fmt: skip


def check_launchable(command: Sequence[str] | str) -> None:
    """Refuse what is more than one program with its words, of which only the first would be started on the nodes.

    Raises:
        JobSpecError: a text has an operator of the shell; or it begins by setting a variable, or with a shell's word.
    """
    if isinstance(command, str):
        if (operator := find_operator(command.strip())) is not None:
            raise JobSpecError(
                "command",
                f"has {operator}, and launch= starts one command, of which only the part before it would be started on"
                " the nodes; put what goes before into setup=, or all of it into a file: command=['bash', 'FILE']",
            )
        command = command.split() or [""]
    if not command:
        raise JobSpecError("command", "is empty, so that the job would do nothing")
    first = command[0]
    if _ASSIGNMENT.match(first):
        raise JobSpecError("command", f"begins with {first!r}, which launch= would start as a program; give it in env=")
    if first in _OF_THE_SHELL:
        raise JobSpecError(
            "command", f"begins with {first!r}, a word of the shell, which launch= can't start; put it into setup="
        )


def find_operator(text: str) -> str | None:
    """Return in words the first operator outside of quotes and ``$(...)`` that ends a command, None without one."""
    depth = 0
    for match in _PIECES.finditer(text):
        piece = match[0]
        if piece == "$(" or (piece == "(" and depth):
            depth += 1
        elif piece == ")" and depth:
            depth -= 1
        elif not depth and piece in _OPERATORS:
            return _OPERATORS[piece]
        elif piece in ("'", '"', "`"):
            return f"a {piece} that is not closed"
    return None
