"""The processes of a private Airflow: each component in a session of its own, found again and ended to the last one.

Airflow's components fork (LocalExecutor workers, the triggerer's runner, dag parsing), change their process group
and rewrite their title, and tasks start programs in new sessions. Three marks together find them all: the session
that the component leads, the environment variable every process inherits, and descent from one of these.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from headnode.errors import HeadnodeError
from headnode.testing.processes import with_descendants

MARK = "HEADNODE_PRIVATE_AIRFLOW"
TAIL_LINES = 25
STOP_POLL_SECONDS = 0.05
KILL_SECONDS = 10
# Those that this Python process started, until they have ended and are collected.
_children: dict[int, subprocess.Popen[bytes]] = {}


class AirflowStartError(HeadnodeError):
    """The private Airflow, or one of its components, did not come up or did not do what was asked."""


@dataclass(frozen=True, kw_only=True)
class Component:
    """One started component; ``created`` tells its process from a later one with the same id."""

    name: str
    index: int
    pid: int
    created: float
    log: str

    @property
    def label(self) -> str:
        """``triggerer``, ``triggerer-1``, ..."""
        return component_label(self.name, self.index)

    def is_running(self) -> bool:
        """Tell whether the component's leading process is alive (a zombie is not)."""
        try:
            process = psutil.Process(self.pid)
            return process.create_time() == self.created and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def as_json(self) -> dict[str, object]:
        """Give the fields, to be stored."""
        return asdict(self)


def component_label(name: str, index: int) -> str:
    """Name the index-th process of a component in log file names and messages."""
    return name if index == 0 else f"{name}-{index}"


def launch(name: str, index: int, command: Sequence[str], env: Mapping[str, str], directory: Path) -> Component:
    """Start a component as the leader of its own session, its output in a file of the directory."""
    log = directory / f"{component_label(name, index)}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            list(command),
            env=dict(env),
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _children[process.pid] = process
    created = psutil.Process(process.pid).create_time()
    return Component(name=name, index=index, pid=process.pid, created=created, log=str(log))


def last_lines(path: Path, count: int = TAIL_LINES) -> str:
    """Give the end of a log file, indented."""
    if not path.exists():
        return f"    (there is no {path})"
    lines = path.read_text(errors="replace").splitlines()[-count:]
    return "\n".join(f"    {line}" for line in lines) or "    (empty)"


def living_processes(components: Iterable[Component], directory: Path) -> list[psutil.Process]:
    """Find every living process of these components and of what they started."""
    sessions = {c.pid: c.created for c in components if not _reused(c)}
    found = with_descendants(p for p in psutil.process_iter() if _belongs(p, sessions, directory))
    return [process for process in found if not _is_zombie(process)]


def terminate(components: Sequence[Component], *, grace_seconds: float) -> None:
    """Ask the components to end, and wait for that a while."""
    for component in components:
        if component.is_running():
            with contextlib.suppress(ProcessLookupError):
                os.kill(component.pid, signal.SIGTERM)
    deadline = time.monotonic() + grace_seconds
    while time.monotonic() < deadline and any(c.is_running() for c in components):
        reap(components)
        time.sleep(STOP_POLL_SECONDS)


def kill_all(components: Sequence[Component], directory: Path) -> None:
    """Kill whatever is left of the components and of what they started, and verify that nothing is."""
    deadline = time.monotonic() + KILL_SECONDS
    while left := _killed(components, directory):
        if time.monotonic() > deadline:
            named = ", ".join(str(process.pid) for process in left)
            raise AirflowStartError(
                f"processes {named} of the private Airflow in {directory} live on after SIGKILL; "
                "look at what they wait for (ps -o pid,stat,wchan,args)"
            )
        time.sleep(STOP_POLL_SECONDS)
    # One that ended after it was last looked at is a zombie still.
    reap(components)


def reap(components: Iterable[Component]) -> None:
    """Collect those that ended, where this process is their parent."""
    for component in components:
        child = _children.get(component.pid)
        if child and child.poll() is not None:
            del _children[component.pid]


def _killed(components: Sequence[Component], directory: Path) -> list[psutil.Process]:
    reap(components)
    left = living_processes(components, directory)
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    return left


def _reused(component: Component) -> bool:
    """Tell whether the id now belongs to another process; a session's id is free only when it has no member."""
    try:
        return psutil.Process(component.pid).create_time() != component.created
    except psutil.NoSuchProcess:
        return psutil.boot_time() > component.created


def _belongs(process: psutil.Process, sessions: Mapping[int, float], directory: Path) -> bool:
    try:
        if os.getsid(process.pid) in sessions:
            return True
        return process.environ().get(MARK) == str(directory)
    except (psutil.Error, OSError):
        # A process of another user, or one that has just ended: not ours.
        return False


def _is_zombie(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
