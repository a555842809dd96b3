"""What a login is made of, as data: extras of a connection, codes, prompts, known hosts, certificates, keys, routes."""

import base64
import dataclasses
import hashlib
import hmac
import re
import subprocess
import threading
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headnode.errors import AuthenticationRefused
from headnode.ssh.certificates import CertificateUnreadable, parse_blob, parse_certificate
from headnode.ssh.interactive import Codes, Interview, kind_of, totp
from headnode.ssh.known_hosts import parse_known_hosts
from headnode.ssh.private_keys import KeyUnreadable, unlocked
from headnode.ssh.route import route_of
from headnode.ssh.settings import ConnectionInvalid, JumpHost, SSHSettings, parse_connection

KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIBl2m4cTfvtQcbVIWrn6jSWn9Bv8sEiXb2mJ7Fq0bN4h"
SECRET = base64.b32encode(b"12345678901234567890").decode()


def ssh(extra: dict[str, Any], **changes: Any) -> SSHSettings:
    """Return the settings in a connection with these extras."""
    fields = {"conn_id": "site", "host": "login.example", "port": None, "login": "me", "password": None, **changes}
    return parse_connection(extra=extra, **fields).ssh


def test_extras_of_a_login():
    """Lists may be given as OpenSSH writes them; a secret may have the spaces that sites show."""
    found = ssh(
        {
            "certificate_file": "~/.ssh/id-cert.pub",
            "agent_path": " /run/agent ",
            "identities_only": "true",
            "macs": "hmac-sha2-512-etm@openssh.com,hmac-sha2-256",
            "ciphers": "aes256-ctr, aes128-ctr",
            "totp_secret": "jbsw y3dp-ehpk 3pxp",
            "totp_period_seconds": "60",
            "control_path": "~/.ssh/control/site",
            "credential_command": "step ssh certificate 'my name' ~/.ssh/id",
            "jump": "me@one.example:2222, two.example,[2001:db8::1]:22",
        }
    )
    assert (found.certificate_file, found.agent_path, found.identities_only) == (
        "~/.ssh/id-cert.pub",
        "/run/agent",
        True,
    )
    assert found.macs == ("hmac-sha2-512-etm@openssh.com", "hmac-sha2-256")
    assert found.ciphers == ("aes256-ctr", "aes128-ctr")
    assert (found.totp_secret, found.totp_period_seconds) == ("JBSWY3DPEHPK3PXP", 60)
    assert found.control_path == "~/.ssh/control/site"
    assert found.credential_command == ("step", "ssh", "certificate", "my name", "~/.ssh/id")
    assert found.jump == (
        JumpHost(host="one.example", port=2222, username="me"),
        JumpHost(host="two.example"),
        JumpHost(host="2001:db8::1"),
    )
    assert ssh({}).config_decides == ("Port",)
    assert ssh({}, login=None, port=2222).config_decides == ("User",)


def test_a_jump_host_of_its_own():
    """What is not stated comes from the connection; a code and a password never do."""
    jump = {
        "host": "gate.example",
        "port": "2222",
        "user": "you",
        "key_file": "/k",
        "totp_secret": SECRET,
        "host_key": "K",
    }
    found = ssh({"jump": [jump, "other.example"], "key_file": "/mine", "totp_secret": SECRET}, password="p")
    gate, other, host = route_of(found)
    assert (gate.username, gate.port, gate.identities[0].key_file, gate.host_key) == ("you", 2222, "/k", "K")
    assert (other.username, other.identities[0].key_file) == ("me", "/mine")
    assert (other.password, other.totp_secret, host.password, host.totp_secret) == (None, None, "p", SECRET)
    assert (gate.totp_secret, other.where) == (SECRET, "me@other.example:22 (jump host of connection 'site')")


@pytest.mark.parametrize(
    ("extra", "problem"),
    [
        ({"certificate": "a", "certificate_file": "b"}, "both certificate and certificate_file"),
        ({"jump": "a", "host_proxy_cmd": "b"}, "both jump and host_proxy_cmd"),
        ({"ssh_config": "~/.ssh/config", "jump": "a"}, "remove jump and host_proxy_cmd"),
        ({"ssh_config": True}, r"such as '~/.ssh/config', not True"),
        ({"jump": "me@"}, r"written \[user@\]host\[:port\]"),
        ({"jump": "-oProxyCommand=x"}, r"written \[user@\]host"),
        ({"jump": "a:99999"}, "is no port"),
        ({"jump": [{"host": "a", "keyfile": "b"}]}, "not keyfile"),
        ({"jump": {"host": "a"}}, "must be a list"),
        ({"totp_secret": "123456"}, "no base32 text; it is the 'secret' that the site showed"),
        ({"control_path": "~/.ssh/%C"}, "without any %"),
        ({"credential_command": "step 'ssh"}, "can't be split"),
        ({"credential_command": [1]}, "must be a program and its arguments"),
        ({"totp_period_seconds": "soon"}, "totp_period_seconds must be a whole number"),
        ({"macs": {"a": 1}}, "macs must be a list of names"),
    ],
)
def test_what_cannot_be_right_is_refused(extra, problem):
    """The message names the connection and the field, and shows no secret."""
    with pytest.raises(ConnectionInvalid, match=problem) as caught:
        ssh(extra)
    assert "'site'" in str(caught.value)
    assert "123456" not in str(caught.value)


def test_secrets_stay_out_of_representations():
    """Of the settings, of jump hosts, and of the hops that are made of them."""
    jump = {"host": "gate", "password": "hunter2", "totp_secret": SECRET}
    found = ssh({"jump": [jump], "totp_secret": SECRET, "private_key": "KEYTEXT"}, password="hunter2")
    shown = f"{found!r} {found.jump!r} {route_of(found)!r} {[hop.identities for hop in route_of(found)]!r}"
    assert not any(secret in shown for secret in ("hunter2", SECRET, "KEYTEXT"))


@pytest.mark.parametrize(
    ("at", "code"),
    [(59, "287082"), (1111111109, "081804"), (1111111111, "050471"), (1234567890, "005924"), (20000000000, "353130")],
)
def test_codes_of_the_standard(at, code):
    """RFC 6238, appendix B, the last six digits of those for SHA-1."""
    assert totp(SECRET, at=at) == code


def test_no_code_is_given_twice(tmp_path):
    """Not to several that ask at once, either; the secret is not in the file's name."""
    codes, given = Codes(SECRET, period_seconds=1, directory=tmp_path), []
    threads = [threading.Thread(target=lambda: given.append(codes.wait())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(Counter(given).values()) == 1
    assert len(given) == 3
    assert not any(SECRET in path.name or path.stat().st_mode & 0o077 for path in tmp_path.iterdir())


@pytest.mark.parametrize(
    ("prompt", "kind"),
    [
        ("Verification code: ", "code"),
        ("(me@horeka) Your OTP: ", "code"),
        ("One-time password (OATH) for `me': ", "code"),
        ("Enter your one time password:", "code"),
        ("Enter PASSCODE: ", "code"),
        ("TOTP Token: ", "code"),
        ("Two factor authenticator token:", "code"),
        ("Password: ", "password"),
        ("(me@login) Password:", "password"),
        ("me's passwort: ", "password"),
        ("Favourite colour? ", None),
        ("Press enter when you have approved the login in the app", None),
        ("Change the host name", None),
        ("", None),
    ],
)
def test_what_prompts_ask_for(prompt, kind):
    """As sites word them."""
    assert kind_of(prompt) == kind


def test_answers():
    """Several prompts at once, as PAM asks them, and again for what was refused."""
    interview = Interview("host", password="secret", code=lambda: "123456")
    assert interview.answers(["Your OTP: ", "Password: "]) == ["123456", "secret"]
    assert interview.answers([]) == []
    with pytest.raises(AuthenticationRefused, match=r"host refused the one-time code") as caught:
        interview.answers(["Your OTP: "])
    assert caught.value.by_host
    assert "123456" not in str(caught.value)
    with pytest.raises(AuthenticationRefused, match=r"asks for a password \('Password:'\) and the connection has none"):
        Interview("host", password=None, code=None).answers(["Password: "])


def _hashed(name):
    salt = b"0123456789abcdefghij"
    digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


@pytest.mark.parametrize(
    ("hosts", "name", "found"),
    [
        ("login.example", "login.example", True),
        ("LOGIN.example,10.0.0.1", "login.example", True),
        ("login.example", "login.example.org", False),
        ("[login.example]:2222", "[login.example]:2222", True),
        ("login.example", "[login.example]:2222", False),
        ("*.example", "login.example", True),
        ("*.example,!login.example", "login.example", False),
        ("login?.example", "login1.example", True),
        (_hashed("login.example"), "login.example", True),
        (_hashed("login.example"), "other.example", False),
        ("|1|broken", "login.example", False),
    ],
)
def test_known_hosts(hosts, name, found):
    """The patterns of sshd(8)."""
    text = f"# comment\n\n{hosts} ssh-ed25519 {KEY} somebody\n{hosts} ssh1 35 key\n"
    assert parse_known_hosts(text, name) == ([("", f"ssh-ed25519 {KEY}")] if found else [])


def test_marked_lines_of_known_hosts():
    """Authorities and revoked keys are told apart."""
    text = f"@cert-authority *.example ssh-ed25519 {KEY}\n@revoked * ssh-ed25519 {KEY}\n"
    assert [marker for marker, _ in parse_known_hosts(text, "a.example")] == ["@cert-authority", "@revoked"]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Return a function that makes certificates of keys of a kind."""
    folder = tmp_path_factory.mktemp("certificates")

    def make(kind, validity):
        for name, of in (("ca", "ed25519"), (kind, kind)):
            if not (folder / name).exists():
                subprocess.run(["ssh-keygen", "-q", "-t", of, "-N", "", "-f", folder / name], check=True)
        sign = [
            "ssh-keygen",
            "-q",
            "-s",
            folder / "ca",
            "-I",
            "id 1",
            "-n",
            "me,you",
            "-V",
            validity,
            f"{folder / kind}.pub",
        ]
        subprocess.run(sign, check=True)
        return (folder / f"{kind}-cert.pub").read_text(), (folder / f"{kind}.pub").read_text()

    return make


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_certificates(certificate, kind):
    """What ssh-keygen has put in comes out: the key, the names, the time in UTC."""
    text, public = certificate(kind, "20260102030405Z:20260102040506Z")
    found = parse_certificate(text)
    assert base64.b64encode(found.public_key).decode() == public.split()[1]
    assert (found.key_id, found.principals, found.end) == ("id 1", ("me", "you"), "2026-01-02 04:05:06 UTC")
    assert not found.is_over(1767326705)
    assert found.is_over(1767326706)
    assert found.may_be_over(1767326706 - 299)


def test_a_certificate_for_ever(certificate):
    """Its time is never over."""
    found = parse_certificate(certificate("ed25519", "always:forever")[0])
    assert (found.valid_before, found.end, found.is_over(1e12)) == (None, "never", False)


@given(st.binary(max_size=400), st.integers(0, 400))
def test_broken_certificates_are_unreadable(noise, cut):
    """Whatever is in them."""
    blob = b"\x00\x00\x00\x20ssh-ed25519-cert-v01@openssh.com" + noise
    for data in (noise, blob, blob[:cut]):
        try:
            parse_blob(data)
        except CertificateUnreadable:
            continue


@given(st.text(max_size=200))
def test_what_is_no_key_is_unreadable(text):
    """It is said so, whatever it is, and not shown."""
    with pytest.raises(KeyUnreadable) as caught:
        unlocked(f"-----BEGIN OPENSSH PRIVATE KEY-----\n{text}\n-----END OPENSSH PRIVATE KEY-----\n", "secret")
    assert "secret" not in re.sub("private_key_passphrase", "", str(caught.value))


def test_tokens_of_a_proxy_command():
    """As ssh fills them in."""
    found = ssh({"host_proxy_cmd": "nc -X 5 %h %p %r 100%%"}, port=2222)
    assert route_of(found)[-1].proxy_command == "nc -X 5 login.example 2222 me 100%"
    assert dataclasses.replace(found, host_proxy_cmd=None) != found
