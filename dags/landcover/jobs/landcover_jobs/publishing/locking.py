"""One publication of a map at a time, whatever starts two."""

from __future__ import annotations

import errno
import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from landcover_jobs.job import say

FILE = ".lock"
NO_LOCKS_HERE = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextmanager
def publishing_alone(published: Path) -> Iterator[None]:
    """Wait until nobody else publishes or rolls back a year of this map; the kernel frees the lock of a killed step.

    Some parallel file systems are mounted without locks: there a line is printed, and the runs' order must keep two
    publications of one map apart.
    """
    published.mkdir(parents=True, exist_ok=True)
    with (published / FILE).open("w", encoding="utf-8") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in NO_LOCKS_HERE:
                raise
            say(f"{published} has no file locks ({error.strerror}): never publish two years of this map at once")
        yield
