"""A certificate authority for tests of sites that let people in by certificates only."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from headnode.testing.errors import SettingsError


class CertificateAuthority:
    """An authority, and a key with the certificate that it gives out.

    ``SshdOptions(trusted_ca=authority.public_key)`` lets in who has a certificate of it.
    """

    def __init__(self, directory: Path, *, user: str) -> None:
        self.user = user
        self.directory = directory
        self.key_file = directory / "id"
        #: Where ssh looks for the certificate of ``key_file``.
        self.certificate_file = directory / "id-cert.pub"
        self._ca = directory / "ca"
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in (self._ca, self.key_file):
            if not path.exists():
                _run("-t", "ed25519", "-N", "", "-f", str(path))

    @property
    def public_key(self) -> str:
        """The authority's public key, one line."""
        return self._ca.with_suffix(".pub").read_text()

    def certify(self, *, seconds: float = 3600, user: str | None = None) -> None:
        """Certify the key for so many seconds from now (less than 0: its time is over), in place of what was before."""
        _run(*self.certify_command(seconds=seconds, user=user)[1:])

    def certify_command(self, *, seconds: float = 3600, user: str | None = None) -> list[str]:
        """Return the words of a command that does so, as a ``credential_command``."""
        end = f"+{seconds:.0f}s" if seconds > 0 else f"-{-seconds:.0f}s"
        names = ("-I", "test", "-n", user or self.user)
        public = str(self.key_file.with_suffix(".pub"))
        return [_ssh_keygen(), "-q", "-s", str(self._ca), *names, "-V", f"-1d:{end}", public]


def _run(*arguments: str) -> None:
    subprocess.run([_ssh_keygen(), *arguments], check=True, capture_output=True, stdin=subprocess.DEVNULL)


def _ssh_keygen() -> str:
    found = shutil.which("ssh-keygen")
    if found is None:
        raise SettingsError("ssh-keygen is not installed; on Debian: apt-get install openssh-client")
    return found
