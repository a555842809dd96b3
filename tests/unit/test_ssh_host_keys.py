"""Keys of hosts: fingerprints as OpenSSH prints them, and what to do about a key that is not the known one."""

import pytest

from headnode.errors import HostKeyRefused
from headnode.ssh.host_keys import describe, fingerprint

# Published by GitHub, with their fingerprints, at docs.github.com (2023).
GITHUB = {
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl": (
        "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"
    ),
    "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEmKSENjQEezOmxkZMy7opKgwFB9nkt5YRrYMjNu"
    "G5N87uRgg6CLrbo5wAdT/y6v0mKV0U2w0WZ2YB/++Tpockg=": "SHA256:p2QAMXNIC1TJYWeIOttrVc98/R1BUFWu3/LiyKgUfQM",
}
KEY, OTHER = GITHUB


@pytest.mark.parametrize(("key", "expected"), GITHUB.items())
def test_fingerprints(key, expected):
    """They are those that sites publish."""
    assert fingerprint(key) == expected


@pytest.mark.parametrize("text", ["", "ssh-ed25519", "ssh-ed25519 not-base64!"])
def test_what_is_no_key(text):
    """It has no fingerprint."""
    with pytest.raises(ValueError, match="is no '<type> <base64>'"):
        fingerprint(text)


def refusal(**fields):
    """Return the error for a host that shows the first key."""
    error = HostKeyRefused("the whole sentence")
    for name, value in {"shown": KEY, "known_as": "[h]:2222", "source": "/home/me/.ssh/known_hosts", **fields}.items():
        setattr(error, name, value)
    return error


def test_a_new_host():
    """The text to copy is complete, for whoever compared the fingerprint."""
    value, remedy = describe(refusal())
    assert value == f"[h]:2222 is not known yet; it shows ssh-ed25519 {GITHUB[KEY]}"
    assert remedy == (
        "Compare the fingerprint with the one that the site publishes. Where they are the same, set the connection's"
        f" host_key to `{KEY}`, or add the line `[h]:2222 {KEY}` to /home/me/.ssh/known_hosts where Airflow runs"
    )


def test_a_new_jump_host():
    """Its key is not the one that the connection's host_key is about."""
    _, remedy = describe(refusal(is_jump_host=True))
    assert f"give [h]:2222 in the connection's jump the host_key `{KEY}`, or add the line `[h]:2222 {KEY}` to" in remedy


def test_a_host_with_another_key():
    """Both fingerprints are told, and a warning."""
    value, remedy = describe(refusal(known=(OTHER,), source="the connection's host_key"))
    assert value == (
        f"[h]:2222 shows ssh-ed25519 {GITHUB[KEY]}, but the connection's host_key says ecdsa-sha2-nistp256"
        f" {GITHUB[OTHER]}"
    )
    assert remedy.startswith("Either the site has changed its key")
    assert "do not log in before you know" in remedy
    assert remedy.endswith(f"set the connection's host_key to `{KEY}`, in place of the old one")


def test_a_refusal_without_a_key():
    """What is known of it is its sentence."""
    assert describe(HostKeyRefused("the whole sentence")) == ("the whole sentence", "")
