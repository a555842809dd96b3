"""An Airflow connection's fields become settings, or an error that names the field and the remedy."""

import dataclasses
from typing import Any

import pytest

from headnode.errors import HostKeyRefused
from headnode.ssh.settings import ClusterSettings, ConnectionInvalid, parse_connection


def parse(**changes: Any) -> ClusterSettings:
    """Return the settings in a usual connection, changed."""
    extra = changes.pop("extra", {})
    fields = {"conn_id": "lumi", "host": "lumi.csc.fi", "port": None, "login": "me", "password": None, **changes}
    return parse_connection(extra=extra, **fields)


def test_defaults():
    """Port 22, the user's own keys and known_hosts, a poll of 10 to 60 seconds."""
    settings = parse()
    assert (settings.ssh.host, settings.ssh.port, settings.ssh.username) == ("lumi.csc.fi", 22, "me")
    assert (settings.poll_seconds, settings.poll_max_seconds) == (10.0, 60.0)
    assert (settings.work_directory, settings.account) == ("~/.headnode", None)
    assert settings.ssh.look_for_keys
    assert settings.ssh.host_key is None


def test_extras():
    """Those of the SSH provider and headnode's own; numbers may be text, as forms send them."""
    settings = parse(
        port=2222,
        password=" secret\n",
        extra={
            "private_key": "KEY",
            "private_key_passphrase": "sesame",
            "host_key": "ssh-ed25519 AAAA comment here",
            "conn_timeout": "7",
            "look_for_keys": "false",
            "compress": False,
            "ciphers": ["aes256-ctr"],
            "host_proxy_cmd": "ssh -W %h:%p jump",
            "work_directory": "/scratch/me/",
            "poll_seconds": "5",
            "poll_max_seconds": 30,
            "account": "project_1",
        },
    )
    ssh = settings.ssh
    assert (ssh.port, ssh.password, ssh.private_key, ssh.private_key_passphrase) == (2222, "secret", "KEY", "sesame")
    assert (ssh.host_key, ssh.connect_timeout_seconds) == ("ssh-ed25519 AAAA", 7.0)
    assert (ssh.look_for_keys, ssh.compress, ssh.ciphers) == (False, False, ("aes256-ctr",))
    assert ssh.host_proxy_cmd == "ssh -W %h:%p jump"
    assert (settings.work_directory, settings.account) == ("/scratch/me", "project_1")
    assert (settings.poll_seconds, settings.poll_max_seconds) == (5.0, 30.0)


@pytest.mark.parametrize("name", ["no_host_key_check", "allow_host_key_change", "ignore_hostkey_verification"])
@pytest.mark.parametrize("value", [True, "true", "True", "1", "yes"])
def test_host_keys_are_always_checked(name: str, value: object):
    """The message shows how to store the host's key."""
    with pytest.raises(HostKeyRefused, match=rf"'lumi' sets {name}.*`ssh-keyscan -p 2222 lumi\.csc\.fi`.*host_key"):
        parse(port=2222, extra={name: value})
    assert parse(extra={name: not value, "host_key": "ssh-rsa AAAA"}).ssh.host_key == "ssh-rsa AAAA"


def test_a_bare_host_key_is_rsa():
    """As the SSH provider reads it."""
    assert parse(extra={"host_key": "AAAAB3"}).ssh.host_key == "ssh-rsa AAAAB3"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"host": None}, "names no host"),
        ({"host": ""}, "names no host"),
        ({"extra": {"key_file": "a", "private_key": "b"}}, "both key_file and private_key"),
        ({"extra": {"host_key": "ssh-dss AAAA"}}, "unknown type 'ssh-dss'"),
        ({"extra": {"conn_timeout": "soon"}}, "conn_timeout must be a positive number, not 'soon'"),
        ({"extra": {"conn_timeout": 0}}, "conn_timeout must be"),
        ({"extra": {"poll_seconds": -1}}, "poll_seconds must be"),
        ({"extra": {"poll_seconds": "nan"}}, "poll_seconds must be"),
        ({"extra": {"poll_max_seconds": "inf"}}, "poll_max_seconds must be"),
        ({"extra": {"work_directory": "jobs"}}, "must start with '/' or '~/'"),
        ({"extra": {"work_directory": "/a%j"}}, "neither '%'"),
        ({"extra": {"work_directory": "/a\nb"}}, "nor newlines"),
        ({"extra": {"work_directory": "~other/a"}}, "must start with"),
    ],
)
def test_what_cannot_be_right_is_refused(changes: dict[str, Any], problem: str):
    """The message names the connection and the field."""
    with pytest.raises(ConnectionInvalid, match=problem) as caught:
        parse(**changes)
    assert "'lumi'" in str(caught.value)


def test_secrets_stay_out_of_representations():
    """Logs and tracebacks show settings."""
    settings = parse(password="hunter2", extra={"private_key": "KEYTEXT", "private_key_passphrase": "sesame"})
    shown = f"{settings!r} {settings} {settings.ssh!r}"
    assert all(secret not in shown for secret in ("hunter2", "KEYTEXT", "sesame"))
    assert "me@lumi.csc.fi:22" in shown
    assert dataclasses.replace(settings.ssh, port=1).password == "hunter2"


def test_the_fastest_poll_is_never_above_the_slowest():
    """One of the two extras alone is enough."""
    assert parse(extra={"poll_seconds": 120}).poll_max_seconds == 120
    assert parse(extra={"poll_max_seconds": 2}).poll_seconds == 2
