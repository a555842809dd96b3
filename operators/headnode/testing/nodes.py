"""The processes of one virtual node of a private cluster: all nodes are this machine, so they are told apart here."""

from __future__ import annotations

import contextlib
from pathlib import Path

import psutil

from headnode.testing.processes import with_descendants
from headnode.testing.rendering import cluster_mark
from headnode.testing.settings import ClusterSettings


def node_processes(settings: ClusterSettings, node: str) -> list[psutil.Process]:
    """Find slurmd's job steps on the node, and everything that its jobs started."""
    log = settings.directory / "log" / f"slurmd.{node}.log"
    mark = {**cluster_mark(settings), "SLURMD_NODENAME": node}
    return with_descendants(p for p in psutil.process_iter() if _is_step(p, log) or _is_of_job(p, mark))


def _is_step(process: psutil.Process, log: Path) -> bool:
    """Whether it is a slurmstepd of the node; they write their title over their environment, but keep its log open."""
    with contextlib.suppress(psutil.Error, OSError):
        if process.name() != "slurmstepd":
            return False
        return any(link.readlink() == log for link in Path(f"/proc/{process.pid}/fd").iterdir())
    return False


def _is_of_job(process: psutil.Process, mark: dict[str, str]) -> bool:
    with contextlib.suppress(psutil.Error, OSError):
        environment = process.environ()
        return all(environment.get(name) == value for name, value in mark.items())
    return False
