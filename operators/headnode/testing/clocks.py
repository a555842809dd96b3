"""A clock of the cluster's own, by libfaketime: where it lies, and what it leaves in shared memory."""

from __future__ import annotations

import contextlib
from pathlib import Path

import psutil

from headnode.testing.errors import ProgramsMissing


def find_faketime() -> str:
    """Return the path of the library that moves a program's clock.

    Raises:
        ProgramsMissing: it is not installed.
    """
    found = sorted(Path("/usr").glob("lib*/**/faketime/libfaketimeMT.so.1"))
    if not found:
        raise ProgramsMissing(
            "a cluster whose clock is wrong needs libfaketime."
            " On Debian: apt-get install --no-install-recommends faketime"
        )
    return str(found[0])


def remove_traces() -> None:
    """Remove what the library keeps for processes that were killed; their names end in the process's id."""
    for trace in Path("/dev/shm").glob("*faketime_*"):  # nosec B108  # noqa: S108 - the library's own place
        number = trace.name.rpartition("_")[2]
        if number.isdigit() and not psutil.pid_exists(int(number)):
            with contextlib.suppress(OSError):
                trace.unlink()
