"""The processes of one private cluster: started in sessions of their own, recorded in files, ended without rest."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import psutil

RETITLED = ("slurmstepd", "sshd", "sshd-session")
TERMINATE_SECONDS = 10.0
KILL_SECONDS = 5.0


class ProcessTable:
    """Named daemons, each with a record ``<name>.pid`` that survives this process.

    A record holds the pid and the time of its start, so that a pid that was given to another process since is
    never taken for the daemon.
    """

    def __init__(self, directory: Path, mark: Mapping[str, str]) -> None:
        self._directory = directory
        self._mark = mark

    def spawn(self, name: str, argv: Sequence[str], *, env: Mapping[str, str], output: Path) -> None:
        """Start a daemon that outlives this process and hears none of its terminal's signals."""
        append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        pid = os.posix_spawn(
            argv[0],
            list(argv),
            env,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(output), append, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )
        record = {"pid": pid, "started": psutil.Process(pid).create_time()}
        self._record(name).write_text(json.dumps(record))

    def alive(self, name: str) -> bool:
        """Whether the daemon of that name runs."""
        return self._find(name) is not None

    def names(self) -> list[str]:
        """All recorded daemons, dead or alive."""
        return sorted(path.stem for path in self._directory.glob("*.pid") if not path.stem.endswith(".own"))

    def descendants(self, name: str) -> list[psutil.Process]:
        """Return what the daemon has started and what that has, without itself."""
        daemon = self._find(name)
        return [each for each in with_descendants([daemon]) if each != daemon] if daemon else []

    def stop(self, *names: str) -> None:
        """End these daemons and all that descends from them, and forget their records."""
        processes = [process for name in names if (process := self._find(name))]
        end_processes(with_descendants(processes))
        for name in names:
            self._record(name).unlink(missing_ok=True)

    def signal(self, name: str, number: int) -> None:
        """Send the daemon a signal, if it runs."""
        if (process := self._find(name)) is not None:
            process.send_signal(number)

    def kill(self, name: str, *, also: Sequence[psutil.Process] = ()) -> None:
        """Kill the daemon first, so that it can't report the end of the others, then these, and forget its record."""
        daemon = self._find(name)
        kill_processes([*(with_descendants([daemon]) if daemon else ()), *also])
        self._record(name).unlink(missing_ok=True)

    def stop_marked(self) -> None:
        """End whatever else carries the cluster's mark: job steps, jobs, SSH sessions."""
        end_processes(self.marked(), patience=1.0)

    def marked(self) -> list[psutil.Process]:
        """All processes of the cluster, with their descendants, and without this process and its ancestors."""
        return with_descendants(process for process in psutil.process_iter() if self._is_ours(process))

    def _is_ours(self, process: psutil.Process) -> bool:
        return self._is_marked(process) or self._is_retitled(process)

    def _is_marked(self, process: psutil.Process) -> bool:
        with contextlib.suppress(psutil.Error, OSError):
            environment = process.environ()
            return all(environment.get(name) == value for name, value in self._mark.items())
        return False

    def _is_retitled(self, process: psutil.Process) -> bool:
        """Whether it is a job step or SSH session of the cluster.

        These write their title over their environment, but keep the cluster's logs open.
        """
        with contextlib.suppress(psutil.Error, OSError):
            if process.name() not in RETITLED:
                return False
            open_files = Path(f"/proc/{process.pid}/fd").iterdir()
            return any(str(link.readlink()).startswith(f"{self._directory.parent}/") for link in open_files)
        return False

    def _find(self, name: str) -> psutil.Process | None:
        with contextlib.suppress(FileNotFoundError, psutil.Error, ValueError):
            record = json.loads(self._record(name).read_text())
            process = psutil.Process(record["pid"])
            same = abs(process.create_time() - record["started"]) < 1
            if same and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None

    def _record(self, name: str) -> Path:
        return self._directory / f"{name}.pid"


def with_descendants(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Return the processes and all below them, never this process or one above it."""
    family: dict[int, psutil.Process] = {}
    for process in processes:
        family[process.pid] = process
        with contextlib.suppress(psutil.Error):
            family.update((child.pid, child) for child in process.children(recursive=True))
    for own in (psutil.Process(), *psutil.Process().parents()):
        family.pop(own.pid, None)
    return list(family.values())


def end_processes(processes: Sequence[psutil.Process], *, patience: float = TERMINATE_SECONDS) -> None:
    """Ask the processes to end; kill those that have not after ``patience`` seconds."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    kill_processes(_wait(processes, seconds=patience))


def kill_processes(processes: Sequence[psutil.Process]) -> None:
    """Kill the processes, in their order, and wait until they are dead."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()
    _wait(processes, seconds=KILL_SECONDS)


def _wait(processes: Sequence[psutil.Process], *, seconds: float) -> list[psutil.Process]:
    """Wait until all have ended; return those that have not."""
    deadline = time.monotonic() + seconds
    left = [process for process in processes if not _has_ended(process)]
    while left and time.monotonic() < deadline:
        time.sleep(0.02)
        left = [process for process in left if not _has_ended(process)]
    return left


def _has_ended(process: psutil.Process) -> bool:
    """Whether the process is gone, or dead and only unburied: some init processes take seconds over that."""
    with contextlib.suppress(psutil.Error):
        if process.status() == psutil.STATUS_ZOMBIE:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(process.pid, os.WNOHANG)
            return True
        return not process.is_running()
    return True
