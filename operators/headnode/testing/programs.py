"""The installed programs that a private cluster is made of."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping

from headnode.testing.errors import ProgramsMissing

DEBIAN_PACKAGES = "slurmctld slurmd slurm-client slurmdbd munge openssh-server openssh-client mariadb-server rsync"
PROGRAMS = (
    *("slurmctld", "slurmd", "slurmdbd", "munged", "mariadbd", "mariadb-install-db", "sshd", "ssh-keygen", "rsync"),
    *("sbatch", "srun", "squeue", "sacct", "sacctmgr", "scancel", "scontrol", "sinfo"),
)
# Daemons lie in sbin, which is not on an ordinary user's PATH.
SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"


def find_programs(search_path: str | None = None) -> Mapping[str, str]:
    """Return the absolute path of each program, or raise one error that names the packages to install."""
    if search_path is None:
        search_path = f"{SYSTEM_PATH}:{os.environ.get('PATH', '')}"
    found = {name: shutil.which(name, path=search_path) for name in PROGRAMS}
    if missing := [name for name, path in found.items() if path is None]:
        raise ProgramsMissing(
            f"a private Slurm cluster needs programs that are not installed: {', '.join(missing)}."
            f" On Debian: apt-get install --no-install-recommends {DEBIAN_PACKAGES}"
        )
    return {name: path for name, path in found.items() if path is not None}


def session_path() -> str:
    """Return the PATH of jobs and SSH sessions: the system's, and where this machine's python3 lies."""
    python = shutil.which("python3")
    directories = SYSTEM_PATH.split(":")
    if python and (place := os.path.dirname(python)) not in directories:  # noqa: PTH120
        directories.append(place)
    return ":".join(directories)
