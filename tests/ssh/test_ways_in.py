"""Every way in, through both adapters, against real sshd servers that are configured as sites are."""

import contextlib
import dataclasses
import http.server
import os
import shutil
import subprocess
import threading

import pytest

from headnode.errors import AuthenticationRefused, CredentialExpired, HostKeyRefused, HostUnreachable
from headnode.ssh.settings import JumpHost
from headnode.testing import SshdOptions

pytestmark = pytest.mark.cluster

SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


def keygen(*arguments, cwd=None):
    """Run ssh-keygen."""
    subprocess.run([shutil.which("ssh-keygen"), "-q", *map(str, arguments)], check=True, capture_output=True, cwd=cwd)


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
    """Start an SSH agent, and return the path of its socket."""
    path = tmp_path_factory.mktemp("agent") / "socket"
    with subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL) as process:
        while not path.exists():
            assert process.poll() is None
        yield str(path)
        process.terminate()


def add_to(agent, *arguments):
    """Run ssh-add."""
    subprocess.run(
        ["ssh-add", "-q", *map(str, arguments)], env={**os.environ, "SSH_AUTH_SOCK": agent}, check=True, timeout=20
    )


def test_certificates_only(ask, at, slurm_cluster, authority):
    """A site with an authority lets nobody in without a certificate: beside the key, by a name of its own, as text."""
    with slurm_cluster.sshd(SshdOptions(trusted_ca=authority.public_key)) as sshd:
        assert "batch" in ask(at(sshd, key_file=str(authority.key_file)))
        elsewhere = authority.certificate_file.rename(authority.certificate_file.with_name("elsewhere.pub"))
        named = at(sshd, key_file=str(authority.key_file), certificate_file=str(elsewhere))
        assert "batch" in ask(named)
        texts = at(sshd, key_file=None, private_key=authority.key_file.read_text(), certificate=elsewhere.read_text())
        assert "batch" in ask(texts)
        with pytest.raises(AuthenticationRefused, match=r"does not take the key file '.*/id'. Check"):
            ask(at(sshd, key_file=str(authority.key_file)))


def test_a_certificate_that_is_over_is_not_offered(ask, connect, at, slurm_cluster, authority):
    """Nothing is sent, whoever waits may go on, and a renewed certificate is read without being told."""
    with slurm_cluster.sshd(SshdOptions(trusted_ca=authority.public_key)) as sshd:
        authority.certify(seconds=-60)
        connection = connect(at(sshd, key_file=str(authority.key_file)))
        with pytest.raises(
            CredentialExpired, match=r"the certificate file '.*id-cert.pub' was over at 20.* UTC. Renew"
        ) as caught:
            ask(connection)
        assert (caught.value.retryable, sshd.connections()) == (True, 0)
        authority.certify()
        assert "batch" in ask(connection)


def test_another_users_certificate(ask, at, slurm_cluster, authority):
    """The message says whose it is."""
    with slurm_cluster.sshd(SshdOptions(trusted_ca=authority.public_key)) as sshd:
        authority.certify(user="somebody")
        with pytest.raises(AuthenticationRefused, match=r"id-cert.pub' \(for somebody, valid until 20") as caught:
            ask(at(sshd, key_file=str(authority.key_file)))
        assert not isinstance(caught.value, CredentialExpired)
        assert caught.value.by_host


def test_an_agent(ask, at, *, slurm_cluster, authority, agent, tmp_path):
    """Its certificates are offered; with identities_only those alone that the connection names."""
    add_to(agent, "-D")
    wait = at(slurm_cluster, key_file=None, agent_path=agent)
    with pytest.raises(CredentialExpired, match=r"the SSH agent at .* holds no key for it"):
        ask(wait)
    keygen("-t", "ed25519", "-N", "", "-f", tmp_path / "other")
    add_to(agent, tmp_path / "other", authority.key_file)
    with slurm_cluster.sshd(SshdOptions(trusted_ca=authority.public_key)) as sshd:
        assert "batch" in ask(at(sshd, key_file=None, agent_path=agent))
        one = at(sshd, key_file=f"{authority.key_file}.pub", agent_path=agent)
        before = sshd.refusals()
        assert "batch" in ask(one)
        assert sshd.refusals() == before
        other = at(sshd, key_file=f"{tmp_path}/other.pub", agent_path=agent, identities_only=True)
        with pytest.raises(AuthenticationRefused, match="1 key of the SSH agent"):
            ask(other)
    with pytest.raises(AuthenticationRefused, match=r"the SSH agent at /nowhere/agent does not answer"):
        ask(at(slurm_cluster, key_file=None, agent_path="/nowhere/agent"))


def test_a_host_that_ends_the_connection_after_few_attempts(ask, at, slurm_cluster, authority):
    """With MaxAuthTries it says no more than that; it is a refusal all the same, and no outage."""
    with slurm_cluster.sshd(SshdOptions(more=("MaxAuthTries 1",))) as sshd:
        with pytest.raises(
            AuthenticationRefused, match=r"does not take the certificate file '.*id-cert.pub'"
        ) as caught:
            ask(at(sshd, key_file=str(authority.key_file), password="invented"))
        assert caught.value.by_host


@pytest.mark.parametrize("methods", ["keyboard-interactive", "publickey,keyboard-interactive"])
def test_one_time_codes(ask, at, slurm_cluster, methods):
    """A code is asked for, alone or after the key; each is good once, so that the next login waits for the next."""
    options = SshdOptions(totp_secret=SECRET, totp_period_seconds=2, authentication_methods=methods)
    with slurm_cluster.sshd(options) as sshd:
        right = at(sshd, totp_secret=SECRET, totp_period_seconds=2)
        for _ in range(2):
            assert "batch" in ask(right)
        assert sshd.refusals() == 0
        with pytest.raises(AuthenticationRefused, match=r"asks for a one-time code \('Verification code:'\) and the"):
            ask(at(sshd))
        wrong = at(sshd, totp_secret="A" * 32, totp_period_seconds=2)
        with pytest.raises(
            AuthenticationRefused, match=r"refused the one-time code. Check totp_secret, and this"
        ) as caught:
            ask(wrong)
        assert caught.value.by_host
        assert SECRET not in str(caught.value)


def test_a_question_that_needs_a_person(ask, at, slurm_cluster):
    """It is shown, and nothing is answered."""
    options = SshdOptions(
        totp_secret=SECRET, totp_prompt="Favourite colour? ", authentication_methods="keyboard-interactive"
    )
    with (
        slurm_cluster.sshd(options) as sshd,
        pytest.raises(AuthenticationRefused, match=r"asks 'Favourite colour\?' at"),
    ):
        ask(at(sshd, totp_secret=SECRET))
    assert sshd.refusals() == 0


def test_two_jump_hosts(ask, connect, settings, slurm_cluster):
    """The key of each is checked; all connections end together, and a hop that fails is named."""
    with slurm_cluster.sshd(name="one") as one, slurm_cluster.sshd(name="two") as two:
        jump = [JumpHost(host=each.host, port=each.port, host_key=each.host_key) for each in (one, two)]
        connection = connect(settings(jump=tuple(jump)))
        assert "batch" in ask(connection)
        assert ask(connection, "echo ${SSH_CONNECTION%% *}") == "127.0.0.1\n"
        assert (one.logins(), two.logins()) == (1, 1)
        connection.close()
        for wrong in range(2):
            changed = list(jump)
            changed[wrong] = dataclasses.replace(jump[wrong], host_key=slurm_cluster.host_key)
            hop = rf"{jump[wrong].port} \(jump host of connection 'private'\)"
            with pytest.raises(HostKeyRefused, match=rf"the host key of \w+@127.0.0.1:{hop} is not the known one"):
                ask(settings(jump=tuple(changed)))
        two.stop()
        with pytest.raises(HostUnreachable, match=rf"{two.port} \(jump host of"):
            ask(settings(jump=tuple(jump)))


def test_the_configuration_of_ssh(ask, settings, slurm_cluster, authority, tmp_path):
    """With the ssh_config extra all of it holds: Include, Match, aliases, ProxyJump, certificates, algorithms."""
    with (
        slurm_cluster.sshd(name="jump") as jump,
        slurm_cluster.sshd(
            SshdOptions(trusted_ca=authority.public_key, ciphers="aes256-ctr", macs="hmac-sha2-512-etm@openssh.com")
        ) as sshd,
    ):
        certificate = authority.certificate_file.rename(tmp_path / "mine.pub")
        (tmp_path / "known").write_text(f"centre {sshd.host_key}\n" + jump.known_hosts.read_text())
        (tmp_path / "more").write_text(
            f"Host centre\n HostName {sshd.host}\n Port {sshd.port}\n HostKeyAlias centre\n ProxyJump gate\n"
            f" IdentityFile {authority.key_file}\n CertificateFile {certificate}\n IdentitiesOnly yes\n"
            " Ciphers aes256-ctr\n MACs hmac-sha2-512-etm@openssh.com\n"
            f"Host gate\n HostName {jump.host}\n Port {jump.port}\n IdentityFile {slurm_cluster.key_file}\n"
        )
        (tmp_path / "config").write_text(
            f"Include {tmp_path}/more\nMatch all\n User {slurm_cluster.user}\n UserKnownHostsFile {tmp_path}/known\n"
        )
        by_config = settings(
            host="centre",
            key_file=None,
            host_key=None,
            ssh_config=str(tmp_path / "config"),
            config_decides=("User", "Port"),
            username="nobody",
        )
        assert "batch" in ask(by_config)
        assert (jump.logins(), sshd.logins()) == (1, 1)
        (tmp_path / "more").write_text("Host centre\n ProxyJump centre\n")
        with pytest.raises(AuthenticationRefused, match=r"loop via centre|in a circle"):
            ask(by_config)
        (tmp_path / "more").write_text("Port many\n")
        with pytest.raises(AuthenticationRefused, match=r"by /.*/config: ssh says .*/more line 1"):
            ask(by_config)
        absent = dataclasses.replace(by_config, ssh_config="/nowhere/config")
        with pytest.raises(AuthenticationRefused, match=r"by /nowhere/config: there is no such file on this machine"):
            ask(absent)


def test_a_banner_and_few_ciphers(ask, at, slurm_cluster):
    """What the site says before the login is no part of an answer; what it and the connection allow is used."""
    options = SshdOptions(
        banner="UNAUTHORISED USE IS\nPROHIBITED\n" * 200, ciphers="aes256-ctr", macs="hmac-sha2-512-etm@openssh.com"
    )
    with slurm_cluster.sshd(options) as sshd:
        named = at(sshd, ciphers=("aes256-ctr",), macs=("hmac-sha2-512-etm@openssh.com",))
        assert ask(named, "echo plain") == "plain\n"
        assert ask(at(sshd), "echo plain") == "plain\n"
        with pytest.raises(HostUnreachable, match=r"(?:no algorithm|none) in common .* Check ciphers, macs"):
            ask(at(sshd, ciphers=("aes128-ctr",)))
        with pytest.raises(AuthenticationRefused, match=r"of the ciphers that the connection allows \(rot13\) none"):
            ask(at(sshd, ciphers=("rot13",)))


def test_an_old_server_with_rsa_alone(ask, at, slurm_cluster, tmp_path):
    """RSA keys on both sides, the key exchange of its time; one that only signs with SHA-1 is refused and told why."""
    keygen("-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "", "-f", tmp_path / "rsa")
    old = SshdOptions(
        host_key_type="rsa",
        host_key_algorithms="rsa-sha2-512,rsa-sha2-256,ssh-rsa",
        pubkey_algorithms="rsa-sha2-512,rsa-sha2-256",
        kex_algorithms="diffie-hellman-group14-sha256",
        ciphers="aes128-ctr",
        macs="hmac-sha1,hmac-sha2-256",
        authorized_keys=tmp_path / "rsa.pub",
    )
    with slurm_cluster.sshd(old) as sshd:
        assert "batch" in ask(at(sshd, key_file=str(tmp_path / "rsa")))
        with pytest.raises(AuthenticationRefused, match=r"does not take the key file '.*user_key'"):
            ask(at(sshd))
    with (
        slurm_cluster.sshd(dataclasses.replace(old, host_key_algorithms="ssh-rsa")) as sshd,
        pytest.raises(HostUnreachable, match=r"A server that signs only with ssh-rsa \(SHA-1\) is refused"),
    ):
        ask(at(sshd, key_file=str(tmp_path / "rsa")))


@contextlib.contextmanager
def web_server():
    """Run a web server on a free port."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_a_host_that_speaks_no_ssh(ask, settings):
    """The message shows what it says."""
    with (
        web_server() as port,
        pytest.raises(HostUnreachable, match=r"speaks no SSH; it answers '.+'. Check Host and Port"),
    ):
        ask(settings(port=port, connect_timeout_seconds=3.0))


def test_a_changed_host_key(ask, settings, slurm_cluster, tmp_path):
    """Both fingerprints, what it may mean, and how to store the new one."""
    keygen("-t", "ed25519", "-N", "", "-f", tmp_path / "before")
    before = " ".join((tmp_path / "before.pub").read_text().split()[:2])
    shown = [
        line.split()[1]
        for key in (slurm_cluster.directory / "ssh" / "host_key.pub", tmp_path / "before.pub")
        for line in [subprocess.run(["ssh-keygen", "-lf", key], capture_output=True, text=True, check=True).stdout]
    ]
    (tmp_path / "known_hosts").write_text(f"[{slurm_cluster.host}]:{slurm_cluster.port} {before}\n")
    for changed in (settings(host_key=before), settings(host_key=None, known_hosts=str(tmp_path / "known_hosts"))):
        with pytest.raises(HostKeyRefused, match=r"somebody stands between; nothing was sent") as caught:
            ask(changed)
        assert all(fingerprint in str(caught.value) for fingerprint in shown)
        assert "ssh-keyscan" in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        ("public", r"holds the public key; the private one is needed, the file without \.pub"),
        ("certificate", r"holds a certificate, not the key that it certifies"),
        ("putty", r"is PuTTY's; `puttygen KEY.ppk -O private-openssh -o KEY` makes one"),
        ("text", r"holds no private key"),
        ("empty", r"holds no private key"),
        ("cut", r"is damaged"),
        ("dsa", r"is of a kind that is not supported|is damaged"),
        ("folder", r"can't be read by \w+, who runs Airflow here \(Is a directory\)"),
    ],
)
def test_a_key_of_the_wrong_kind(ask, at, *, slurm_cluster, authority, tmp_path, kind, problem):
    """One sentence that names the connection, the host, the file and what to do; the host hears nothing."""
    path = tmp_path / "wrong"
    content = {
        "public": authority.key_file.with_suffix(".pub").read_text,
        "certificate": authority.certificate_file.read_text,
        "putty": lambda: "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n",
        "text": lambda: "Dear user,\n",
        "empty": str,
        "cut": lambda: authority.key_file.read_text()[:200] + "\n-----END OPENSSH PRIVATE KEY-----\n",
        "dsa": lambda: "-----BEGIN DSA PRIVATE KEY-----\nMIIBugIBAAKBgQ==\n-----END DSA PRIVATE KEY-----\n",
    }
    path.write_text(content[kind]()) if kind != "folder" else path.mkdir()
    with slurm_cluster.sshd() as sshd:
        with pytest.raises(AuthenticationRefused, match=problem) as caught:
            ask(at(sshd, key_file=str(path)))
        assert all(part in str(caught.value) for part in (str(path), "connection 'private'", f"127.0.0.1:{sshd.port}"))
        assert sshd.connections() == 0


def test_a_certificate_of_another_key(ask, at, slurm_cluster, authority, tmp_path):
    """A pair that does not belong together is found before anything is sent."""
    certificate = authority.certificate_file.rename(tmp_path / "taken.pub")
    mixed = at(slurm_cluster, certificate_file=str(certificate))
    with pytest.raises(AuthenticationRefused, match=r"taken.pub' certifies another key than the key file '.*user_key'"):
        ask(mixed)
    with pytest.raises(AuthenticationRefused, match=r"is no OpenSSH certificate"):
        ask(dataclasses.replace(mixed, certificate_file=str(slurm_cluster.known_hosts)))
