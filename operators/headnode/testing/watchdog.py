"""Ends a private cluster when the process that uses it is gone, however it went: SIGKILL leaves no one else to do it.

The user holds the writing end of a pipe; its end is the news.
As a program: ``python -m headnode.testing.watchdog DIR``.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import headnode
from headnode.testing import lifecycle


@contextlib.contextmanager
def watched(directory: Path) -> Iterator[None]:
    """Have the directory's cluster ended and the directory removed, at the latest when this process is gone."""
    roots = [*(str(Path(place).parent) for place in headnode.__path__), os.environ.get("PYTHONPATH")]
    watchdog = subprocess.Popen(
        [sys.executable, "-P", "-m", "headnode.testing.watchdog", str(directory)],
        stdin=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, roots))},
        start_new_session=True,
    )
    try:
        yield
    finally:
        watchdog.communicate()


def end_cluster(directory: Path) -> None:
    """End what runs in the directory, whole or half started, and remove it."""
    if not directory.exists():
        return
    with lifecycle.locked(directory):
        settings = lifecycle.read_settings(directory)
        if settings is not None:
            lifecycle.bring_down(settings, cancel_with=None)
    shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    sys.stdin.buffer.read()
    end_cluster(Path(sys.argv[1]))
