"""Environment variables and words of commands: what Linux and bash take as it is given."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

#: Linux gives one word of a command, or one variable with its name, 128 KiB (MAX_ARG_STRLEN).
MAX_WORD_BYTES: Final = 128 * 1024 - 1
_UNSENDABLE: Final = re.compile(r"[\x00\ud800-\udfff]")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# bash reads a value of these as arithmetic, in which it runs commands, or keeps a value of its own in them (bash.1,
# "Shell Variables").
_OF_THE_SHELL: Final = frozenset(
    """
    BASHOPTS BASHPID BASH_ALIASES BASH_ARGC BASH_ARGV BASH_CMDS BASH_COMMAND BASH_LINENO BASH_MONOSECONDS BASH_SOURCE
    BASH_SUBSHELL BASH_VERSINFO DIRSTACK EPOCHREALTIME EPOCHSECONDS EUID FUNCNAME GROUPS HISTCMD LINENO OPTIND
    PIPESTATUS PPID RANDOM SECONDS SHELLOPTS SRANDOM UID _
    """.split()  # noqa: SIM905 - a list of words is easier to read
)
# The script reads these after the job's own variables are set.
_OF_THE_SCRIPT: Final = re.compile(r"HEADNODE_.*|headnode_.*|SLURM_(?:ARRAY_TASK_ID|JOB_ID|RESTART_COUNT)")


def check_variable_name(name: Any) -> str:
    """Return ``name``, which the script's prologue can set.

    Raises:
        ValueError: it is no name, or belongs to the shell, to Slurm or to headnode.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of an environment variable")
    if name in _OF_THE_SHELL:
        raise ValueError(f"{name!r} is a variable of the shell's own, which would not hold what it is given")
    if _OF_THE_SCRIPT.fullmatch(name):
        raise ValueError(f"{name!r} is set by headnode or Slurm; choose another name")
    return name


def check_length(word: str) -> str:
    """Return ``word``, which a program can be given.

    Raises:
        ValueError: it is too long.
    """
    if len(word.encode()) > MAX_WORD_BYTES:
        raise ValueError(f"{word[:80]!r}... is longer than {MAX_WORD_BYTES // 1024} KiB, the most that Linux takes")
    return word


def check_environment(variables: Mapping[Any, Any]) -> dict[str, str]:
    """Return the variables with their values as text. Messages do not show values, which may be secrets.

    Raises:
        ValueError: a name or a value can't be set.
    """
    checked = {}
    for name, value in variables.items():
        check_variable_name(name)
        if not isinstance(value, str | int | float):
            raise ValueError(f"the value of {name!r} must be text or a number, not {type(value).__name__}")  # noqa: TRY004 - pydantic reads ValueError
        text = str(value)
        if _UNSENDABLE.search(text):
            raise ValueError(f"the value of {name!r} contains a NUL character or half a character")
        if len(f"{name}={text}".encode()) > MAX_WORD_BYTES:
            raise ValueError(
                f"the value of {name!r} is longer than {MAX_WORD_BYTES // 1024} KiB, the most that Linux takes"
            )
        checked[name] = text
    return checked
