"""Launchers: how programs of each kind are started over the nodes of a job.

launcher      what every launcher is
shell         pieces of shell text that they share
commands      whether a command is one that can be started
torchrun      PyTorch DDP
deepspeed     DeepSpeed
mpi           MPI: plain, Horovod, Heat, DeepHyper
tensorflow    TensorFlow over several workers
ray           a Ray cluster, Ray Tune
optuna        workers that share an Optuna study
python        one plain process
"""

from __future__ import annotations

import difflib
from typing import Any, Final

from headnode.errors import JobSpecError
from headnode.sites.launchers.deepspeed import DeepSpeed
from headnode.sites.launchers.launcher import Launcher
from headnode.sites.launchers.mpi import DeepHyper, Heat, Horovod, Mpi
from headnode.sites.launchers.optuna import OptunaWorkers
from headnode.sites.launchers.python import Python
from headnode.sites.launchers.ray import RayCluster, RayTune
from headnode.sites.launchers.tensorflow import TensorFlowMultiWorker
from headnode.sites.launchers.torchrun import Torchrun
from headnode.sites.system import SOFTWARE
from headnode.sites.templates import described

__all__ = [
    "LAUNCHERS",
    "DeepHyper",
    "DeepSpeed",
    "Heat",
    "Horovod",
    "Launcher",
    "Mpi",
    "OptunaWorkers",
    "Python",
    "RayCluster",
    "RayTune",
    "TensorFlowMultiWorker",
    "Torchrun",
    "kind_of",
    "launcher_for",
    "parse_launcher",
    "software_named",
]


def kind_of(launcher: type[Launcher]) -> str:
    """Return the ``kind`` by which a launcher is written down."""
    return str(launcher.model_fields["kind"].default)


#: Every launcher by its kind.
LAUNCHERS: Final[dict[str, type[Launcher]]] = {
    kind_of(each): each
    for each in (
        Torchrun,
        DeepSpeed,
        Horovod,
        TensorFlowMultiWorker,
        Heat,
        Mpi,
        RayCluster,
        RayTune,
        OptunaWorkers,
        DeepHyper,
        Python,
    )
}

_BY_SOFTWARE: Final = {each.software: each for each in LAUNCHERS.values()} | {"mpi4py": Mpi}
#: Other names of programs, LAMEC's among them.
ALIASES: Final = {
    "ddp": "pytorch",
    "pytorch-ddp": "pytorch",
    "torch": "pytorch",
    "torchrun": "pytorch",
    "tune": "ray-tune",
    "raytune": "ray-tune",
}


def software_named(name: str) -> str:
    """Return the program's name in the catalogue (``pytorch`` for ``Pytorch-DDP``).

    Raises:
        JobSpecError: there is none; the message has the nearest names.
    """
    wanted = name.strip().lower().replace("_", "-").replace(" ", "-")
    wanted = ALIASES.get(wanted, wanted)
    if wanted in SOFTWARE:
        return wanted
    close = difflib.get_close_matches(wanted, [*SOFTWARE, *ALIASES], n=3, cutoff=0.5)
    near = list(dict.fromkeys(ALIASES.get(each, each) for each in close))
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(SOFTWARE)}"
    raise JobSpecError("software", f"there is no software {name!r}; {hint}")


def launcher_for(software: str) -> type[Launcher]:
    """Return the launcher that starts a program, by its name or another one of it (``ddp``). Raises JobSpecError."""
    return _BY_SOFTWARE[software_named(software)]


def parse_launcher(value: Any) -> Launcher:
    """Return the launcher that ``value`` is or describes (a dict with its ``kind``).

    Raises:
        JobSpecError: there is no such launcher, or a value of it can't be right.
    """
    if isinstance(value, Launcher):
        return value
    names = ", ".join(each.__name__ for each in LAUNCHERS.values())
    return described("launch", value, LAUNCHERS, what="launcher", there_are=names)
