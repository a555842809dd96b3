"""The arguments of an array's elements: checked, and written as one line of shell words for each element.

A line is what ``set`` is given in the job: ``-- first 'second word'``. It holds no newline of its own: one inside a
word is the variable ``headnode_newline``. So the line of an element is found by its number, and nothing of the
arguments is in the script.
"""

from __future__ import annotations

import ast
import base64
import json
import re
import shlex
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from headnode.errors import JobSpecError
from headnode.slurm.elements import check_count

#: The file's name in a job's directory.
ARGUMENTS_FILE: Final = "arguments"
MAX_ARGUMENTS_BYTES: Final = 2 * 1024 * 1024
# Linux gives one word of a command 128 KiB (MAX_ARG_STRLEN).
MAX_ELEMENT_BYTES: Final = 128 * 1024 - 1
_UNSENDABLE: Final = re.compile(r"[\x00\ud800-\udfff]")

# EX_NOINPUT of sysexits.h is what an element says that finds no line: running without arguments could do anything.
READ_ARGUMENTS: Final = f"""\
headnode_newline='
'
headnode_words=$(sed -n "$((SLURM_ARRAY_TASK_ID + 1)){{p;q;}}" "$HEADNODE_DIRECTORY/{ARGUMENTS_FILE}")
case "$headnode_words" in
  --*) eval "set $headnode_words";;
  *) echo "headnode: the arguments of element $HEADNODE_ELEMENT can't be read" >&2; exit 66;;
esac"""


def parse_arguments(value: Any) -> list[str]:
    """Return the line of each element. ``value`` is a list, or a template's text that stands for one.

    An element is a text, a number, or a list of them.

    Raises:
        JobSpecError: an element is something else, or there are too many or too large ones.
    """
    lines = []
    total = 0
    for number, entry in enumerate(_entries(value)):
        line = _line(number, entry)
        total += len(line.encode()) + 1
        if total > MAX_ARGUMENTS_BYTES:
            raise JobSpecError(
                "arguments",
                f"are more than {MAX_ARGUMENTS_BYTES // 1024} KiB in all; write them into a file on the cluster and let"
                " each element read its own by $HEADNODE_ELEMENT (array='0-N')",
            )
        lines.append(line)
    check_count("arguments", len(lines))
    return lines


def _entries(value: Any) -> Iterable[Any]:
    if isinstance(value, str):
        value = _from_text(value)
    if isinstance(value, Mapping) or not isinstance(value, Iterable) or isinstance(value, bytes):
        raise JobSpecError("arguments", f"must be a list with one entry for each element, not {_shown(value)}")
    return value


def _from_text(text: str) -> Any:
    """Return what a template rendered to text stands for: JSON, or a list as Python prints it."""
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    raise JobSpecError("arguments", f"rendered to {_shown(text)}, which is no list (as JSON or as Python prints it)")


def _line(number: int, entry: Any) -> str:
    words = entry if isinstance(entry, Sequence) and not isinstance(entry, str | bytes) else [entry]
    line = " ".join(["--", *(_quoted(_word(number, word)) for word in words)])
    if len(line.encode()) > MAX_ELEMENT_BYTES:
        raise JobSpecError(
            "arguments",
            f"of element {number} are longer than {MAX_ELEMENT_BYTES // 1024} KiB; pass the path of a file instead",
        )
    return line


def _word(number: int, word: Any) -> str:
    if isinstance(word, Mapping):
        raise JobSpecError(
            "arguments", f"element {number} is a dict; write a list of words, e.g. ['--tile', 'T31'], or one JSON text"
        )
    if isinstance(word, bool) or not isinstance(word, str | int | float):
        raise JobSpecError(
            "arguments", f"element {number} holds {_shown(word)}; it must be text, a number, or a list of them"
        )
    text = str(word)
    if _UNSENDABLE.search(text):
        raise JobSpecError(
            "arguments", f"element {number} holds a NUL character or half a character, which no argument can hold"
        )
    return text


def _quoted(word: str) -> str:
    return shlex.quote(word).replace("\n", """'"$headnode_newline"'""")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."  # noqa: PLR2004 - what a message can hold


def pack_lines(lines: Sequence[str]) -> str:
    """Return the lines as text that a trigger can store: compressed, in base64."""
    return base64.b64encode(zlib.compress("\n".join(lines).encode())).decode()


def unpack_lines(packed: str) -> list[str]:
    """Return the lines that ``pack_lines`` was given."""
    return zlib.decompress(base64.b64decode(packed)).decode().split("\n")


def arguments_file(lines: Sequence[str], elements: Sequence[int], offset: int) -> bytes:
    """Return the file of one array job: the line of each of its elements, at its index; other lines are empty."""
    chosen = dict(zip(elements, (lines[element] for element in elements), strict=True))
    last = max(elements) - offset
    return "".join(f"{chosen.get(index + offset, '')}\n" for index in range(last + 1)).encode()
