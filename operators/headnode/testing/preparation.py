"""What lies in a private cluster's directory before its daemons start: settings, ports, keys, files, database."""

from __future__ import annotations

import contextlib
import getpass
import ipaddress
import os
import random
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from headnode.testing import cgroups, rendering
from headnode.testing.clocks import find_faketime
from headnode.testing.daemons import daemon_environment
from headnode.testing.errors import DaemonFailed, SettingsError
from headnode.testing.programs import session_path
from headnode.testing.settings import ClusterOptions, ClusterSettings, ClusterSize

# Below the range from which Linux takes the ports of outgoing connections.
PORTS = range(20000, 32000)
DIRECTORIES = ("bin", "gpu", "log", "munge", "run", "spool", "ssh", "state", "home", "database-tmp")


def settle(
    directory: Path,
    size: ClusterSize,
    options: ClusterOptions,
    *,
    listen_address: str,
    port: int | None,
    before: ClusterSettings | None,
) -> ClusterSettings:
    """Decide all settings; a cluster that was here ``before`` keeps its SSH port while that is free."""
    _check_address(listen_address)
    if port is not None and not is_free(port):
        raise SettingsError(f"port {port} is in use by another program; choose another one, or none")
    if port is None and before is not None and is_free(before.ssh_port):
        port = before.ssh_port
    ports = free_ports(size.nodes + 3, avoid=[port] if port else [])
    hostname = socket.gethostname().partition(".")[0]
    return ClusterSettings(
        directory=directory,
        size=size,
        user=getpass.getuser(),
        hostname=hostname,
        loopback=_loopback_of(socket.gethostname()),
        listen_address=listen_address,
        ssh_port=port or ports[0],
        slurmctld_port=ports[1],
        slurmdbd_port=ports[2],
        slurmd_ports=tuple(ports[3:]),
        session_path=session_path(),
        use_pam=_password_is_locked(),
        options=options,
        faketime_library=find_faketime() if options.clock_offset_seconds else None,
        uses_cgroups=options.enforce_memory and cgroups.usable(),
    )


def free_ports(count: int, *, avoid: Iterable[int] = ()) -> list[int]:
    """Pick free ports at random, so that clusters that start at the same moment hardly ever meet."""
    found: list[int] = []
    avoided = set(avoid)
    for port in random.sample(PORTS, len(PORTS)):
        if port not in avoided and is_free(port):
            found.append(port)
        if len(found) == count:
            return found
    raise SettingsError(f"no {count} free ports between {PORTS.start} and {PORTS.stop - 1}")


def is_free(port: int) -> bool:
    """Whether nobody listens on the port."""
    with socket.socket() as probe:
        # Connections of a stopped cluster that linger do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
        return True


def _check_address(listen_address: str) -> None:
    try:
        ipaddress.IPv4Address(listen_address)
    except ValueError as error:
        raise SettingsError(
            f"the address to listen on is {listen_address!r};"
            " give an IPv4 address such as 127.0.0.1, or 0.0.0.0 for all"
        ) from error


def _loopback_of(hostname: str) -> str | None:
    try:
        address = socket.gethostbyname(hostname)
    except OSError:
        return None
    return address if address.startswith("127.") else None


def _password_is_locked() -> bool:
    """Whether sshd without PAM would refuse this account, as some installers leave root's."""
    try:
        lines = Path("/etc/shadow").read_text().splitlines()
    except OSError:
        # Only root may read it, and an sshd that is not root cannot look there either.
        return False
    return any(line.startswith(f"{getpass.getuser()}:!") for line in lines)


def write_files(settings: ClusterSettings, programs: Mapping[str, str]) -> None:
    """Write every configuration file, and the keys that are not there yet."""
    d = settings.directory
    for name in DIRECTORIES:
        (d / name).mkdir(mode=0o700, exist_ok=True)
    for node in settings.size.node_names:
        (d / "spool" / node).mkdir(exist_ok=True)
    for number in range(settings.size.gpus_per_gpu_node):
        # Slurm wants a character device behind each GPU.
        with contextlib.suppress(FileExistsError):
            (d / "gpu" / f"nvidia{number}").symlink_to("/dev/null")
    write_private(d / "slurm.conf", rendering.render_slurm_conf(settings))
    write_private(d / "gres.conf", rendering.render_gres_conf(settings))
    write_private(d / "cgroup.conf", rendering.render_cgroup_conf(settings))
    if settings.uses_cgroups:
        cgroups.make(d / "cgroup", settings.cgroup_name)
    write_private(d / "slurmdbd.conf", rendering.render_slurmdbd_conf(settings))
    write_private(d / "my.cnf", rendering.render_my_cnf(settings))
    write_private(d / "sshd_config", rendering.render_sshd_config(settings))
    write_wrappers(settings, programs)
    _make_keys(settings, programs)


def write_wrappers(settings: ClusterSettings, programs: Mapping[str, str]) -> None:
    """Put the counting wrappers of Slurm's commands first in the PATH of SSH sessions."""
    for name in rendering.SLURM_COMMANDS:
        path = settings.directory / "bin" / name
        path.write_text(rendering.render_wrapper(settings, name, programs[name]))
        path.chmod(0o755)


def write_private(path: Path, text: str) -> None:
    """Write a file that its owner alone can read, from its first moment on."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def _make_keys(settings: ClusterSettings, programs: Mapping[str, str]) -> None:
    d = settings.directory
    for name in ("host_key", "user_key"):
        if not (d / "ssh" / name).exists():
            options = ("-q", "-t", "ed25519", "-N", "", "-C", f"headnode-{name}")
            _run([programs["ssh-keygen"], *options, "-f", f"{d}/ssh/{name}"], settings)
    if not (key := d / "munge" / "key").exists():
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o400)


def make_database(settings: ClusterSettings, programs: Mapping[str, str]) -> None:
    """Create MariaDB's own tables, unless they are there."""
    made = settings.directory / "mysql" / ".made"
    if made.exists():
        return
    # What a start that was interrupted here left is no database.
    shutil.rmtree(made.parent, ignore_errors=True)
    options = ("--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve")
    try:
        _run([programs["mariadb-install-db"], f"--defaults-file={settings.directory}/my.cnf", *options], settings)
    except DaemonFailed as error:
        log = settings.directory / "log" / "mariadbd.log"
        said = log.read_text(errors="replace")[-2000:] if log.exists() else "nothing"
        raise DaemonFailed(f"{error}\nMariaDB's own log says:\n{said}") from error
    made.touch()


def _run(argv: list[str], settings: ClusterSettings) -> None:
    done = subprocess.run(
        argv,
        # Carries the cluster's mark, so that what Ctrl-C leaves of it is found and ended.
        env=daemon_environment(settings),
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        name = Path(argv[0]).name
        raise DaemonFailed(f"{name} ended with exit code {done.returncode}:\n{done.stdout}{done.stderr}")
