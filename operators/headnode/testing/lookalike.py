"""``SiteLookalike``: a slurmctld with a site's partitions, nodes and rules, to ask whether it would take a script."""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import secrets
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from headnode.sites.system import System
from headnode.testing.daemons import Daemon, answers, wait_ready, wait_until
from headnode.testing.errors import PrivateClusterError
from headnode.testing.lookalike_rendering import render_lookalike_conf, render_lookalike_policy
from headnode.testing.processes import ProcessTable
from headnode.testing.programs import SYSTEM_PATH, find_programs

_KEY_BYTES: Final = 1024
# sbatch asks accounting where another cluster is, and there is none here.
_CLUSTERS = re.compile(r"^#SBATCH --clusters=.*\n", re.MULTILINE)


class ScriptRefused(PrivateClusterError):
    """The site's lookalike would not take the script."""


class SiteLookalike:
    """One slurmctld, without nodes and accounting, that is made like one site after the other.

    Make one with ``running_lookalike``. It knows the site's partitions, limits, usable cores, GPUs, memory and
    features, and whether an account and a QOS are given; not whether they exist. ``-M`` is not looked at.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._programs = find_programs()
        self._mark: Mapping[str, str] = {"HEADNODE_PRIVATE_CLUSTER": str(directory)}
        self._table = ProcessTable(directory / "run", self._mark)
        self._socket = directory / "munge" / "sock"
        self._conf = directory / "slurm.conf"
        for name in ("munge", "run", "log", "state"):
            (directory / name).mkdir(mode=0o700, exist_ok=True)

    def become(self, system: System) -> None:
        """Take on the partitions, nodes and rules of a site; takes a fraction of a second."""
        self._table.stop("slurmctld")
        host, port = socket.gethostname().partition(".")[0], _free_port()
        text = render_lookalike_conf(
            system,
            directory=self._directory,
            munge_socket=self._socket,
            host=host,
            user=getpass.getuser(),
            port=port,
        )
        self._conf.write_text(text)
        (self._directory / "job_submit.lua").write_text(render_lookalike_policy(system))
        self._start("slurmctld", lambda: answers(("127.0.0.1", port)), "-D", "-c")
        wait_until(lambda: self._run("scontrol", "ping").returncode == 0, what="slurmctld answered")

    def check(self, script: str) -> str:
        """Return what sbatch says of a script that would be taken (when and where the job would start).

        Raises:
            ScriptRefused: it would not be taken; the message has the reason.
        """
        done = self._run("sbatch", "--test-only", text=_CLUSTERS.sub("", script))
        if done.returncode:
            raise ScriptRefused(done.stderr.strip())
        return done.stderr.strip()

    def start(self) -> None:
        """Start munge, which slurmctld and sbatch know each other by."""
        key = self._directory / "munge" / "key"
        key.write_bytes(secrets.token_bytes(_KEY_BYTES))
        key.chmod(0o400)
        d = self._directory
        files = (f"--key-file={key}", f"--socket={self._socket}", f"--pid-file={d}/munge/pid")
        logs = (f"--log-file={d}/log/munged.log", f"--seed-file={d}/munge/seed")
        self._start("munged", lambda: answers(str(self._socket)), "--foreground", "--force", *files, *logs)

    def stop(self) -> None:
        """End what was started."""
        self._table.stop("slurmctld")
        self._table.stop("munged")

    def _start(self, name: str, ready: Callable[[], bool], *options: str) -> None:
        log = self._directory / "log" / f"{name}.log"
        daemon = Daemon(name=name, argv=(self._programs[name], *options), log=log, ready=ready)
        self._table.spawn(name, daemon.argv, env=self._environment(), output=log.with_suffix(".out"))
        wait_ready(self._table, daemon)

    def _run(self, name: str, *options: str, text: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self._programs[name], *options],
            input=text,
            env=self._environment(),
            capture_output=True,
            text=True,
            check=False,
        )

    def _environment(self) -> dict[str, str]:
        account = {name: os.environ[name] for name in ("HOME", "USER", "LOGNAME") if name in os.environ}
        return {**account, "PATH": SYSTEM_PATH, "LANG": "C.UTF-8", "SLURM_CONF": str(self._conf), **self._mark}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def running_lookalike() -> Iterator[SiteLookalike]:
    """Start one in a directory of its own; it ends with the block."""
    with tempfile.TemporaryDirectory(prefix="headnode-", dir="/tmp") as directory:  # nosec B108  # mkdtemp makes it private
        lookalike = SiteLookalike(Path(directory))
        try:
            lookalike.start()
            yield lookalike
        finally:
            lookalike.stop()
