"""The pytest plugin: pytest finds it by its entry point, in any repository where headnode is installed.

Only the fixture's body imports what it needs, so that sessions without a cluster pay nothing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from headnode.testing.cluster import SlurmCluster


@pytest.fixture(scope="session")
def slurm_cluster() -> Iterator[SlurmCluster]:
    """One private, real Slurm cluster for the session; fails where Slurm, MariaDB or OpenSSH is missing."""
    from headnode.testing.cluster import SlurmCluster  # noqa: PLC0415
    from headnode.testing.programs import find_programs  # noqa: PLC0415
    from headnode.testing.watchdog import watched  # noqa: PLC0415

    find_programs()
    # Not pytest's own temporary directories: their paths are too long for Unix sockets.
    directory = Path(tempfile.mkdtemp(prefix="headnode-", dir="/tmp"))  # nosec B108  # mkdtemp makes it private
    with watched(directory):
        cluster = SlurmCluster.start(directory)
        try:
            yield cluster
        finally:
            cluster.stop()
