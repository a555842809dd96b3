"""Blocks of module lines in start scripts: finding them in a file, and bringing them up to date.

    # MODULES BEGIN juwels-booster pytorch
    module load GCC OpenMPI CUDA/12
    # MODULES END

LAMEC's form, ``#MODULES BEGIN JUWELS Pytorch-DDP``, is read too. In a block, module lines are headnode's; what else is
in it is its author's, and stays.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher
from typing import Final

from headnode.errors import HeadnodeError
from headnode.sites.launchers import ALIASES
from headnode.sites.module_lines import module_command, same_line, variable_of

_MARK = re.compile(r"(?P<indent>[ \t]*)#[ \t]*MODULES[ \t]+(?P<kind>BEGIN|END)(?P<words>(?:[ \t].*)?)\r?\n?", re.DOTALL)
_HEREDOC = re.compile(r"""(?<!<)<<(-?)[ \t]*(?:'([^'\n]+)'|"([^"\n]+)"|\\?([A-Za-z_][\w.-]*))""")
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_CLOSED_BY: Final = {
    "if": "fi", "for": "done", "while": "done", "until": "done", "select": "done", "case": "esac", "{": "}", "(": ")",
}  # fmt: skip

#: A command of more lines is taken for one that isn't closed: reading on would take ever longer.
_LONGEST_COMMAND: Final = 400

_BEFORE_COMMANDS: Final = {
    ";", ";;", "&", "&&", "|", "||", "(", "()", "{", "!", "then", "do", "else", "elif", "if", "while", "until", ")",
}  # fmt: skip
_ANYWHERE: Final = {")"}  # ends a subshell wherever it stands


class ModulesBlockError(HeadnodeError):
    """A block of module lines that can't be read. ``line`` is that of the file, from 1."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line}: {problem}")
        self.line = line
        self.problem = problem

    def __reduce__(self) -> tuple[type[ModulesBlockError], tuple[int, str]]:
        return type(self), (self.line, self.problem)


@dataclass(frozen=True, kw_only=True)
class ModulesBlock:
    """A block as it stands in a file: its own two lines and those between them, each with its line break.

    ``system`` and ``software`` are the words of its first line in headnode's spelling; ``line`` is where that is, from
    1.
    """

    line: int
    system: str
    software: tuple[str, ...]
    begin: str
    lines: tuple[str, ...] = ()
    end: str

    @property
    def indent(self) -> str:
        """What its lines are indented by."""
        return self.begin[: len(self.begin) - len(self.begin.lstrip(" \t"))]

    @property
    def line_break(self) -> str:
        """What its lines end with."""
        return "\r\n" if self.begin.endswith("\r\n") else "\n"


@dataclass(frozen=True, kw_only=True)
class Updated:
    """A block that is up to date, and what there is to say of it."""

    block: ModulesBlock
    notes: tuple[str, ...] = field(default=())


def parse_modules_block(text: str) -> list[str | ModulesBlock]:
    """Return a file as its blocks and the text around them, whose parts together are the file again.

    Raises:
        ModulesBlockError: a block has no end, an end no begin, one begins in another, or a first line names too little.
    """
    parts: list[str | ModulesBlock] = []
    around: list[str] = []
    begin: tuple[int, re.Match[str]] | None = None
    for number, line in enumerate(_LINE.findall(text), start=1):
        mark = _MARK.fullmatch(line)
        if mark is None:
            around.append(line)
        elif mark["kind"] == "BEGIN":
            if begin is not None:
                raise ModulesBlockError(
                    number, f"a block begins within the one of line {begin[0]}, which has no END yet"
                )
            begin = number, mark
            parts.append("".join(around))
            around = []
        elif begin is None:
            raise ModulesBlockError(number, "an END without a BEGIN before it")
        else:
            parts.append(_block(begin[0], begin[1], lines=around, end=line))
            begin, around = None, []
    if begin is not None:
        raise ModulesBlockError(begin[0], "a block without an END; it ends with a line `# MODULES END`")
    parts.append("".join(around))
    return [part for part in parts if part]


def _block(number: int, begin: re.Match[str], *, lines: Sequence[str], end: str) -> ModulesBlock:
    system, *software = begin["words"].split() or [""]
    if not software:
        raise ModulesBlockError(number, "a block names its system and software: `# MODULES BEGIN system software ...`")
    names = tuple(dict.fromkeys(spelling(each) for each in software))
    return ModulesBlock(
        line=number, system=system_spelling(system), software=names, begin=begin[0], lines=tuple(lines), end=end
    )


def system_spelling(name: str) -> str:
    """Return a system's name as headnode writes it (``JUWELS`` is ``juwels``)."""
    return name.strip().lower().replace("_", "-").replace(" ", "-")


def spelling(software: str) -> str:
    """Return a program's name as headnode writes it (``Pytorch-DDP`` is ``pytorch``)."""
    plain = system_spelling(software)
    return ALIASES.get(plain, plain)


def render_modules_block(block: ModulesBlock) -> str:
    """Return a block as text."""
    return "".join([block.begin, *block.lines, block.end])


def new_block(system: str, software: Sequence[str], lines: Sequence[str]) -> ModulesBlock:
    """Return a block that is in no file yet."""
    return ModulesBlock(
        line=1,
        system=system,
        software=tuple(software),
        begin=f"# MODULES BEGIN {system} {' '.join(software)}\n",
        lines=tuple(f"{line}\n" for line in lines),
        end="# MODULES END\n",
    )


def rename_block(
    block: ModulesBlock, *, system: str | None = None, add: Sequence[str] = (), remove: Sequence[str] = ()
) -> ModulesBlock:
    """Return a block with another first line, the rest of which stays as it was written.

    Raises:
        ModulesBlockError: no software would be left.
    """
    mark = _MARK.fullmatch(block.begin)
    assert mark is not None  # noqa: S101 - it was read by the same pattern, or made above
    start = mark.start("words")
    pieces = re.findall(r"\s+\S+", mark["words"])
    rest = block.begin[start + sum(map(len, pieces)) :]
    if system is not None and system_spelling(system) != block.system:
        pieces[0] = f" {system}"
    kept = [piece for piece in pieces[1:] if spelling(piece) not in remove]
    names = tuple(dict.fromkeys(map(spelling, kept)))
    new = [name for name in dict.fromkeys(add) if name not in names]
    if not names and not new:
        raise ModulesBlockError(block.line, "no software would be left in the block; remove the block itself instead")
    begin = block.begin[:start] + "".join([pieces[0], *kept, *(f" {name}" for name in new)]) + rest
    return replace(block, begin=begin, system=system_spelling(system or block.system), software=(*names, *new))


def update_block(block: ModulesBlock, lines: Sequence[str], *, former: Sequence[str] = ()) -> Updated:
    """Return a block whose module lines are ``lines``, as they should be; what is so already is left as it is written.

    Lines of the author's own stay, after the module line that they came after. A variable that is exported is
    headnode's where ``lines`` or ``former``, the lines of what the block was for, set it.

    Raises:
        ModulesBlockError: something in the block isn't closed (``if``, a quote, a here-document).
    """
    variables = {name for line in (*lines, *former) if (name := variable_of(line)) is not None}
    ours: list[str] = []
    numbers: list[int] = []
    own: list[tuple[int, str]] = []
    for number, command in _commands(block):
        plain = command.strip()
        if module_command(plain) is not None or variable_of(plain) in variables:
            ours.append(command)
            numbers.append(number)
        else:
            own.append((len(ours), command))
    wanted, moved = _aligned(ours, lines)
    texts = [
        ours[at] if at is not None else f"{block.indent}{line}{block.line_break}"
        for line, at in zip(lines, wanted, strict=True)
    ]
    result: list[str] = []
    for place in range(len(texts) + 1):
        result += [text for before, text in own if moved[before] == place]
        result += texts[place : place + 1]
    notes = tuple(_dropped(ours, numbers, lines=lines, former=former))
    return Updated(block=replace(block, lines=tuple(_LINE.findall("".join(result)))), notes=notes)


def _aligned(old: Sequence[str], new: Sequence[str]) -> tuple[list[int | None], list[int]]:
    """Return which old line each new one is, and before which new line each place between old ones is now."""
    keys: dict[object, int] = {}
    numbered = [[keys.setdefault(_key(line), len(keys)) for line in lines] for lines in (old, new)]
    found: list[int | None] = [None] * len(new)
    moved = [0] * (len(old) + 1)
    for tag, i1, i2, j1, j2 in SequenceMatcher(a=numbered[0], b=numbered[1], autojunk=False).get_opcodes():
        for at in range(i1, i2):
            moved[at + 1] = j1 + at - i1 + 1 if tag == "equal" else j2
        if tag == "equal":
            found[j1:j2] = range(i1, i2)
    moved[-1] = len(new)
    return found, moved


def _key(line: str) -> object:
    return module_command(line) or tuple(line.split())


def _dropped(
    ours: Sequence[str], numbers: Sequence[int], *, lines: Sequence[str], former: Sequence[str]
) -> Iterator[str]:
    known = [*lines, *former]
    for number, line in zip(numbers, ours, strict=True):
        if not any(same_line(line, each) for each in known):
            yield (
                f"line {number}: `{' '.join(line.split())}` goes, which the catalogue does not have"
                " (your own modules belong outside of the block)"
            )


def _commands(block: ModulesBlock) -> Iterator[tuple[int, str]]:
    """Yield the shell commands of a block as they are written, each with its first line's number in the file."""
    at = 0
    while at < len(block.lines):
        size = _size(block.lines[at:])
        if size is None:
            raise ModulesBlockError(
                block.line + 1 + at, "what begins here isn't closed before the block's END (if, a quote, <<)"
            )
        yield block.line + 1 + at, "".join(block.lines[at : at + size])
        at += size


def _size(lines: Sequence[str]) -> int | None:
    """Return how many lines the command has that begins here, None where they don't end it."""
    waiting: list[str] = []
    heredocs: list[tuple[str, str]] = []
    text = ""
    for count, line in enumerate(lines[:_LONGEST_COMMAND], start=1):
        bare = line.removesuffix("\n").removesuffix("\r")
        if heredocs:
            dash, word = heredocs[0]
            if (bare.lstrip("\t") if dash else bare) == word:
                del heredocs[0]
        else:
            text += bare
            try:
                tokens = _tokens(text)
            except ValueError:  # an open quote, or a line that goes on in the next one
                text += "\n"
                continue
            _open_and_close(tokens, waiting)
            if tokens and "((" not in text:  # where << shifts numbers
                heredocs = [(found[1], found[2] or found[3] or found[4]) for found in _HEREDOC.finditer(text)]
            text = ""
        if not waiting and not heredocs:
            return count
    return None


def _tokens(text: str) -> list[str]:
    reader = shlex.shlex(text, posix=True, punctuation_chars=";&|()")
    reader.whitespace_split = True
    return list(reader)


def _open_and_close(tokens: Sequence[str], waiting: list[str]) -> None:
    """Note what a line opens, and what of it is closed, by the words that stand where commands do."""
    for before, token in zip(["", *tokens], tokens, strict=False):
        if before and before not in _BEFORE_COMMANDS and token not in _ANYWHERE:
            continue
        if waiting and token == waiting[-1]:
            waiting.pop()
        elif token in _CLOSED_BY:
            waiting.append(_CLOSED_BY[token])
