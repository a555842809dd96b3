"""The port's second adapter: the SSH provider's hook (paramiko), for workers, notebooks and the command line."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Final

import paramiko

from headnode.errors import CommandTimedOut, ConnectionLost, HostUnreachable
from headnode.hooks.cluster_ssh import ClusterSSHHook
from headnode.ssh.failover import CurrentHost, closed_to_all
from headnode.ssh.login import in_flight
from headnode.ssh.port import Answer, Command, command_line
from headnode.ssh.sessions import next_pause
from headnode.ssh.settings import SSHSettings

_LOG: Final = logging.getLogger("headnode.ssh")
_CHUNK: Final = 32 * 1024


class ParamikoTransport:
    """A connection that is opened at the first command and opened again after it broke."""

    def __init__(self, settings: SSHSettings, *, forced: bool = False) -> None:
        """Take the settings; ``forced`` offers also credentials that were refused before: a person has asked for it."""
        self.settings = settings
        self.hook = ClusterSSHHook(settings, forced=forced)

    @property
    def logins(self) -> int:
        """How often it has logged in."""
        return self.hook.logins

    @property
    def host(self) -> str:
        """The host's name, for messages."""
        return self.hook.at.host

    @property
    def at(self) -> SSHSettings:
        """The settings of the host where the connection leads, one of ``settings.hosts``."""
        return self.hook.at

    def run(self, command: Command) -> Answer:
        """Run one command to its end.

        Raises:
            TransportError: a subclass that tells whether the command may have run.
        """
        where = f"{command.purpose} on {self.host}"
        client = self.hook.get_conn()
        try:
            with in_flight(self.at):
                answer = _run_on(client, command, where, command_line(command, self.settings.slurm_path))
        except TimeoutError as error:
            raise CommandTimedOut(f"{where}: no answer within {command.timeout_seconds:g} s") from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            self.close()
            raise ConnectionLost(f"{where}: the SSH connection broke ({error})") from error
        if (said := closed_to_all(answer)) is not None:
            self.close()
            CurrentHost(self.settings).fails(self.host)
            raise HostUnreachable(f"{where}: the host lets nobody in at present: {said!r}")
        return answer

    def client(self) -> paramiko.SSHClient:
        """Return the open connection itself, for files and streams, which the port does not know.

        Raises:
            TransportError: no connection could be made.
        """
        return self.hook.get_conn()

    def close(self) -> None:
        """Close the connection, if one is open."""
        self.hook.close()


def open_session(client: paramiko.SSHClient, where: str, timeout_seconds: float) -> paramiko.Channel:
    """Open a session; where the host opens no more of them at a time (MaxSessions), wait until others have ended.

    Raises:
        HostUnreachable: it opened none in time; nothing was sent.
        paramiko.SSHException: the connection broke.
    """
    transport = client.get_transport()
    if transport is None:
        raise paramiko.SSHException("the connection is closed")
    began, pause = time.monotonic(), 0.0
    while True:
        try:
            return transport.open_session(timeout=timeout_seconds)
        except paramiko.SSHException as error:
            # Where several threads are refused at a time, paramiko gives its reason to one of them only.
            if not isinstance(error, paramiko.ChannelException) and str(error) != "Unable to open channel.":
                raise
            if not transport.is_active():
                raise
            refused = f"{where}: the host opened no further session ({error})"
            if time.monotonic() > began + timeout_seconds:
                raise HostUnreachable(refused) from error
        if pause:
            _LOG.info("waiting for a session: %s", refused)
        pause = next_pause(pause)
        time.sleep(pause)


def _run_on(client: paramiko.SSHClient, command: Command, where: str, line: str) -> Answer:
    channel = open_session(client, where, command.timeout_seconds)
    deadline = time.monotonic() + command.timeout_seconds
    # Both streams are read while standard input is sent: a command that fills one of them waits until it is read.
    with ThreadPoolExecutor(2, thread_name_prefix="headnode-ssh") as readers:
        try:
            channel.exec_command(line.encode())  # nosec B601  # whoever made the command has quoted it
            stdout, stderr = (readers.submit(_read, receive) for receive in (channel.recv, channel.recv_stderr))
            _send(channel, command.stdin, deadline)
            if not channel.status_event.wait(max(0.0, deadline - time.monotonic())):
                raise TimeoutError
            _, late = wait((stdout, stderr), max(0.0, deadline - time.monotonic()))
            if late:
                raise TimeoutError
        finally:
            channel.close()  # which ends the readers, too
    if channel.exit_status < 0:
        raise paramiko.SSHException("it ended before the command did")
    return Answer(stdout=stdout.result(), stderr=stderr.result(), exit_status=channel.exit_status)


def _send(channel: paramiko.Channel, stdin: bytes, deadline: float) -> None:
    try:
        while stdin:
            channel.settimeout(max(0.001, deadline - time.monotonic()))
            sent = channel.send(stdin)
            if not sent:
                return
            stdin = stdin[sent:]
        channel.shutdown_write()
    except TimeoutError:
        raise
    except OSError:
        # A command may end without reading; what became of it, its exit status tells.
        if not channel.closed:
            raise


def _read(receive: Callable[[int], bytes]) -> bytes:
    pieces = []
    while piece := receive(_CHUNK):
        pieces.append(piece)
    return b"".join(pieces)
