"""A connection that a person has opened by hand, shared by a socket: used, never opened, waited for when it is gone."""

import asyncio
import os
import signal
import subprocess
import time

import pytest

from headnode.errors import CommandTimedOut, ConnectionLost, CredentialExpired
from headnode.hooks.control_master_transport import ControlMasterHookTransport
from headnode.ssh.port import Command
from headnode.ssh.transports import transport_to
from headnode.testing import SshdOptions

pytestmark = pytest.mark.cluster


class ByHand:
    """The ssh that a person has started."""

    def __init__(self, sshd, cluster, path):
        self.path = path
        self._options = [
            "-o",
            f"UserKnownHostsFile={sshd.known_hosts}",
            "-o",
            "ControlPersist=yes",
            "-p",
            str(sshd.port),
        ]
        self._key, self._to = str(cluster.key_file), f"{sshd.user}@{sshd.host}"

    def open(self):
        """Log in."""
        command = [
            "ssh",
            "-F",
            "none",
            "-fN",
            "-o",
            "ControlMaster=auto",
            "-S",
            self.path,
            "-i",
            self._key,
            *self._options,
            self._to,
        ]
        subprocess.run(command, check=True, timeout=30, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def ask(self, what):
        """Tell the master something, and return what it says."""
        command = ["ssh", "-F", "none", "-S", self.path, "-O", what, self._to]
        return subprocess.run(command, check=False, timeout=30, capture_output=True, text=True).stderr

    def kill(self):
        """Let it die without a word, and leave its socket behind."""
        os.kill(int(self.ask("check").partition("pid=")[2].partition(")")[0]), signal.SIGKILL)


@pytest.fixture
def sshd(slurm_cluster):
    """Start an sshd for four sessions at a time."""
    with slurm_cluster.sshd(SshdOptions(max_sessions=4)) as started:
        yield started


@pytest.fixture
def by_hand(sshd, slurm_cluster, tmp_path):
    """Open a connection by hand."""
    made = ByHand(sshd, slurm_cluster, str(tmp_path / "socket"))
    made.open()
    yield made
    made.ask("exit")


class Asynchronous:
    """The async transport, in an event loop of its own."""

    def __init__(self, settings):
        self._loop = asyncio.Runner()
        self._transport = transport_to(settings)

    def run(self, *commands):
        """Run commands at once; return the only answer, or all."""

        async def every():
            return await asyncio.gather(*(self._transport.run(command) for command in commands))

        answers = self._loop.run(every())
        return answers[0] if len(answers) == 1 else answers

    def close(self):
        """Close the loop."""
        self._loop.close()


@pytest.fixture(params=["async", "sync"])
def way(request, at, sshd, by_hand):
    """Return the way through the socket, whose settings have no key at all."""
    settings = at(sshd, key_file=None, control_path=by_hand.path)
    made = Asynchronous(settings) if request.param == "async" else ControlMasterHookTransport(settings)
    yield made
    made.close()


def command(text, *, stdin=b"", timeout_seconds=30.0):
    """Return a command with a short time limit."""
    return Command(text=text, stdin=stdin, timeout_seconds=timeout_seconds, purpose="a test")


def test_commands_go_through_it(way, sshd):
    """Both streams, standard input and the status come through, and nobody logs in again."""
    answer = way.run(command("cat; echo trouble >&2; exit 3", stdin=b"in \xff\x00 put\r\n" * 10_000))
    assert (answer.stdout, answer.stderr, answer.exit_status) == (b"in \xff\x00 put\r\n" * 10_000, b"trouble\n", 3)
    assert b"batch" in way.run(command("sinfo -h -o %P")).stdout
    assert sshd.connections() == 1


def test_what_is_no_answer(way):
    """A command that is killed, one that takes too long; the connection goes on."""
    with pytest.raises(ConnectionLost, match="ended before the command did"):
        way.run(command("echo before; kill -KILL $$"))
    with pytest.raises(CommandTimedOut, match=r"a test on 127.0.0.1: no answer within 0.5 s"):
        way.run(command("sleep 30", timeout_seconds=0.5))
    assert way.run(command("echo again")).stdout == b"again\n"


@pytest.mark.parametrize("end", ["exit", "kill"])
def test_it_ends_and_is_opened_again(way, sshd, by_hand, end):
    """What a person is to do is said; nothing logs in meanwhile; a new one is used at once."""
    by_hand.kill() if end == "kill" else by_hand.ask("exit")
    for _ in range(2):
        with pytest.raises(
            CredentialExpired, match=rf"nobody has one open at .* `ssh -fN -o ControlMaster=auto -S {by_hand.path} "
        ) as caught:
            wait_for_end(way)
        assert caught.value.retryable
    assert sshd.connections() == 1
    by_hand.open()
    assert way.run(command("echo again")).stdout == b"again\n"


def wait_for_end(way):
    """Run commands until one fails: the master may take a moment to end."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        way.run(command("true"))


def test_more_sessions_than_the_host_allows(at, sshd, by_hand):
    """The others wait for their turn."""
    way = Asynchronous(at(sshd, key_file=None, control_path=by_hand.path, max_sessions=8))
    answers = way.run(*(command(f"sleep 0.5; echo {number}") for number in range(8)))
    way.close()
    assert [int(answer.stdout) for answer in answers] == list(range(8))
    assert sshd.connections() == 1
