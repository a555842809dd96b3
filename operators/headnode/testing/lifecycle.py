"""Bringing a private cluster up and down: order, waiting, and cleaning after failures and crashes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from headnode.testing import cgroups, clocks, preparation
from headnode.testing.daemons import Daemon, daemon_environment, describe_daemons, spawn, wait_ready
from headnode.testing.errors import DaemonFailed
from headnode.testing.processes import ProcessTable
from headnode.testing.rendering import cluster_mark
from headnode.testing.settings import CLUSTER_NAME, ClusterSettings

SETTINGS_FILE = "cluster.json"
NODES_SECONDS = 60.0
CANCEL_SECONDS = 8.0
# In the order in which they are ended; MariaDB and munge serve the others to the last.
ENDING_ORDER = ("sshd", "slurmctld", "slurmdbd", "mariadbd", "munged")


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Let one process at a time start or stop the cluster of a directory."""
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def read_settings(directory: Path) -> ClusterSettings | None:
    """Read the settings of the cluster that runs or ran here."""
    with contextlib.suppress(FileNotFoundError):
        return ClusterSettings.from_json((directory / SETTINGS_FILE).read_text())
    return None


def process_table(directory: Path, settings: ClusterSettings) -> ProcessTable:
    """Return the table of the cluster's processes."""
    return ProcessTable(directory / "run", cluster_mark(settings))


def bring_up(settings: ClusterSettings, programs: Mapping[str, str]) -> None:
    """Write the files and start everything; on failure and on Ctrl-C stop what was started."""
    d = settings.directory
    preparation.write_files(settings, programs)
    preparation.write_private(d / SETTINGS_FILE, settings.to_json())
    table = process_table(d, settings)
    daemons = describe_daemons(settings, programs)
    try:
        _start_all(table, daemons, settings, programs)
    except BaseException:
        bring_down(settings, cancel_with=None)
        raise


def _start_all(
    table: ProcessTable, daemons: Mapping[str, Daemon], settings: ClusterSettings, programs: Mapping[str, str]
) -> None:
    if os.getuid() == 0:
        # sshd of root insists on this directory for its unprivileged half; the service unit makes it elsewhere.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    for name in ("munged", "sshd"):
        spawn(table, daemons[name], settings)
    if settings.options.accounting:
        preparation.make_database(settings, programs)
    for name in ("munged", "sshd"):
        wait_ready(table, daemons[name])
    if settings.options.accounting:
        for name, needed in (("mariadbd", ()), ("slurmdbd", ("munged", "mariadbd"))):
            spawn(table, daemons[name], settings)
            wait_ready(table, daemons[name], needed=[daemons[other] for other in needed])
        _register_cluster(settings, programs)
    nodes = [daemon for name, daemon in daemons.items() if name.startswith("slurmd.")]
    for daemon in (daemons["slurmctld"], *nodes):
        spawn(table, daemon, settings)
    for daemon in (daemons["slurmctld"], *nodes):
        wait_ready(table, daemon)
    _wait_for_nodes(settings, programs)


def start_daemon(table: ProcessTable, daemon: Daemon, settings: ClusterSettings) -> None:
    """Start one daemon, unless it runs, and wait until it answers."""
    if not table.alive(daemon.name):
        spawn(table, daemon, settings)
    wait_ready(table, daemon)


def _register_cluster(settings: ClusterSettings, programs: Mapping[str, str]) -> None:
    """Make the cluster known to slurmdbd; slurmctld must find it there at its first start."""
    sacctmgr = programs["sacctmgr"]
    known = ask(settings, sacctmgr, "-nP", "list", "cluster", "format=cluster").split()
    if CLUSTER_NAME not in known:
        ask(settings, sacctmgr, "-i", "add", "cluster", CLUSTER_NAME)


def _wait_for_nodes(settings: ClusterSettings, programs: Mapping[str, str]) -> None:
    """Wait until slurmctld has heard from every node."""
    deadline = time.monotonic() + NODES_SECONDS
    while True:
        states = ask(settings, programs["sinfo"], "-h", "-N", "-p", "batch", "-o", "%T").split()
        if len(states) == settings.size.nodes and all(state in {"idle", "mixed", "allocated"} for state in states):
            return
        if time.monotonic() > deadline:
            raise DaemonFailed(
                f"after {NODES_SECONDS:.0f} s the nodes are {', '.join(states)} instead of idle;"
                f" see {settings.directory}/log/slurmctld.log and slurmd.*.log there"
            )
        time.sleep(0.05)


def ask(settings: ClusterSettings, *argv: str) -> str:
    """Run one of Slurm's administration commands while the cluster starts; raise with what it said."""
    done = subprocess.run(argv, env=daemon_environment(settings), capture_output=True, text=True, check=False)
    if done.returncode:
        raise DaemonFailed(
            f"{' '.join(argv)} ended with exit code {done.returncode} while the cluster started:"
            f" {done.stdout}{done.stderr}"
        )
    return done.stdout


def bring_down(settings: ClusterSettings, *, cancel_with: Mapping[str, str] | None) -> None:
    """Cancel all jobs where slurmctld lives, end every daemon, and whatever is left of jobs and SSH sessions."""
    table = process_table(settings.directory, settings)
    with _undisturbed():
        if cancel_with is not None and table.alive("slurmctld") and table.alive("munged"):
            _cancel_jobs(settings, cancel_with)
        nodes = [name for name in table.names() if name.startswith("slurmd.")]
        for group in (nodes, *([name] for name in ENDING_ORDER)):
            table.stop(*group)
        table.stop_marked()
        if settings.uses_cgroups:
            cgroups.remove(settings.cgroup_name)
        if settings.faketime_library is not None:
            clocks.remove_traces()
        for stale in (settings.munge_socket, settings.mysql_socket):
            stale.unlink(missing_ok=True)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Put off Ctrl-C: whoever presses it twice shall not keep half a cluster."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _cancel_jobs(settings: ClusterSettings, programs: Mapping[str, str]) -> None:
    """Give jobs the time to hear of their end and accounting the time to note it; never fail over it."""
    environment = daemon_environment(settings)
    deadline = time.monotonic() + CANCEL_SECONDS
    with contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(
            [programs["scancel"], "-u", settings.user],
            env=environment,
            capture_output=True,
            check=False,
            timeout=CANCEL_SECONDS,
        )
        while time.monotonic() < deadline:
            left = subprocess.run(
                [programs["squeue"], "-h"],
                env=environment,
                capture_output=True,
                check=False,
                timeout=CANCEL_SECONDS,
            )
            if not left.stdout.strip():
                return
            time.sleep(0.1)
