"""Lines of shell text that set modules: reading them, and making one list of those of several programs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

_CLEARING: Final = ("purge", "reset")
_LOADING: Final = ("load", "add")
_VERBS: Final = (
    *_LOADING, *_CLEARING, "use", "unuse", "unload", "del", "rm", "delete", "swap", "sw", "switch", "restore", "r",
    "save", "s", "list", "avail", "av", "spider", "show", "help", "whatis", "key", "keyword", "is-loaded", "is-avail",
    "refresh", "update", "load-any", "try-load", "try-add", "switchml", "savelist", "disable", "describe", "tablelist",
)  # fmt: skip
_EXPORT = re.compile(r"\s*export\s+([A-Za-z_][A-Za-z0-9_]*)=")
# Of these a line is more than one plain command.
_GRAMMAR = re.compile(r"[;&|<>()`]")
_COMMENT = re.compile(r"(?:^|(?<=\s))#.*")
_VERSION = re.compile(r"v?[0-9].*|latest|default|stable|current")


@dataclass(frozen=True)
class ModuleCommand:
    """One command of the module system: ``load GCC OpenMPI`` is verb ``load`` with two words."""

    verb: str
    words: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Merged:
    """The lines of several programs in one list, and what they disagree in, in words."""

    lines: tuple[str, ...]
    conflicts: tuple[str, ...] = ()


def module_command(line: str) -> ModuleCommand | None:
    """Return the command of a line of ``module`` or Lmod's ``ml``, None where the line is anything else, or more.

    ``ml A B`` is ``module load A B``, also where it is written ``ml load A B``. A comment after it doesn't count.
    """
    text = _COMMENT.sub("", line.replace("\\\r\n", " ").replace("\\\n", " ")).strip()
    if _GRAMMAR.search(text):
        return None
    try:
        program, *words = shlex.split(text) or [""]
    except ValueError:
        return None
    if program not in ("module", "ml"):
        return None
    options = []
    while words and words[0].startswith("-"):
        options.append(words.pop(0))
    if program == "ml" and words and words[0] not in _VERBS:
        words.insert(0, "load")
    verb = words.pop(0) if words else ""
    if verb == "load" and any(word.startswith("-") for word in words):
        verb = "load and unload"  # `ml A -B`
    return ModuleCommand("load" if verb == "add" else verb, (*options, *words))


def variable_of(line: str) -> str | None:
    """Return the name of the variable that a line exports, None where it exports none."""
    found = _EXPORT.match(line)
    return found[1] if found else None


def same_line(one: str, other: str) -> bool:
    """Whether two lines do the same, however they are written."""
    first = module_command(one)
    return first == module_command(other) if first is not None else one.split() == other.split()


def merge_lines(stacks: Mapping[str, Sequence[str]]) -> Merged:
    """Return the lines of several programs in one list, each once, in the order of the programs and of their lines.

    Of the second program on, what clears modules comes first of all, since it would undo what is before it, and the
    ``use`` of folders before whatever is loaded, but for those whose path has a variable, which a module may set. A
    module that a line before has loaded is left out. A further program never changes the order of the lines before.
    """
    merged: list[str] = []
    loaded: set[str] = set()
    for number, lines in enumerate(stacks.values()):
        for line in lines:
            command = module_command(line)
            text = line
            if command is not None and command.verb == "load":
                text = _without(line, command, loaded)
            elif command is not None:
                loaded -= set(command.words)
            if text and not any(same_line(text, each) for each in merged):
                merged.insert(len(merged) if number == 0 else _place(text, merged), text)
    return Merged(lines=tuple(merged), conflicts=tuple(find_conflicts(stacks)))


def find_conflicts(stacks: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield in words what programs disagree in: modules by version, variables by value."""
    chosen: dict[str, tuple[str, str]] = {}
    for software, lines in stacks.items():
        for line in lines:
            for name, choice in _choices(line):
                first, by = chosen.setdefault(name, (choice, software))
                if first != choice and by != software:
                    yield f"{by} wants {first}, {software} wants {choice}"


def _choices(line: str) -> Iterator[tuple[str, str]]:
    command = module_command(line)
    if command is not None and command.verb == "load":
        yield from ((_module_name(word), word) for word in command.words if not word.startswith("-"))
    elif (name := variable_of(line)) is not None:
        yield f"{name}=", line.strip().removeprefix("export").strip()


def _module_name(module: str) -> str:
    """Return a module's name without its version: what is before the first part that looks like one, or the last."""
    parts = module.split("/")
    version = next((at for at, part in enumerate(parts) if at and _VERSION.fullmatch(part)), len(parts) - 1)
    return "/".join(parts[: max(version, 1)])


def _place(line: str, lines: Sequence[str]) -> int:
    """Return before which of the lines a line of another program belongs."""
    command = module_command(line)
    verbs = [found.verb if (found := module_command(each)) is not None else "" for each in lines]
    if command is not None and command.verb in _CLEARING:
        return next((at for at, verb in enumerate(verbs) if verb not in _CLEARING), len(lines))
    if command is not None and command.verb == "use" and "$" not in line:
        return next((at for at, verb in enumerate(verbs) if verb == "load"), len(lines))
    return len(lines)


def _without(line: str, command: ModuleCommand, loaded: set[str]) -> str:
    """Return a line that loads modules without those that are loaded; empty where none is left."""
    options = [word for word in command.words if word.startswith("-")]
    modules = [word for word in dict.fromkeys(command.words) if not word.startswith("-")]
    left = [word for word in modules if word not in loaded]
    loaded |= set(modules)
    if len(left) + len(options) == len(command.words):
        return line
    return " ".join(["module", *options, "load", *map(_word, left)]) if left else ""


def _word(word: str) -> str:
    # A variable of the site's is meant to be one.
    return word if re.fullmatch(r"[\w.+/@:$~{}=-]+", word) else shlex.quote(word)
