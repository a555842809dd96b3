"""A container image of Apptainer or Singularity."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator

from headnode.errors import JobSpecError
from headnode.sites.environments.environment import Environment, Surroundings
from headnode.sites.environments.modules import Modules
from headnode.sites.environments.shell_words import OneLine, Operand, shell_word

_GPU_OPTIONS: Final = {"nvidia": ["--nv"], "amd": ["--rocm"], "intel": [], "none": []}
# What the job reads and leaves is in its directory, the checkpoint beside it.
_BIND_JOB: Final = """\
if [ -n "${HEADNODE_DIRECTORY:-}" ]; then
  export %(variable)s="${HEADNODE_DIRECTORY%%/*}${%(variable)s:+,$%(variable)s}"
fi"""
_FIND: Final = """\
if ! command -v %(runtime)s >/dev/null 2>&1; then
  echo "headnode: %(runtime)s is not in PATH on $(uname -n); where a module brings it, enter that before:" \\
    "Modules(commands=['load ...']) + Apptainer(...)." >&2
  exit 1
fi"""


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, str) else value


class Apptainer(Environment):
    """What runs on the nodes runs in the container ``image``, each task in one of its own, started by srun.

    ``image`` is a path on the cluster, which may hold its variables (``$PROJECT/torch.sif``), or what Apptainer can
    pull. ``bind`` are paths to show inside (``/data``, ``/data:/mnt``), beside the catalogue's and the job's own
    directory. ``gpu_vendor``, where the catalogue doesn't know it, decides between ``--nv`` and ``--rocm``; ``options``
    are further ones of ``exec``. ``runtime`` is the catalogue's where it is not given.
    """

    kind: Literal["apptainer"] = "apptainer"

    image: Operand
    bind: Annotated[tuple[Operand, ...], BeforeValidator(_as_tuple)] = ()
    options: Annotated[tuple[OneLine, ...], BeforeValidator(_as_tuple)] = ()
    gpu_vendor: Literal["nvidia", "amd", "intel", "none"] | None = None
    runtime: Literal["apptainer", "singularity"] | None = None

    def __init__(self, image: str | None = None, **fields: Any) -> None:
        super().__init__(**({"image": image} if image is not None else {}), **fields)

    def lines(self, surroundings: Surroundings) -> list[str]:
        """Return the modules that bring the runtime, and what shows the job's directory inside."""
        runtime, system = self._runtime(surroundings), surroundings.system
        words = {"runtime": runtime, "variable": f"{runtime.upper()}_BINDPATH"}
        modules = Modules(commands=system.container.modules if system is not None else ())
        return [*modules.lines(surroundings), *(_FIND % words).split("\n"), *(_BIND_JOB % words).split("\n")]

    def wrapper(self, surroundings: Surroundings) -> str:
        """Return the command that runs what follows it inside."""
        system = surroundings.system
        binds = [*(system.container.binds if system is not None else ()), *self.bind]
        words = [
            self._runtime(surroundings),
            "exec",
            *self._gpu_options(surroundings),
            *(word for each in binds for word in ("--bind", shell_word(each))),
            *map(shell_word, self.options),
            shell_word(self.image),
        ]
        return " ".join(words)

    def _runtime(self, surroundings: Surroundings) -> str:
        if self.runtime is not None:
            return self.runtime
        system = surroundings.system
        known = system.container.runtime if system is not None else None
        if system is not None and known in ("pyxis", "none"):
            how = "has no containers" if known == "none" else "runs containers by srun's own options (pyxis)"
            raise JobSpecError(
                "environment",
                f"{system.name} {how}, as {system.source_of('container', 'runtime')} says; if Apptainer or Singularity"
                " is there all the same, give runtime='apptainer' or 'singularity'",
            )
        return known or "apptainer"

    def _gpu_options(self, surroundings: Surroundings) -> list[str]:
        if self.gpu_vendor is not None:
            return _GPU_OPTIONS[self.gpu_vendor]
        if not surroundings.gpus:
            return []
        if surroundings.gpu_vendor is None:
            raise JobSpecError(
                "environment",
                "whose GPUs they are is unknown, so that Apptainer can't be told; give gpu_vendor='nvidia', 'amd' or"
                " 'none'",
            )
        return _GPU_OPTIONS[surroundings.gpu_vendor]
