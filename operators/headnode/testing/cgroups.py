"""Control groups (version 1) in which a private cluster's jobs are held to the memory that they asked for."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Final

MEMORY: Final = Path("/sys/fs/cgroup/memory")


def usable() -> bool:
    """Whether this process may make control groups that limit memory."""
    if not (MEMORY / "memory.limit_in_bytes").exists():
        return False
    try:
        os.rmdir(tempfile.mkdtemp(prefix="headnode_", dir=MEMORY))  # noqa: PTH106 - the pair of mkdtemp
    except OSError:
        return False
    return True


def make(mount_point: Path, name: str) -> None:
    """Make a group, and a directory that Slurm takes for the place where control groups are mounted.

    So clusters with nodes and jobs of the same names don't share groups.
    """
    (MEMORY / name).mkdir(exist_ok=True)
    mount_point.mkdir(exist_ok=True)
    link = mount_point / "memory"
    link.unlink(missing_ok=True)
    link.symlink_to(MEMORY / name)


def remove(name: str) -> None:
    """Remove a group and those in it; what still holds processes stays."""
    for place, _, _ in os.walk(MEMORY / name, topdown=False):
        with contextlib.suppress(OSError):
            Path(place).rmdir()
