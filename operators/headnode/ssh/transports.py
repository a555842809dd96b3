"""The async adapter of the port that a connection needs."""

from __future__ import annotations

from headnode.ssh.asyncssh_transport import AsyncSSHTransport
from headnode.ssh.control_master import ControlMasterTransport
from headnode.ssh.settings import SSHSettings


def transport_to(settings: SSHSettings, *, forced: bool = False) -> AsyncSSHTransport | ControlMasterTransport:
    """Return a connection that is opened when it is needed; ``forced`` offers also what was refused before."""
    if settings.control_path is not None:
        return ControlMasterTransport(settings)
    return AsyncSSHTransport(settings, forced=forced)
