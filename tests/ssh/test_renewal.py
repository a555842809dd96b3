"""Certificates of seconds: what is over is never offered, and a program or a person renews it."""

import contextlib
import shlex
import threading
import time

import pytest

from headnode.errors import AuthenticationRefused, ConnectionLost, CredentialExpired
from headnode.ssh.budget import Budget
from headnode.ssh.credentials import read_certificate
from headnode.testing import SshdOptions

pytestmark = pytest.mark.cluster


@pytest.fixture
def sshd(slurm_cluster, authority):
    """Start an sshd that lets nobody in without a certificate."""
    with slurm_cluster.sshd(SshdOptions(trusted_ca=authority.public_key)) as started:
        yield started


@pytest.fixture
def way(at, sshd, authority, tmp_path):
    """Return a function that makes settings which lead there, with a program that renews the certificate."""

    def lead(*, program, **changes):
        script = tmp_path / "renew"
        script.write_text(f"#!/bin/sh\necho called >>{tmp_path}/calls\necho SECRET\n{program}\n")
        script.chmod(0o755)
        budget = Budget(directory=str(tmp_path / "budget"), logins_per_minute=1000)
        fields = {"key_file": str(authority.key_file), "credential_command": (str(script),), "budget": budget}
        return at(sshd, **{**fields, **changes})

    return lead


@pytest.fixture
def calls(tmp_path):
    """Return a function that counts how often the program was run."""
    return lambda: len((tmp_path / "calls").read_text().split()) if (tmp_path / "calls").exists() else 0


def test_it_expires_and_the_program_renews_it(connect, ask, way, *, sshd, authority, calls):
    """The connection that is open goes on; when it breaks, the program is run once and the next login succeeds."""
    renew = shlex.join(authority.certify_command())
    authority.certify(seconds=3)
    connection = connect(way(program=renew))
    ask(connection)
    before = calls()
    while not over(authority):
        time.sleep(0.2)
    ask(connection)
    assert calls() == before
    sshd.end_sessions()
    with contextlib.suppress(ConnectionLost):  # where it is noticed only then
        ask(connection)
    ask(connection)
    assert (calls(), sshd.refusals()) == (before + 1, 0)


def over(authority):
    """Whether the certificate's time is over."""
    return read_certificate(str(authority.certificate_file)).is_over(time.time())


def test_one_program_for_all(connect, ask, way, authority, calls):
    """Of several that find it expired at once, one runs the program, and all log in."""
    authority.certify(seconds=-5)
    settings = way(program="sleep 0.5; " + shlex.join(authority.certify_command()))
    connections = [connect(settings) for _ in range(3)]
    threads = [threading.Thread(target=ask, args=(connection,)) for connection in connections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls() == 1
    assert all("batch" in ask(connection) for connection in connections)


def test_a_program_that_fails(connect, ask, way, *, sshd, authority, calls):
    """Its last line of standard error is shown, nothing of its output; it is left alone for a while; a person helps."""
    authority.certify(seconds=-5)
    connection = connect(way(program="echo first >&2; echo 'no more requests today' >&2; exit 3"))
    for _ in range(3):
        with pytest.raises(
            CredentialExpired, match=r"was over at .* ended with status 3, and says 'no more re"
        ) as caught:
            ask(connection)
        assert "SECRET" not in str(caught.value)
        assert "first" not in str(caught.value)
    assert "run again in" in str(caught.value)
    assert (calls(), sshd.connections()) == (1, 0)
    authority.certify()
    ask(connection)


@pytest.mark.parametrize(
    ("program", "problem"),
    [
        ("sleep 60", "did not end within 1 s; it may have asked a question"),
        ("true", "ended well, but nothing was renewed by it"),
    ],
)
def test_a_program_that_does_not_help(ask, way, authority, program, problem):
    """The message says what it did."""
    authority.certify(seconds=-5)
    with pytest.raises(CredentialExpired, match=problem):
        ask(way(program=program, credential_command_seconds=1.0))


def test_a_program_that_is_not_there(ask, way, authority):
    """The message names it."""
    authority.certify(seconds=-5)
    with pytest.raises(CredentialExpired, match=r"'/nowhere/renew' \(credential_command\) is not on this machine"):
        ask(way(program="", credential_command=("/nowhere/renew",)))


def test_a_key_that_the_program_makes(ask, way, authority, calls):
    """Where there is none yet, the program is run before the first login."""
    authority.certificate_file.unlink()
    aside = authority.key_file.rename(authority.key_file.with_name("aside"))
    make = f"cp {aside} {authority.key_file}; " + shlex.join(authority.certify_command())
    ask(way(program=make))
    assert calls() == 1


def test_a_host_that_refuses_the_new_one_too(connect, ask, way, *, sshd, authority, calls):
    """The program is run once, and nothing is offered again and again: sites ban those who go on failing."""
    authority.certify(seconds=3600, user="somebody")
    connection = connect(way(program=shlex.join(authority.certify_command(user="somebody"))))
    for _ in range(3):
        with pytest.raises(AuthenticationRefused, match="refused the login"):
            ask(connection)
    assert calls() == 1
    assert sshd.connections() <= 2


def test_an_expired_one_is_waited_for_without_a_login(connect, ask, at, *, sshd, authority, tmp_path):
    """Without a program a person renews it; until then the host hears nothing, and no turn to log in is taken."""
    authority.certify(seconds=-5)
    budget = Budget(directory=str(tmp_path / "budget"), logins_per_minute=1, window_seconds=3600)
    connection = connect(at(sshd, key_file=str(authority.key_file), budget=budget))
    for _ in range(5):
        with pytest.raises(CredentialExpired, match="goes on by itself as soon as the new one is there"):
            ask(connection)
    assert sshd.connections() == 0
    authority.certify()
    ask(connection)
