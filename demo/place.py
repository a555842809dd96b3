"""Where the demonstration keeps what it makes, who may use that at the same time, and how an interruption is heard."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from headnode.errors import HeadnodeError
from headnode.testing import SettingsError
from headnode.testing.settings import check_directory

REPOSITORY = Path(__file__).resolve().parent.parent
STATE = REPOSITORY / ".demo"
AIRFLOW = STATE / "airflow"
DATA = STATE / "landcover"
DAGS = REPOSITORY / "dags"
JOBS_PYTHON = REPOSITORY / ".venv-jobs" / "bin" / "python"
ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
HANDOVER_SECONDS = 60
_heard: list[str] = []


class DemoError(HeadnodeError):
    """The demonstration cannot go on; the text says why and what to do."""


def cluster_directory() -> Path:
    """Give the cluster's directory: below the repository, unless its path is too long for Unix sockets."""
    directory = STATE / "cluster"
    try:
        return check_directory(directory)
    except SettingsError:
        name = hashlib.sha256(str(directory).encode()).hexdigest()[:8]
        return check_directory(Path.home() / ".cache" / f"headnode-{name}")


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Keep a second ``make demo`` out while one is at work."""
    STATE.mkdir(mode=0o700, exist_ok=True)
    with (STATE / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise DemoError(
                f"process {lock.read().strip()} is already running the demonstration here; "
                "wait for it, or end it with: make stop"
            ) from error
        lock.seek(0)
        lock.truncate()
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def interrupt_other() -> None:
    """Tell a demonstration that is at work to stop, and wait until it has."""
    if not (STATE / "lock").exists():
        return
    deadline = time.monotonic() + HANDOVER_SECONDS
    told = False
    with (STATE / "lock").open() as lock:
        while time.monotonic() < deadline:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                if not told:
                    os.kill(int(lock.read()), signal.SIGTERM)
                    told = True
                time.sleep(0.2)
            else:
                return


def hear_signals() -> None:
    """Let a closed terminal and SIGTERM end the demonstration as Ctrl-C does."""
    for number in ENDING_SIGNALS:
        signal.signal(number, _interrupt)


def raise_if_interrupted() -> None:
    """Raise again what some library's clean-up may have swallowed."""
    if _heard:
        raise KeyboardInterrupt(_heard[0])


def _interrupt(number: int, _frame: FrameType | None) -> None:
    # Impatience must not interrupt the stopping: only the first signal counts.
    for other in ENDING_SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    _heard.append(signal.Signals(number).name)
    raise_if_interrupted()
