"""``SlurmCluster``: one private, real Slurm cluster with sshd on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from headnode.testing import lifecycle, preparation, rendering
from headnode.testing.daemons import describe_daemons, ssh_host, wait_until
from headnode.testing.errors import NotRunning, SettingsError
from headnode.testing.nodes import node_processes
from headnode.testing.programs import SYSTEM_PATH, find_programs
from headnode.testing.proxy import SshProxy
from headnode.testing.settings import ClusterOptions, ClusterSettings, ClusterSize, check_directory
from headnode.testing.sshd import PrivateSshd, SshdOptions, running_sshd

_LOGIN = re.compile(r"\bAccepted publickey for ")
_CALL = re.compile(rf"^\d+\t({'|'.join(rendering.SLURM_COMMANDS)})\t", re.MULTILINE)


class SlurmCluster:
    """A running private cluster. Make one with ``start``, find one with ``attach``."""

    def __init__(self, settings: ClusterSettings) -> None:
        self._settings = settings
        self._programs = find_programs()
        self._table = lifecycle.process_table(settings.directory, settings)
        self.directory: Path = settings.directory
        self.host: str = ssh_host(settings)
        self.port: int = settings.ssh_port
        self.user: str = settings.user
        self.slurm_conf: Path = settings.slurm_conf
        self.keeps_accounting: bool = settings.options.accounting
        #: Whether a job that takes too much memory ends as OUT_OF_MEMORY; see ``ClusterOptions.enforce_memory``.
        self.says_out_of_memory: bool = settings.uses_cgroups
        self.key_file: Path = settings.directory / "ssh" / "user_key"
        self.known_hosts: Path = settings.directory / "ssh" / "known_hosts"
        #: Seconds since the epoch.
        self.started_at: float = (settings.directory / lifecycle.SETTINGS_FILE).stat().st_mtime
        kind, key = (settings.directory / "ssh" / "host_key.pub").read_text().split()[:2]
        self.host_key: str = f"{kind} {key}"

    @classmethod
    def start(
        cls,
        directory: Path,
        *,
        nodes: int = 4,
        cpus_per_node: int = 16,
        memory_mb_per_node: int = 8000,
        gpus_per_gpu_node: int = 2,
        options: ClusterOptions | None = None,
        listen_address: str = "127.0.0.1",
        port: int | None = None,
    ) -> Self:
        """Start a cluster in the directory and wait until its nodes are idle; one that runs there is returned.

        Accounting, job ids and keys of an earlier cluster in the directory are kept.
        """
        size = ClusterSize(
            nodes=nodes,
            cpus_per_node=cpus_per_node,
            memory_mb_per_node=memory_mb_per_node,
            gpus_per_gpu_node=gpus_per_gpu_node,
        )
        programs = find_programs()
        directory = check_directory(directory)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with lifecycle.locked(directory):
            before = lifecycle.read_settings(directory)
            if before is not None:
                if _is_whole(before):
                    return cls(before)
                lifecycle.bring_down(before, cancel_with=programs)
            settings = preparation.settle(
                directory,
                size,
                options or ClusterOptions(),
                listen_address=listen_address,
                port=port,
                before=before,
            )
            lifecycle.bring_up(settings, programs)
            cluster = cls(settings)
            line = rendering.render_known_host(cluster.host, cluster.port, cluster.host_key)
            cluster.known_hosts.write_text(line)
            return cluster

    @classmethod
    def attach(cls, directory: Path) -> Self:
        """Return the cluster that runs in the directory, or raise ``NotRunning``.

        slurmctld, slurmdbd and sshd may be stopped at the moment: outages are something to test.
        """
        directory = directory.expanduser().resolve()
        settings = lifecycle.read_settings(directory)
        if settings is None or not lifecycle.process_table(directory, settings).alive("munged"):
            raise NotRunning(
                f"no private cluster runs in {directory}; start one with: headnode devcluster up --dir {directory}"
            )
        return cls(settings)

    def stop(self) -> None:
        """Cancel all jobs and end every process of the cluster. The directory stays."""
        with lifecycle.locked(self.directory):
            lifecycle.bring_down(self._settings, cancel_with=self._programs)

    def dead_daemons(self) -> list[str]:
        """Return the names of daemons that do not run."""
        return [name for name in describe_daemons(self._settings, self._programs) if not self._table.alive(name)]

    def run(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a Slurm client command on this machine, past SSH and past the counting wrappers."""
        program = self._programs.get(argv[0], argv[0])
        outer = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_"))}
        environment = outer | rendering.session_environment(self._settings) | {"PATH": SYSTEM_PATH}
        done = subprocess.run(
            [program, *argv[1:]],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if check and done.returncode:
            failure = subprocess.CalledProcessError(done.returncode, argv, done.stdout, done.stderr)
            failure.add_note(done.stderr)
            raise failure
        return done

    def logins(self) -> int:
        """Count the SSH logins so far, from sshd's log."""
        log = self.directory / "log" / "sshd.log"
        return len(_LOGIN.findall(log.read_text(errors="replace"))) if log.exists() else 0

    def count_calls(self) -> dict[str, int]:
        """Count the calls of Slurm's commands from SSH sessions so far (those inside jobs do not count)."""
        log = self.directory / "calls.log"
        calls = Counter(_CALL.findall(log.read_text(errors="replace")) if log.exists() else ())
        return {name: calls[name] for name in rendering.SLURM_COMMANDS}

    def restore_commands(self) -> None:
        """Take back whatever a test put in place of Slurm's commands in ``<directory>/bin``."""
        preparation.write_wrappers(self._settings, self._programs)

    def connection_extra(self) -> dict[str, Any]:
        """Return the ``extra`` of an Airflow connection to the cluster."""
        # Nobody else uses this host; what a real one bears is not enough for many short tests.
        budget = {"logins_per_minute": 6000, "concurrent_logins": 6}
        return {"key_file": str(self.key_file), "host_key": self.host_key, **budget}

    def airflow_connection_json(self, conn_type: str = "ssh", *, port: int | None = None, **extra: Any) -> str:
        """Return the value of an environment variable ``AIRFLOW_CONN_<ID>``.

        ``port`` is that of an ``SshProxy`` instead of sshd's own; ``extra`` goes into the connection's extra.
        """
        return json.dumps(
            {
                "conn_type": conn_type,
                "host": self.host,
                "port": port or self.port,
                "login": self.user,
                "extra": self.connection_extra() | extra,
            }
        )

    def proxy(self) -> SshProxy:
        """Return a TCP proxy to stand before sshd, to be used as a context manager."""
        return SshProxy(host=self.host, port=self.port)

    @contextlib.contextmanager
    def sshd(self, options: SshdOptions | None = None, *, name: str = "site") -> Iterator[PrivateSshd]:
        """Start one more sshd, configured as a site's is, to the same cluster; it ends with the block.

        Those that run at the same time have different names.
        """
        with running_sshd(self._settings, self._table, options or SshdOptions(), name=name) as sshd:
            yield sshd

    def ssh_command(self) -> list[str]:
        """Return the words of a command line that logs in."""
        options = ("-o", f"UserKnownHostsFile={self.known_hosts}", "-o", "IdentitiesOnly=yes")
        return ["ssh", "-i", str(self.key_file), "-p", str(self.port), *options, f"{self.user}@{self.host}"]

    def start_sshd(self) -> None:
        """End an outage of sshd."""
        self._start("sshd")

    def stop_sshd(self) -> None:
        """Begin an outage of sshd: refuse new logins and drop the sessions there are."""
        self._table.stop("sshd")

    @contextlib.contextmanager
    def sshd_options(self, *lines: str) -> Iterator[None]:
        """Give new SSH sessions further lines of sshd_config; those that are open keep what they have."""
        config = self.directory / "sshd_config"
        before = config.read_text()
        config.write_text(before + "\n".join(lines) + "\n")
        self._reload_sshd()
        try:
            yield
        finally:
            config.write_text(before)
            self._reload_sshd()

    def _reload_sshd(self) -> None:
        """Let sshd read its file again; it listens to nobody for a moment."""
        log = self.directory / "log" / "sshd.log"
        listened = log.read_text().count("Server listening on")
        self._table.signal("sshd", signal.SIGHUP)
        wait_until(lambda: log.read_text().count("Server listening on") > listened, what="sshd read its file again")

    def start_slurmctld(self) -> None:
        """End an outage of slurmctld."""
        self._start("slurmctld")

    def stop_slurmctld(self) -> None:
        """Begin an outage of slurmctld; running jobs go on."""
        self._table.stop("slurmctld")

    def start_slurmdbd(self) -> None:
        """End an outage of slurmdbd."""
        self._start("slurmdbd")

    def stop_slurmdbd(self) -> None:
        """Begin an outage of slurmdbd: sacct fails, squeue goes on."""
        self._table.stop("slurmdbd")

    def stop_node(self, node: str) -> None:
        """Kill a node at once: its slurmd, and its jobs with all their processes.

        slurmctld finds it down after ``slurmd_timeout_seconds`` (``ClusterOptions``).
        """
        self._check_node(node)
        self._table.kill(f"slurmd.{node}", also=node_processes(self._settings, node))

    def start_node(self, node: str) -> None:
        """Bring a killed node back; slurmctld takes it into service by itself."""
        self._check_node(node)
        self._start(f"slurmd.{node}")

    def _check_node(self, node: str) -> None:
        if node not in self._settings.size.node_names:
            raise SettingsError(f"there is no node {node!r}, only {', '.join(self._settings.size.node_names)}")

    def _start(self, name: str) -> None:
        daemon = describe_daemons(self._settings, self._programs)[name]
        lifecycle.start_daemon(self._table, daemon, self._settings)


def _is_whole(settings: ClusterSettings) -> bool:
    table = lifecycle.process_table(settings.directory, settings)
    return all(table.alive(name) for name in describe_daemons(settings, find_programs()))
