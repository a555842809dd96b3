"""The modules of a site, as ``module --terse avail`` lists them (Lmod, or Tcl's Environment Modules)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, cast

from headnode.errors import UnreadableAnswer

_MARK: Final = "headnode:modules"
# The login shell defines ``module``; both systems list to stderr, whatever start-up files print comes before the mark.
LIST_MODULES: Final = f"""\
if ! type module >/dev/null 2>&1; then
  if command -v uenv >/dev/null 2>&1; then echo "{_MARK} uenv"; else echo "{_MARK} none"; fi
elif [ -n "$LMOD_VERSION" ]; then echo "{_MARK} lmod $LMOD_VERSION"
else echo "{_MARK} tcl $(module --version 2>&1 | grep -Eo '[0-9]+[.][0-9][0-9.]*' | head -n 1)"; fi
if type module >/dev/null 2>&1; then module --terse avail 2>&1 </dev/null; fi
echo "{_MARK}:end"
"""
_BEGIN: Final = re.compile(rf"^{_MARK} (lmod|tcl|uenv|none)(?: ([0-9][^\s]{{0,40}})?)?$", re.MULTILINE)
# ``GCC/12.3.0(default)``, ``gcc/12(@latest)``; a line that ends with a colon or a slash is a heading.
_NAME: Final = re.compile(r"([A-Za-z0-9_.+@=-][A-Za-z0-9_.+@=/-]*?)(?:\([^()]*\))*(?:<[^<>]*>)?")

#: Words in the names of modules that may bring a program, lower case.
_SOUGHT: Final[Mapping[str, tuple[str, ...]]] = {
    "deephyper": ("deephyper",),
    "deepspeed": ("deepspeed",),
    "heat": ("heat", "py-heat"),
    "horovod": ("horovod",),
    "mpi": ("openmpi", "mpich", "impi", "intelmpi", "intel-mpi", "parastationmpi", "psmpi", "mvapich2", "cray-mpich"),
    "mpi4py": ("mpi4py", "py-mpi4py"),
    "optuna": ("optuna",),
    "python": ("python", "python3", "cray-python", "anaconda3", "miniconda3", "mamba", "miniforge3"),
    "pytorch": ("pytorch", "torch", "py-torch", "pytorch-bundle"),
    "ray": ("ray", "ray-project", "py-ray"),
    "tensorflow": ("tensorflow", "py-tensorflow"),
}
_CONTAINERS: Final = ("apptainer", "singularity", "singularityce", "singularity-ce")


@dataclass(frozen=True, kw_only=True)
class ModuleList:
    """Which module system a login shell has, and the modules that can be loaded there at once."""

    system: Literal["lmod", "tcl", "uenv", "none"]
    version: str | None = None
    names: tuple[str, ...] = ()

    def candidates(self) -> dict[str, tuple[str, ...]]:
        """Return modules that by their names may bring each program; what they do was not tried."""
        return {name: found for name, words in _SOUGHT.items() if (found := self._called(words))}

    def containers(self) -> tuple[str, ...]:
        """Return modules that by their names bring a container runtime."""
        return self._called(_CONTAINERS)

    def _called(self, words: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(
            name for name in self.names if {part.partition("@")[0].lower() for part in name.split("/")} & {*words}
        )


def parse_modules(stdout: str) -> ModuleList:
    """Return the modules in the answer to ``LIST_MODULES``; lines that are no module's name are left out.

    Raises:
        UnreadableAnswer: its beginning or its end is missing.
    """
    begin = _BEGIN.search(stdout)
    end = stdout.rfind(f"\n{_MARK}:end")
    if begin is None or end < begin.end() - 1:
        raise UnreadableAnswer("the list of modules was cut, or is none")
    names: dict[str, None] = {}
    for line in stdout[begin.end() : max(begin.end(), end)].split("\n"):
        match = _NAME.fullmatch(line.strip())
        if match is not None and not match[1].endswith("/"):
            names[match[1]] = None
    system = cast("Literal['lmod', 'tcl', 'uenv', 'none']", begin[1])
    return ModuleList(system=system, version=begin[2], names=tuple(names))
