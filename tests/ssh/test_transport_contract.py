"""What both adapters promise, against a real sshd: an answer is a whole answer, and an error says what may have run."""

import getpass
import hashlib
import os
import signal
import socket
import threading
import time

import asyncssh
import pytest

from headnode.errors import (
    AuthenticationRefused,
    CommandTimedOut,
    ConnectionLost,
    HostKeyRefused,
    HostUnreachable,
)

pytestmark = pytest.mark.cluster


def public_key():
    """Return a key that the host does not have, as a known_hosts file would hold it."""
    return " ".join(asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().split()[:2])


def wait_for(condition, seconds=20):
    """Wait for a true value and return it."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "what was waited for did not come"
        time.sleep(0.05)
    return value


def test_a_command_and_its_answer(connect, settings, command):
    """Both streams, standard input and the exit status come through unchanged."""
    answer = connect(settings()).run(command("cat; echo trouble >&2; exit 3", stdin=b"in \xff\x00 put\r\n"))
    assert (answer.stdout, answer.stderr, answer.exit_status) == (b"in \xff\x00 put\r\n", b"trouble\n", 3)


def test_nothing_is_an_answer(connect, settings, command):
    """A command without input and output has an exit status."""
    answer = connect(settings()).run(command("true"))
    assert (answer.stdout, answer.stderr, answer.exit_status) == (b"", b"", 0)


def test_much_output_on_both_streams(connect, settings, command):
    """Five megabytes on each stream, stderr first, are more than any window holds."""
    answer = connect(settings()).run(command("head -c 5000000 /dev/zero >&2; head -c 5000000 /dev/zero | tr '\\0' x"))
    assert (len(answer.stderr), answer.stdout, answer.exit_status) == (5_000_000, b"x" * 5_000_000, 0)


def test_much_input_and_output_at_once(connect, settings, command):
    """A command that answers while it is still being told does not block."""
    data = os.urandom(1024) * 5000
    answer = connect(settings()).run(command("cat", stdin=data))
    assert hashlib.sha256(answer.stdout).digest() == hashlib.sha256(data).digest()


def test_input_that_nobody_reads(connect, settings, command):
    """The exit status says what became of the command."""
    answer = connect(settings()).run(command("exit 4", stdin=b"x" * 3_000_000))
    assert answer.exit_status == 4


def test_one_login_for_many_commands(connect, settings, command, slurm_cluster):
    """The connection stays."""
    connection = connect(settings())
    before = slurm_cluster.logins()
    assert [connection.run(command(f"exit {number}")).exit_status for number in range(3)] == [0, 1, 2]
    assert slurm_cluster.logins() == before + 1


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Give the user who runs Airflow an empty home."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    return tmp_path


@pytest.mark.parametrize("source", ["nothing", "empty file"])
def test_an_unknown_host_key_is_refused(connect, settings, command, home, source):
    """Nobody is trusted at first sight; the message shows how to store the key."""
    (home / "known_hosts").touch()
    known_hosts = None if source == "nothing" else str(home / "known_hosts")
    changed = settings(host_key=None, known_hosts=known_hosts)
    with pytest.raises(HostKeyRefused, match=r"ssh-keyscan -p \d+ 127.0.0.1"):
        connect(changed).run(command("touch /tmp/never"))


@pytest.mark.usefixtures("home")
def test_another_host_key_is_refused(connect, settings, command):
    """A host that has another key is not the host."""
    with pytest.raises(HostKeyRefused, match=r"ssh-keyscan -p \d+ 127.0.0.1"):
        connect(settings(host_key=public_key())).run(command("true"))


def test_a_known_hosts_file_is_read(connect, settings, command, slurm_cluster):
    """The line that ssh-keyscan prints is enough."""
    changed = settings(host_key=None, known_hosts=str(slurm_cluster.known_hosts))
    assert connect(changed).run(command("true")).exit_status == 0


def test_the_given_host_key_outweighs_known_hosts(connect, settings, command, home, slurm_cluster):
    """What the user's own file says of the host does not make the connection's key right."""
    (home / ".ssh" / "known_hosts").write_text(slurm_cluster.known_hosts.read_text())
    with pytest.raises(HostKeyRefused):
        connect(settings(host_key=public_key())).run(command("true"))


def test_the_users_own_ssh_config_is_not_read(connect, settings, command, home):
    """It must not change where a connection leads."""
    (home / ".ssh" / "config").write_text("Host *\n  ProxyCommand /bin/false\n  IdentityFile /nowhere\n")
    assert connect(settings()).run(command("true")).exit_status == 0


def test_another_users_key_is_refused(connect, settings, command, tmp_path):
    """The message names user, host, port and connection."""
    path = tmp_path / "key"
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(path)
    with pytest.raises(AuthenticationRefused, match=rf"{getpass.getuser()}@127.0.0.1:\d+ \(connection 'private'\)"):
        connect(settings(key_file=str(path))).run(command("true"))


def test_a_key_in_the_connection(connect, settings, command, slurm_cluster):
    """The key's text, as Airflow keeps it, does as well as a file."""
    changed = settings(key_file=None, private_key=slurm_cluster.key_file.read_text())
    assert connect(changed).run(command("true")).exit_status == 0


@pytest.fixture(scope="module")
def locked_key(slurm_cluster, tmp_path_factory):
    """Return a copy of the user's key that a passphrase keeps."""
    path = tmp_path_factory.mktemp("keys") / "key"
    asyncssh.read_private_key(slurm_cluster.key_file).write_private_key(path, passphrase="open sesame", rounds=2)
    return path


@pytest.mark.parametrize("place", ["file", "connection"])
def test_a_key_with_a_passphrase(connect, settings, command, locked_key, place):
    """With the passphrase it opens, with another it says so and nothing is tried."""
    path = locked_key
    key = {"key_file": str(path)} if place == "file" else {"key_file": None, "private_key": path.read_text()}
    right = settings(**key, private_key_passphrase="open sesame")
    assert connect(right).run(command("true")).exit_status == 0
    for passphrase in ("open barley", None):
        with pytest.raises(AuthenticationRefused, match=r"passphrase|encrypted"):
            connect(settings(**key, private_key_passphrase=passphrase)).run(command("true"))


@pytest.mark.parametrize("text", ["-----BEGIN nothing", "line\nline\n"])
def test_a_key_that_is_none(connect, settings, command, text):
    """What can't be read is the credentials' fault, and a secret stays out of the message."""
    with pytest.raises(AuthenticationRefused) as caught:
        connect(settings(key_file=None, private_key=text)).run(command("true"))
    assert text not in str(caught.value)


def test_a_key_file_that_is_not_there(connect, settings, command):
    """The message names the file."""
    with pytest.raises(AuthenticationRefused, match="/nowhere/key"):
        connect(settings(key_file="/nowhere/key")).run(command("true"))


def test_nobody_listens(connect, settings, command):
    """Nothing was sent, so trying again is safe."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(HostUnreachable, match="can't be reached") as caught:
            connect(settings(port=free.getsockname()[1])).run(command("true"))
    assert caught.value.retryable


def test_an_unknown_host_name(connect, settings, command):
    """The name is in the message."""
    with pytest.raises(HostUnreachable, match=r"nowhere\.invalid"):
        connect(settings(host="nowhere.invalid")).run(command("true"))


def test_a_host_that_never_answers(connect, settings, command):
    """A listener that says nothing is given up after the time that the connection grants."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        changed = settings(port=silent.getsockname()[1], connect_timeout_seconds=1.0)
        began = time.monotonic()
        with pytest.raises(HostUnreachable):
            connect(changed).run(command("true"))
        assert time.monotonic() - began < 20


def test_a_connection_that_breaks(connect, settings, command, tmp_path):
    """A command whose end was not seen is never an answer; the next command logs in again."""
    connection = connect(settings())
    told = tmp_path / "session"

    def kill_session():
        os.kill(int(wait_for(lambda: told.exists() and told.read_text().strip())), signal.SIGKILL)

    killer = threading.Thread(target=kill_session)
    killer.start()
    with pytest.raises(ConnectionLost):
        connection.run(command(f"echo before; echo $PPID > {told}; sleep 30"))
    killer.join()
    assert connection.run(command("echo again")).stdout == b"again\n"


def test_a_command_that_is_killed(connect, settings, command):
    """An end without exit status is none."""
    with pytest.raises(ConnectionLost):
        connect(settings()).run(command("echo before; kill -KILL $$"))


@pytest.mark.parametrize("text", ["sleep 30", "while :; do echo talk; sleep 0.2; done", "exec >&- 2>&-; sleep 30"])
def test_a_command_that_takes_too_long(connect, settings, command, text):
    """Silent or not, it is given up in time, and the connection can be used after it."""
    connection = connect(settings())
    began = time.monotonic()
    with pytest.raises(CommandTimedOut, match=r"a test on 127.0.0.1: no answer within 1.5 s"):
        connection.run(command(text, timeout_seconds=1.5))
    assert time.monotonic() - began < 10
    assert connection.run(command("echo again")).stdout == b"again\n"


def test_an_outage_of_sshd(connect, settings, command, slurm_cluster):
    """While it lasts the host is unreachable, after it commands run again."""
    connection = connect(settings())
    assert connection.run(command("true")).exit_status == 0
    slurm_cluster.stop_sshd()
    try:
        with pytest.raises((HostUnreachable, ConnectionLost)):
            connection.run(command("true"))
        with pytest.raises(HostUnreachable):
            connection.run(command("true"))
    finally:
        slurm_cluster.start_sshd()
    assert connection.run(command("true")).exit_status == 0


def test_a_proxy_command(connect, settings, command, slurm_cluster):
    """A jump host is a command that carries the bytes."""
    relay = (
        "python3 -c 'import socket,sys,threading,os;"
        f's=socket.create_connection(("{slurm_cluster.host}",{slurm_cluster.port}));'
        'threading.Thread(target=lambda:[s.sendall(d) for d in iter(lambda:os.read(0,65536),b"")],daemon=True).start();'
        '[os.write(1,d) for d in iter(lambda:s.recv(65536),b"")]\''
    )
    assert connect(settings(host_proxy_cmd=relay)).run(command("echo through")).stdout == b"through\n"


def test_disabled_algorithms(connect, settings, command, slurm_cluster):
    """What a connection disables is not used; a connection that disables every usable kind fails and says so."""
    answer = connect(settings(disabled_algorithms=(("kex", ("curve25519-sha256",)),))).run(command("echo $SSH_TTY ok"))
    assert answer.stdout.strip() == b"ok"
    every = ("ssh-ed25519", "ssh-ed25519-cert-v01@openssh.com")
    with pytest.raises((HostUnreachable, HostKeyRefused), match=slurm_cluster.host):
        connect(settings(disabled_algorithms=(("keys", every),))).run(command("true"))
