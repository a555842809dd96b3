"""The SSH provider's hook with headnode's way of logging in: what uses paramiko goes through it."""

from __future__ import annotations

import threading

import paramiko
from airflow.providers.ssh.hooks.ssh import SSHHook

from headnode.errors import TransportError
from headnode.hooks.paramiko_login import open_client
from headnode.ssh.login import log_in
from headnode.ssh.renewal import log_in_renewing
from headnode.ssh.settings import SSHSettings


class ClusterSSHHook(SSHHook):
    """An ``SSHHook`` for everything in the SSH and SFTP providers that takes one.

    The provider's own login does neither certificates nor codes nor jump hosts, and knows no budget; this one is
    headnode's, with every way in of the connection, its host keys, its budget and its login hosts. The connection is
    opened when it is asked for, and again after it broke.

    :param settings: those of the Airflow connection
    :param forced: offer also credentials that were refused before, since a person has asked for it
    """

    def __init__(self, settings: SSHSettings, *, forced: bool = False) -> None:
        super().__init__(
            remote_host=settings.host,
            username=settings.username,
            port=settings.port,
            conn_timeout=max(1, round(settings.connect_timeout_seconds)),
            keepalive_interval=max(1, round(settings.keepalive_seconds)),
            ciphers=list(settings.ciphers) or None,
            disabled_algorithms={kind: list(names) for kind, names in settings.disabled_algorithms} or None,
            conn_retry_attempts=1,  # whoever asks decides whether to try again
        )
        # The provider has read ~/.ssh/config by now, but where a connection leads, its own extras alone say.
        self.host_proxy_cmd = settings.host_proxy_cmd
        self.settings = settings
        self.logins = 0
        self._forced = forced
        self._connecting = threading.Lock()
        self._at = settings

    @property
    def at(self) -> SSHSettings:
        """The settings of the host where the connection leads, one of ``settings.hosts``."""
        return self._at

    def get_conn(self) -> paramiko.SSHClient:
        """Return the open connection; threads that ask at the same time share one login.

        Raises:
            TransportError: no connection could be made.
        """
        if self.settings.control_path is not None:
            raise TransportError(
                f"connection {self.settings.conn_id!r} goes over a connection that a person has opened by hand"
                " (control_path), which the SSH provider's hook can't use"
            )
        with self._connecting:
            if self.client is not None:
                transport = self.client.get_transport()
                if transport is not None and transport.is_active():
                    return self.client
            settings = self.settings
            self.client = log_in_renewing(settings, lambda: log_in(settings, self._login, forced=self._forced))
            self.logins += 1
            return self.client

    def close(self) -> None:
        """Close the connection, if one is open."""
        client, self.client = self.client, None
        if client is not None:
            client.close()

    def _login(self, settings: SSHSettings) -> paramiko.SSHClient:
        client = open_client(settings)
        self._at = settings
        return client
