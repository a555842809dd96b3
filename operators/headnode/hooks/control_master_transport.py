"""Workers' way over a connection that a person has opened by hand; see ``headnode.ssh.control_master``."""

from __future__ import annotations

import paramiko

from headnode.errors import TransferError
from headnode.hooks.paramiko_transport import ParamikoTransport
from headnode.ssh.control_master import run_over_master
from headnode.ssh.port import Answer, Command


class ControlMasterHookTransport(ParamikoTransport):
    """One process of ssh for each command, in place of a connection of its own."""

    def run(self, command: Command) -> Answer:
        """Run one command to its end.

        Raises:
            TransportError: a subclass that tells whether the command may have run.
        """
        return run_over_master(self.settings, command)

    def client(self) -> paramiko.SSHClient:
        """Refuse: there is no connection of this process's own.

        Raises:
            TransferError: always.
        """
        raise TransferError(
            f"files can't be moved by SFTP over the connection by hand that control_path of {self.settings.conn_id!r}"
            " names; install rsync on this machine and on the host"
        )
