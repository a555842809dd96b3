"""A Conda environment that is on the cluster."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import model_validator

from headnode.sites.environments.environment import Environment, Surroundings
from headnode.sites.environments.shell_words import Operand, shell_word

# `conda init` writes into start-up files what this defines for one shell; micromamba and mamba 2 know no other way.
_ACTIVATE: Final = """\
if command -v conda >/dev/null 2>&1; then
  eval "$(conda shell.posix hook)" && conda activate {name} || exit 1
elif command -v micromamba >/dev/null 2>&1; then
  eval "$(micromamba shell hook --shell posix)" && micromamba activate {name} || exit 1
elif command -v mamba >/dev/null 2>&1; then
  eval "$(mamba shell hook --shell posix)" && mamba activate {name} || exit 1
else
  echo "headnode: neither conda, micromamba nor mamba is in PATH on $(uname -n); what brings it is entered before," \\
    "as in Modules(commands=['load Miniforge3']) + Conda(...)." >&2
  exit 1
fi"""


class Conda(Environment):
    """A Conda environment by its ``name``, or by ``prefix``, its folder, which may hold variables of the site.

    It must be there; headnode does not build it.
    """

    kind: Literal["conda"] = "conda"

    name: Operand | None = None
    prefix: Operand | None = None

    def __init__(self, name: str | None = None, **fields: Any) -> None:
        super().__init__(**({"name": name} if name is not None else {}), **fields)

    @model_validator(mode="after")
    def _is_named_once(self) -> Conda:
        if (self.name is None) == (self.prefix is None):
            raise ValueError("Conda: give exactly one of name= and prefix=")
        return self

    def lines(self, surroundings: Surroundings) -> list[str]:  # noqa: ARG002 - the same everywhere
        """Return what activates it, by whichever of conda, micromamba and mamba there is."""
        return _ACTIVATE.format(name=shell_word(self.name or self.prefix or "")).split("\n")
