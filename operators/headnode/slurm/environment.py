"""Names of environment variables that a batch script can set to any value, and those that it can't."""

from __future__ import annotations

import re
from typing import Any, Final

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
