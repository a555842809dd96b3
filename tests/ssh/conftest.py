"""The two adapters of the SSH port, driven in the same way, and the settings that lead to the private cluster."""

import asyncio
import dataclasses

import pytest

from headnode.hooks.paramiko_transport import ParamikoTransport
from headnode.ssh.asyncssh_transport import AsyncSSHTransport
from headnode.ssh.port import Command
from headnode.ssh.settings import SSHSettings
from headnode.testing import CertificateAuthority


class Asynchronous:
    """The asyncssh adapter, in an event loop of its own."""

    def __init__(self, settings):
        self._loop = asyncio.Runner()
        self._transport = AsyncSSHTransport(settings)

    def run(self, command):
        """Run one command."""
        return self._loop.run(self._transport.run(command))

    def close(self):
        """Close the connection, and the loop with the fixture."""
        self._loop.run(self._transport.close())

    def end(self):
        """Close everything."""
        self.close()
        self._loop.close()


@pytest.fixture
def settings(slurm_cluster):
    """Return a function that makes settings for the private cluster, with changes."""
    base = SSHSettings(
        conn_id="private",
        host=slurm_cluster.host,
        port=slurm_cluster.port,
        username=slurm_cluster.user,
        key_file=str(slurm_cluster.key_file),
        host_key=slurm_cluster.host_key,
        look_for_keys=False,
        connect_timeout_seconds=20.0,
    )
    return lambda **changes: dataclasses.replace(base, **changes)


@pytest.fixture(params=["asyncssh", "paramiko"])
def connect(request):
    """Return a function from settings to a connection through one of the adapters."""
    adapter = {"asyncssh": Asynchronous, "paramiko": ParamikoTransport}[request.param]
    opened = []

    def open_one(settings):
        opened.append(adapter(settings))
        return opened[-1]

    yield open_one
    for connection in opened:
        getattr(connection, "end", connection.close)()


@pytest.fixture
def command():
    """Return a function from shell text to a command with a short time limit."""

    def make(text, stdin=b"", timeout_seconds=60.0):
        return Command(text=text, stdin=stdin, timeout_seconds=timeout_seconds, purpose="a test")

    return make


@pytest.fixture
def authority(tmp_path, slurm_cluster):
    """Return an authority whose certificate of an hour lies beside its key."""
    made = CertificateAuthority(tmp_path, user=slurm_cluster.user)
    made.certify()
    return made


@pytest.fixture
def at(settings):
    """Return a function from an sshd to settings that lead to it, with changes."""

    def lead(sshd, **changes):
        return settings(port=sshd.port, host_key=sshd.host_key, **changes)

    return lead


@pytest.fixture
def ask(connect, command):
    """Return a function that runs a command over a new connection (or one that is open) and returns its output.

    By default it is a question to Slurm.
    """

    def run(way, text="sinfo -h -o %P"):
        connection = way if hasattr(way, "run") else connect(way)
        answer = connection.run(command(text))
        assert answer.exit_status == 0, answer
        return answer.stdout.decode()

    return run
