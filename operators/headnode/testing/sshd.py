"""sshd servers configured as sites have them, beside the one of a private cluster.

A site's sshd differs in how it lets people in. ``SlurmCluster.sshd`` starts one more to the same Slurm::

    with slurm_cluster.sshd(SshdOptions(max_startups="2:50:5", banner="Go away")) as sshd:
        ...  # sshd.host, sshd.port, sshd.host_key, sshd.logins()

The second factor is that of the PAM module that sites use (Debian's ``libpam-google-authenticator``). PAM reads
``/etc/pam.d``, so that only root can start such a server.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

from headnode.testing.daemons import Daemon, answers, daemon_environment, ssh_host, wait_ready, wait_until
from headnode.testing.errors import SettingsError
from headnode.testing.preparation import free_ports, write_private
from headnode.testing.processes import ProcessTable, kill_processes
from headnode.testing.rendering import render_known_host, render_sshd_config
from headnode.testing.settings import ClusterSettings

_PAM: Final = Path("/etc/pam.d")
_LOGIN: Final = re.compile(r"\bAccepted \S+ for ")
_CONNECTION: Final = re.compile(r"^Connection from ", re.MULTILINE)
_DROPPED: Final = re.compile(r"drop connection|beginning MaxStartups throttling|past MaxStartups", re.IGNORECASE)
_REFUSED: Final = re.compile(r"^(?:Failed \S+ for|error: PAM: |Certificate invalid: )", re.MULTILINE)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SshdOptions:
    """How an sshd differs from the private cluster's own; the names are sshd_config's. None leaves sshd's default.

    ``trusted_ca`` is the public key of the authority (one line); with it no key is let in without a certificate,
    unless ``authorized_keys`` names a file. ``totp_secret`` (base32) makes keyboard-interactive ask for a code of
    ``totp_period_seconds``, each of which is good once; ``authentication_methods`` says what is needed beside it.
    ``listen_address`` and ``port`` are for login nodes that differ by their address alone, as those of a site do.
    ``more`` are further lines.
    """

    listen_address: str | None = None
    port: int | None = None

    max_startups: str | None = None
    max_sessions: int | None = None
    login_grace_seconds: int | None = None
    banner: str | None = None
    ciphers: str | None = None
    macs: str | None = None
    kex_algorithms: str | None = None
    host_key_type: Literal["ed25519", "rsa"] = "ed25519"
    host_key_algorithms: str | None = None
    pubkey_algorithms: str | None = None
    authorized_keys: Path | None = None
    trusted_ca: str | None = None
    authentication_methods: str | None = None
    totp_secret: str | None = None
    totp_prompt: str | None = None
    totp_period_seconds: int = 30
    more: tuple[str, ...] = ()


class PrivateSshd:
    """A running sshd. ``SlurmCluster.sshd`` starts it and ends it."""

    def __init__(self, settings: ClusterSettings, table: ProcessTable, *, name: str, options: SshdOptions) -> None:
        self._settings = settings
        self._table = table
        self.name = f"sshd-{name}"
        self.options = options
        self.host: str = options.listen_address or ssh_host(settings)
        self.port: int = options.port or free_ports(1)[0]
        self.user: str = settings.user
        self._folder = settings.directory / "ssh" / self.name
        self.log: Path = settings.directory / "log" / f"{self.name}.log"
        self._probes = 0

    @property
    def host_key(self) -> str:
        """``<type> <base64>``, as a connection's ``host_key`` extra takes it."""
        return " ".join((self._folder / "host_key.pub").read_text().split()[:2])

    @property
    def known_hosts(self) -> Path:
        """A known_hosts file that holds this server alone."""
        return self._folder / "known_hosts"

    def start(self) -> None:
        """Start it again after ``stop``; the host key stays."""
        d, programs = self._folder, {name: _program(name) for name in ("sshd", "ssh-keygen")}
        d.mkdir(mode=0o700, exist_ok=True)
        if not (d / "host_key").exists():
            kind = ("-t", self.options.host_key_type, *(("-b", "2048") if self.options.host_key_type == "rsa" else ()))
            make_key = [programs["ssh-keygen"], "-q", *kind, "-N", "", "-C", self.name, "-f", str(d / "host_key")]
            subprocess.run(make_key, check=True, capture_output=True)
        self.known_hosts.write_text(render_known_host(self.host, self.port, self.host_key))
        config = d / "sshd_config"
        config.write_text(render_site_sshd_config(self._settings, self.options, folder=d, port=self.port))
        program = programs["sshd"] if self.options.totp_secret is None else self._program_with_pam(programs["sshd"])
        daemon = Daemon(
            name=self.name,
            argv=(program, "-D", "-f", str(config), "-E", str(self.log)),
            log=self.log,
            ready=lambda: answers((self.host, self.port)),
        )
        output = self.log.with_suffix(".out")
        before = self.connections() + self._probes
        self._table.spawn(self.name, daemon.argv, env=daemon_environment(self._settings), output=output)
        wait_ready(self._table, daemon)
        # It notes the connection that asked whether it is up, a moment later.
        wait_until(lambda: len(_CONNECTION.findall(self.said())) > before, what=f"{self.name} notes a connection")
        self._probes = len(_CONNECTION.findall(self.said()))

    def forget(self) -> None:
        """Remove what an earlier one of the same name has left: its host key and its log."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self.log.unlink(missing_ok=True)

    def stop(self) -> None:
        """End the server and its sessions."""
        self._table.stop(self.name)
        self._pam_service.unlink(missing_ok=True)

    def end_sessions(self) -> None:
        """Break all connections; the server goes on."""
        found = self._table.descendants(self.name)
        kill_processes(found)

    def logins(self) -> int:
        """Return how many logins were accepted."""
        return len(_LOGIN.findall(self.said()))

    def connections(self) -> int:
        """Return how many connections were made since it was last started, whatever became of them."""
        return len(_CONNECTION.findall(self.said())) - self._probes

    def refusals(self) -> int:
        """Return how often credentials were refused."""
        return len(_REFUSED.findall(self.said()))

    def dropped(self) -> int:
        """Return how often the log speaks of connections that were dropped because of MaxStartups."""
        return len(_DROPPED.findall(self.said()))

    def said(self) -> str:
        """Return the server's log."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    @property
    def _pam_service(self) -> Path:
        return _PAM / f"headnode-{self.port}"

    def _program_with_pam(self, sshd: str) -> str:
        """Return a name of sshd by which PAM finds the service that asks for a code.

        sshd names the service after itself; from OpenSSH 9.8 on, PAMServiceName in sshd_config does.
        """
        secret = self._folder / "totp"
        lines = [self.options.totp_secret or "", '" DISALLOW_REUSE', '" TOTP_AUTH', '" WINDOW_SIZE 3']
        lines.insert(1, f'" STEP_SIZE {self.options.totp_period_seconds}')
        write_private(secret, "\n".join(lines) + "\n")
        prompt = f" [authtok_prompt={self.options.totp_prompt}]" if self.options.totp_prompt else ""
        module = f"pam_google_authenticator.so secret={secret} no_strict_owner user={self.user}{prompt}"
        try:
            self._pam_service.write_text(
                f"auth required {module}\naccount required pam_permit.so\nsession required pam_permit.so\n"
            )
        except OSError as error:
            raise SettingsError(
                f"an sshd that asks for a code needs a service of PAM, and {self._pam_service} can't be written"
                f" ({error.strerror}): run the test as root, and have libpam-google-authenticator installed"
            ) from error
        link = self._folder / self._pam_service.name
        link.unlink(missing_ok=True)
        link.symlink_to(sshd)
        return str(link)


def render_site_sshd_config(settings: ClusterSettings, options: SshdOptions, *, folder: Path, port: int) -> str:
    """Render sshd_config: the private cluster's own, with what differs."""
    lines = dict(line.split(" ", 1) for line in render_sshd_config(settings).splitlines())
    lines |= {"Port": str(port), "HostKey": f"{folder}/host_key", "PidFile": f"{folder}/own.pid"}
    given = {
        "ListenAddress": options.listen_address,
        "MaxStartups": options.max_startups,
        "MaxSessions": options.max_sessions,
        "LoginGraceTime": options.login_grace_seconds,
        "Ciphers": options.ciphers,
        "MACs": options.macs,
        "KexAlgorithms": options.kex_algorithms,
        "HostKeyAlgorithms": options.host_key_algorithms,
        "PubkeyAcceptedAlgorithms": options.pubkey_algorithms,
        "AuthorizedKeysFile": options.authorized_keys,
        "AuthenticationMethods": options.authentication_methods,
    }
    lines |= {name: str(value) for name, value in given.items() if value is not None}
    if options.banner is not None:
        lines["Banner"] = str(_written(folder / "banner", options.banner))
    if options.trusted_ca is not None:
        lines["TrustedUserCAKeys"] = str(_written(folder / "ca.pub", options.trusted_ca.strip() + "\n"))
        lines["AuthorizedKeysFile"] = str(options.authorized_keys or "none")
    if options.totp_secret is not None:
        lines |= {"UsePAM": "yes", "KbdInteractiveAuthentication": "yes", "PermitRootLogin": "yes"}
    return "".join(f"{name} {value}\n" for name, value in lines.items()) + "".join(f"{line}\n" for line in options.more)


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def _program(name: str) -> str:
    found = shutil.which(name, path="/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin")
    if found is None:
        raise SettingsError(f"{name} is not installed; on Debian: apt-get install openssh-server openssh-client")
    return found


@contextlib.contextmanager
def running_sshd(
    settings: ClusterSettings, table: ProcessTable, options: SshdOptions, *, name: str
) -> Iterator[PrivateSshd]:
    """Start an sshd, and end it with the block."""
    sshd = PrivateSshd(settings, table, name=name, options=options)
    sshd.forget()
    sshd.start()
    try:
        yield sshd
    finally:
        sshd.stop()
