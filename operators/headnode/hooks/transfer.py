"""What the ways of moving files share: what is to be moved, how far it is, and how it is stopped."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Protocol

from headnode.cluster.staging.manifest import Item
from headnode.cluster.staging.progress import Progress
from headnode.cluster.staging.remote import storing_error
from headnode.errors import TransferStopped

_LOG: Final = logging.getLogger(__name__)
_NAP_SECONDS: Final = 0.2


@dataclass(frozen=True, kw_only=True)
class Load:
    """Files below a root on the worker and one on the cluster, to be moved from the one to the other.

    ``starts`` are the bytes at which to go on; ``part`` is the staging folder of the end that receives.
    """

    local: Path
    remote: str
    part: str
    files: Mapping[str, Item]
    starts: Mapping[str, int]

    @property
    def size(self) -> int:
        """The files' whole size in bytes."""
        return sum(item.size for item in self.files.values())


class Stop:
    """Ends a transfer from another thread or a signal handler."""

    def __init__(self) -> None:
        # No lock: a signal handler interrupts the very thread that would hold it.
        self._is_set = False
        self._actions: list[Callable[[], object]] = []

    def set(self) -> None:
        """End the transfer; what has arrived is kept."""
        self._is_set = True
        threading.Thread(target=self._act, daemon=True, name="headnode ends a transfer").start()

    def _act(self) -> None:
        for action in list(self._actions):
            action()

    def also(self, action: Callable[[], object]) -> None:
        """Let ``action`` be done, in a thread of its own, when the transfer is ended."""
        self._actions.append(action)
        self.check()

    def wait(self, seconds: float) -> None:
        """Wait, unless the transfer is ended.

        Raises:
            TransferStopped: it is.
        """
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.check()
            time.sleep(min(left, _NAP_SECONDS))
        self.check()

    def check(self) -> None:
        """Raise where the transfer is to end.

        Raises:
            TransferStopped: it is.
        """
        if self._is_set:
            raise TransferStopped("the task was ended while files were moved; what has arrived is kept for another try")


class Meter:
    """Counts what is moved and writes it into the task's log; every count is a chance to stop."""

    def __init__(self, *, stop: Stop, log: logging.Logger | Any = _LOG) -> None:
        self._stop = stop
        self._log = log
        self._progress = Progress(total_bytes=0, total_files=0, began=time.monotonic())

    def begin(self, *, total_bytes: int, total_files: int) -> None:
        """Begin to count one attempt."""
        self._progress = Progress(total_bytes=total_bytes, total_files=total_files, began=time.monotonic())

    def moved(self, count: int, *, files: int = 0) -> None:
        """Count bytes and whole files that have moved."""
        self._stop.check()
        self._say(self._progress.advance(sent_bytes=count, sent_files=files, now=time.monotonic()))

    def reached(self, count: int, *, files: int) -> None:
        """Set the counts of this attempt, where they are known as sums."""
        self._stop.check()
        self._say(self._progress.reached(sent_bytes=count, sent_files=files, now=time.monotonic()))

    def end(self) -> None:
        """Write the last line."""
        self._say(self._progress.line(time.monotonic()))

    def _say(self, line: str | None) -> None:
        if line is not None:
            self._log.info("%s", line)


class Carrier(Protocol):
    """A way of moving files."""

    name: str

    def send(self, load: Load, meter: Meter) -> None:
        """Send files to the host."""

    def fetch(self, load: Load, meter: Meter) -> None:
        """Fetch files from the host."""


def stored(data: bytes, path: Path, *, file: IO[Any] | None = None) -> None:
    """Write data to a file on the worker's disk.

    Raises:
        TransferError: the disk refuses.
    """
    try:
        if file is None:
            path.write_bytes(data)
        else:
            file.write(data)
    except OSError as error:
        raise storing_error(str(error), what=f"{path} on the worker can't be written") from error
