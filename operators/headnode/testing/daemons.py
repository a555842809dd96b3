"""The daemons of a private cluster: how each is started, and how it shows that it is ready."""

from __future__ import annotations

import dataclasses
import os
import pwd
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from headnode.testing.errors import DaemonFailed
from headnode.testing.processes import ProcessTable
from headnode.testing.programs import SYSTEM_PATH
from headnode.testing.rendering import cluster_mark, moved_clock
from headnode.testing.settings import ClusterSettings

READY_SECONDS = 60.0
LOG_LINES = 15


@dataclasses.dataclass(frozen=True, kw_only=True)
class Daemon:
    """One daemon. ``ready`` is asked again and again while the daemon lives."""

    name: str
    argv: tuple[str, ...]
    log: Path
    ready: Callable[[], bool]


def describe_daemons(settings: ClusterSettings, programs: Mapping[str, str]) -> dict[str, Daemon]:
    """Describe all daemons, in the order in which they need each other."""
    return {daemon.name: daemon for daemon in _daemons(settings, programs)}


def _daemons(settings: ClusterSettings, programs: Mapping[str, str]) -> Iterator[Daemon]:
    d = settings.directory

    def daemon(name: str, ready: Callable[[], bool], *argv: str) -> Daemon:
        program = programs[name.partition(".")[0]]
        return Daemon(name=name, argv=(program, *argv), log=d / "log" / f"{name}.log", ready=ready)

    yield daemon(
        "munged",
        lambda: answers(str(settings.munge_socket)),
        *("--foreground", "--force", f"--key-file={d}/munge/key", f"--socket={settings.munge_socket}"),
        *(f"--pid-file={d}/munge/pid", f"--log-file={d}/log/munged.log", f"--seed-file={d}/munge/seed"),
    )
    yield daemon(
        "sshd",
        lambda: answers((ssh_host(settings), settings.ssh_port)),
        *("-D", "-f", f"{d}/sshd_config", "-E", f"{d}/log/sshd.log"),
    )
    if settings.options.accounting:
        yield daemon("mariadbd", lambda: answers(str(settings.mysql_socket)), f"--defaults-file={d}/my.cnf")
        yield daemon("slurmdbd", lambda: answers((settings.slurm_address, settings.slurmdbd_port)), "-D")
    yield daemon("slurmctld", lambda: answers((settings.slurm_address, settings.slurmctld_port)), "-D")
    for node, port in zip(settings.size.node_names, settings.slurmd_ports, strict=True):
        yield daemon(
            f"slurmd.{node}",
            lambda port=port: answers((settings.slurm_address, port)),  # type: ignore[misc]
            *("-D", "-N", node, "-f", str(settings.slurm_conf)),
        )


def ssh_host(settings: ClusterSettings) -> str:
    """Return the address at which this machine reaches the cluster's sshd."""
    return "127.0.0.1" if settings.listen_address == "0.0.0.0" else settings.listen_address  # nosec B104  # noqa: S104


def daemon_environment(settings: ClusterSettings) -> dict[str, str]:
    """Build a daemon's environment from nothing, so that no secret of the caller's reaches a job."""
    account = pwd.getpwuid(os.getuid())
    return {
        "PATH": SYSTEM_PATH,
        "HOME": account.pw_dir,
        "USER": account.pw_name,
        "LOGNAME": account.pw_name,
        "SHELL": account.pw_shell or "/bin/sh",
        "LANG": "C.UTF-8",
        "SLURM_CONF": str(settings.slurm_conf),
        "MYSQL_UNIX_PORT": str(settings.mysql_socket),
        **cluster_mark(settings),
        **moved_clock(settings),
        **({"TZ": os.environ["TZ"]} if "TZ" in os.environ else {}),
    }


def spawn(table: ProcessTable, daemon: Daemon, settings: ClusterSettings) -> None:
    """Start a daemon without waiting for it."""
    output = daemon.log.with_suffix(".out")
    table.spawn(daemon.name, daemon.argv, env=daemon_environment(settings), output=output)


def wait_ready(table: ProcessTable, daemon: Daemon, *, needed: Iterable[Daemon] = ()) -> None:
    """Wait until the daemon answers; if it or one that it needs ends, raise with the end of that one's log."""
    deadline = time.monotonic() + READY_SECONDS
    while True:
        # Asked before the daemon's life is looked at: another program may have its port.
        ready = daemon.ready()
        for other in (daemon, *needed):
            if not table.alive(other.name):
                raise DaemonFailed(f"{other.name} ended while the cluster started.\n{log_tail(other)}")
        if ready:
            return
        if time.monotonic() > deadline:
            raise DaemonFailed(f"{daemon.name} did not answer in {READY_SECONDS:.0f} s.\n{log_tail(daemon)}")
        time.sleep(0.02)


def wait_until(condition: Callable[[], bool], *, what: str) -> None:
    """Wait for something that a daemon was told to do.

    Raises:
        DaemonFailed: it did not do it in time.
    """
    deadline = time.monotonic() + READY_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise DaemonFailed(f"not within {READY_SECONDS:.0f} s: {what}")
        time.sleep(0.02)


def log_tail(daemon: Daemon) -> str:
    """Return the last lines of a daemon's log and of what it printed."""
    logs = [path for path in (daemon.log, daemon.log.with_suffix(".out")) if path.exists()]
    ends = {path: path.read_text(errors="replace").splitlines()[-LOG_LINES:] for path in logs}
    parts = ["\n".join([f"The end of {path}:", *lines]) for path, lines in ends.items() if lines]
    return "\n".join(parts) or f"It logged nothing in {daemon.log}."


def answers(address: str | tuple[str, int]) -> bool:
    """Whether somebody listens at the address, a path or a host and port."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        return probe.connect_ex(address) == 0
