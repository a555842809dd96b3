"""Meters: what a case costs the head node, the triggerer and the workers, and when its jobs ended."""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import psutil

from bench.setting import Setting

_DROPPED: Final = re.compile(r"\bdrop connection ")
_MINUTES: Final = re.compile(r"(\d+)m([\d.]+)s")
_BUSY: Final = b"airflow worker -- LocalExecutor"
STATUS_COMMANDS: Final = frozenset({"squeue", "sacct", "scontrol"})
WORKER_SAMPLE_SECONDS: Final = 0.1
MEMORY_SAMPLE_SECONDS: Final = 1.0


@dataclass(frozen=True, kw_only=True)
class HeadNodeLoad:
    """What the head node has seen since it was started; two of them subtract to what a case cost."""

    logins: int
    dropped: int
    calls: Counter[str]
    cpu_seconds: float

    def __sub__(self, before: Self) -> HeadNodeLoad:
        return HeadNodeLoad(
            logins=self.logins - before.logins,
            dropped=self.dropped - before.dropped,
            calls=Counter({name: count - before.calls[name] for name, count in self.calls.items()}),
            cpu_seconds=self.cpu_seconds - before.cpu_seconds,
        )


def head_node_load(setting: Setting) -> HeadNodeLoad:
    """Read sshd's log, the wrappers' logs and the CPU times of sshd with all that it started and waited for."""
    cluster = setting.cluster
    log = (cluster.directory / "log" / "sshd.log").read_text(errors="replace")
    return HeadNodeLoad(
        logins=cluster.logins(),
        dropped=len(_DROPPED.findall(log)),
        calls=Counter(cluster.count_calls()),
        cpu_seconds=_sshd_cpu_seconds(cluster.directory) + _detached_cpu_seconds(cluster.directory),
    )


def _sshd_cpu_seconds(directory: Path) -> float:
    sshd = psutil.Process(int((directory / "run" / "sshd.own.pid").read_text()))
    return sum(_cpu_seconds(process) for process in _tree(sshd))


def _detached_cpu_seconds(directory: Path) -> float:
    log = directory / "detached.log"
    found = _MINUTES.findall(log.read_text()) if log.exists() else ()
    return sum(int(minutes) * 60 + float(seconds) for minutes, seconds in found)


def _tree(process: psutil.Process) -> Iterator[psutil.Process]:
    yield process
    with contextlib.suppress(psutil.NoSuchProcess):
        yield from process.children(recursive=True)


def _cpu_seconds(process: psutil.Process) -> float:
    """Return a process's CPU seconds with those of the children that it waited for."""
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)


def calls(setting: Setting, *, since: float, until: float) -> list[tuple[float, str]]:
    """Return the calls of Slurm's commands between two times: when (seconds since the epoch) and what."""
    log = setting.cluster.directory / "times.log"
    lines = (line.split("\t") for line in log.read_text().splitlines()) if log.exists() else ()
    found = sorted((float(at), name) for at, name in lines)
    return [(at, name) for at, name in found if since <= at <= until]


def job_ends(setting: Setting, case_name: str) -> dict[int, float]:
    """Return when each job ended by its own clock, by index, in seconds since the epoch."""
    ends = {}
    for path in setting.ends.glob(f"{case_name}.*"):
        with contextlib.suppress(ValueError):  # being written at this moment
            ends[int(path.suffix[1:])] = float(path.read_text())
    return ends


def count_ended(setting: Setting, case_name: str) -> int:
    """Count the jobs that have ended."""
    return sum(1 for _ in setting.ends.glob(f"{case_name}.*"))


@dataclass(frozen=True, kw_only=True)
class Pause:
    """The loop stood still for ``seconds``: its thread worked for ``cpu_seconds``, waited for a core the ``queued``."""

    seconds: float
    cpu_seconds: float
    queued_seconds: float
    where: str


def longest_pause(setting: Setting, *, since: float, until: float) -> Pause | None:
    """Return the longest pause of the triggerer's loop between two times; None is that nothing was measured."""
    lines = setting.pauses.read_text().splitlines() if setting.pauses.exists() else ()
    seen = [entry for line in lines if since <= (entry := json.loads(line))["at"] <= until + 1.5]
    if not seen:
        return None
    worst: dict[str, Any] = max(seen, key=lambda entry: float(entry["late"]))
    return Pause(
        seconds=worst["late"],
        cpu_seconds=worst["cpu"],
        queued_seconds=worst["queued"],
        where=_place(worst["where"]),
    )


def _place(stack: list[str]) -> str:
    """Name the function that ran during a pause: of headnode's where there is one, else the innermost library's."""
    if not stack:
        return "not seen"
    if any("importlib" in frame for frame in stack):
        return "importing modules"
    own = [frame for frame in stack if "/headnode/" in frame]
    libraries = [frame for frame in stack if "/site-packages/" in frame]
    path, _, function = (own or libraries or stack)[0].rpartition(" ")
    parts = Path(path.rpartition(":")[0]).parts
    return f"{'/'.join(parts[-2:])} {function}"


class AirflowMeter:
    """Samples Airflow's processes while a ``with`` block runs: busy workers, the triggerer's CPU and memory."""

    def __init__(self, setting: Setting) -> None:
        (scheduler,) = setting.airflow.process_ids("scheduler")
        (triggerer,) = setting.airflow.process_ids("triggerer")
        self._scheduler = psutil.Process(scheduler)
        self._triggerer = psutil.Process(triggerer)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._cpu_before = 0.0
        self.worker_seconds = 0.0
        self.triggerer_cpu_seconds = 0.0
        self.memory_before = 0
        self.memory_peak = 0

    @property
    def memory_growth_mb(self) -> float:
        """By how many MB (10^6 bytes) the triggerer's memory grew at most."""
        return (self.memory_peak - self.memory_before) / 1e6

    def __enter__(self) -> Self:
        self._cpu_before = self._cpu()
        self.memory_before = self.memory_peak = self._memory()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.triggerer_cpu_seconds = self._cpu() - self._cpu_before
        self.memory_peak = max(self.memory_peak, self._memory())

    def _sample(self) -> None:
        before = memory_at = time.monotonic()
        workers = list(self._scheduler.children())
        while not self._stop.wait(WORKER_SAMPLE_SECONDS):
            now = time.monotonic()
            self.worker_seconds += _count_busy(workers) * (now - before)
            before = now
            if now - memory_at >= MEMORY_SAMPLE_SECONDS:
                memory_at = now
                self.memory_peak = max(self.memory_peak, self._memory())
                workers = list(self._scheduler.children())

    def _cpu(self) -> float:
        return sum(_cpu_seconds(process) for process in _tree(self._triggerer))

    def _memory(self) -> int:
        """Return the memory that the triggerer's processes have for themselves, in bytes."""
        total = 0
        for process in _tree(self._triggerer):
            with contextlib.suppress(psutil.NoSuchProcess):
                total += int(process.memory_full_info().uss)
        return total


def _count_busy(workers: Iterable[psutil.Process]) -> int:
    """Count the LocalExecutor's processes that run a task: they say so in their titles."""
    busy = 0
    for worker in workers:
        with contextlib.suppress(OSError):
            title = Path(f"/proc/{worker.pid}/cmdline").read_bytes().rstrip(b"\0 ")
            busy += title.startswith(_BUSY) and not title.endswith(b"<idle>")
    return busy
