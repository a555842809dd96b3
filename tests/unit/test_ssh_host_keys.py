"""Keys of hosts: fingerprints as OpenSSH prints them, and what to do about a key that is not the known one."""

import dataclasses
import getpass
import subprocess

import pytest

from headnode.ssh.host_keys import HostKeyNews, fingerprint, known_host_keys, name_in_known_hosts
from headnode.ssh.settings import SSHSettings

# Published by GitHub, with their fingerprints, at docs.github.com (2023).
GITHUB = {
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl": (
        "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"
    ),
    "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEmKSENjQEezOmxkZMy7opKgwFB9nkt5YRrYMjNu"
    "G5N87uRgg6CLrbo5wAdT/y6v0mKV0U2w0WZ2YB/++Tpockg=": "SHA256:p2QAMXNIC1TJYWeIOttrVc98/R1BUFWu3/LiyKgUfQM",
}
KEY, OTHER = GITHUB
SETTINGS = SSHSettings(conn_id="c", host="login.example.org", username="me")


@pytest.mark.parametrize(("key", "expected"), GITHUB.items())
def test_fingerprints(key, expected):
    """They are those that sites publish."""
    assert fingerprint(key) == expected


@pytest.mark.parametrize("text", ["", "ssh-ed25519", "ssh-ed25519 not-base64!"])
def test_what_is_no_key(text):
    """It has no fingerprint."""
    with pytest.raises(ValueError, match="is no '<type> <base64>'"):
        fingerprint(text)


@pytest.mark.parametrize(("port", "name"), [(22, "h"), (2222, "[h]:2222")])
def test_names_in_known_hosts(port, name):
    """Other ports than ssh's own are part of it."""
    assert name_in_known_hosts("h", port) == name


def test_a_new_host():
    """The text to copy is complete, for whoever compared the fingerprint."""
    news = HostKeyNews(host="h", port=2222, shown=KEY)
    assert news.value == f"h:2222 is not known yet; it shows ssh-ed25519 {GITHUB[KEY]}"
    assert news.remedy == (
        "Compare the fingerprint with the one that the site publishes. Where they are the same, set the connection's"
        f" host_key to `{KEY}`, or add the line `[h]:2222 {KEY}` to ~/.ssh/known_hosts of {getpass.getuser()} on each"
        " machine that runs Airflow"
    )


def test_a_host_with_another_key():
    """Both fingerprints are told, and a warning."""
    news = HostKeyNews(host="h", port=22, shown=KEY, known=(OTHER,), known_from="the connection's host_key")
    assert news.value == (
        f"h:22 shows ssh-ed25519 {GITHUB[KEY]}, but the connection's host_key says ecdsa-sha2-nistp256 {GITHUB[OTHER]}"
    )
    assert news.remedy.startswith("Either the site has changed its key")


def test_known_keys(tmp_path):
    """The connection's own key outweighs every file."""
    known_hosts = tmp_path / "known_hosts"
    settings = dataclasses.replace(SETTINGS, known_hosts=str(known_hosts))
    assert known_host_keys(settings) == ((), str(known_hosts))
    known_hosts.write_text(f"other.example.org {OTHER}\nlogin.example.org,10.0.0.1 {KEY} a comment\n")
    assert known_host_keys(settings) == ((KEY,), str(known_hosts))
    given = dataclasses.replace(settings, host_key=OTHER)
    assert known_host_keys(given) == ((OTHER,), "the connection's host_key")


def test_hashed_names(tmp_path):
    """Debian's ssh stores names so that nobody can read them."""
    known_hosts = tmp_path / "known_hosts"
    known_hosts.write_text(f"[login.example.org]:2222 {KEY}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", known_hosts], check=True, capture_output=True, timeout=30)
    assert "login.example.org" not in known_hosts.read_text()
    settings = dataclasses.replace(SETTINGS, port=2222, known_hosts=str(known_hosts))
    assert known_host_keys(settings) == ((KEY,), str(known_hosts))
