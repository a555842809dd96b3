"""Checks of connections, good and bad, on a real cluster: what is wrong is said in one clear sentence with a remedy."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import asyncssh
import pytest

from headnode.cluster.findings import Verdict
from headnode.hooks.check import check_connection
from headnode.hooks.connection import load_settings
from headnode.hooks.slurm import SlurmHook
from headnode.ssh.login import login_slot
from headnode.testing import ClusterOptions, SlurmCluster
from headnode.testing.faults import small_disk
from headnode.testing.watchdog import end_cluster

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]
HEADNODE = Path(sys.executable).parent / "headnode"
SLURM_COMMANDS = {"sbatch", "squeue", "scontrol", "scancel", "sacct", "sinfo", "sacctmgr"}


@pytest.fixture
def check(slurm_cluster, monkeypatch, tmp_path):
    """Return a function that checks a connection to the cluster with changes."""
    monkeypatch.setenv("AIRFLOW__HEADNODE__BUDGET_DIRECTORY", str(tmp_path / "budget"))

    def run(*, cluster=slurm_cluster, without=(), on_progress=lambda _: None, **changes):
        connection = json.loads(cluster.airflow_connection_json("slurm"))
        connection["extra"]["look_for_keys"] = False
        for field in ("host", "port", "login"):
            connection[field] = changes.pop(field, connection[field])
        connection["extra"] |= changes
        for name in without:
            del connection["extra"][name]
        monkeypatch.setenv("AIRFLOW_CONN_PRIVATE", json.dumps(connection))
        return check_connection("private", on_progress=on_progress)

    return run


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Give the user who runs Airflow an empty home."""
    place = tmp_path / "home"
    (place / ".ssh").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(place))
    return place


def value_of(report, what):
    """Return the value of the one finding on ``what``."""
    (finding,) = [each for each in report.findings if each.what == what]
    return finding.value


def the_wrong(report):
    """Return the one finding that is wrong, as text."""
    assert not report.ok
    (finding,) = report.of(Verdict.WRONG)
    return finding.text


def public_key(kind="ssh-ed25519"):
    """Return a key that the host does not have, as a known_hosts file would hold it."""
    return " ".join(asyncssh.generate_private_key(kind).export_public_key().decode().split()[:2])


def fingerprint_of(key, place):
    """Return what OpenSSH says of the key."""
    place.write_text(f"{key}\n")
    listed = subprocess.run(["ssh-keygen", "-l", "-f", place], check=True, capture_output=True, text=True, timeout=30)
    return re.search(r"SHA256:\S+", listed.stdout)[0]


def test_a_connection_that_is_well(check, slurm_cluster, tmp_path):
    """Over one login and with two commands it tells host, version, partitions, limits and the work directory."""
    before = slurm_cluster.logins()
    report = check()
    assert report.ok, report.text
    assert slurm_cluster.logins() == before + 1
    assert value_of(report, "Login") == f"{slurm_cluster.user}@127.0.0.1:{slurm_cluster.port}"
    shown = fingerprint_of(slurm_cluster.host_key, tmp_path / "shown")
    assert value_of(report, "Host key") == f"ssh-ed25519 {shown}"
    assert value_of(report, "Slurm's commands") == f"in {slurm_cluster.directory}/bin"
    assert re.fullmatch(r"\d+\.\d+\.\S+, cluster private", value_of(report, "Slurm"))
    assert value_of(report, "Partitions") == (
        "batch (default): 4 nodes, up to 1-00:00:00; gpu: 2 nodes, up to 1-00:00:00"
    )
    assert value_of(report, "Arrays") == "indices up to 1000 (MaxArraySize=1001); longer ones are split"
    assert value_of(report, "Accounting").startswith("on; slurmctld knows ended jobs for ")
    assert value_of(report, "QOS limits") == "normal: no limit"
    assert value_of(report, "Login shell").endswith("prints nothing by itself")
    assert value_of(report, "Clock") == "agrees with this machine's"
    # The private cluster lies in /tmp, which each node of a usual one has for itself.
    assert [finding.what for finding in report.of(Verdict.WARNING)] == ["Work directory"]


def test_the_work_directory_is_made_for_its_user_alone(check, tmp_path):
    """Whoever could write in it could change what jobs run; nothing of the check is left in it."""
    place = tmp_path / "with a blank" / "work"
    assert check(work_directory=str(place)).ok
    assert place.stat().st_mode & 0o777 == 0o700
    assert list(place.iterdir()) == []


def test_a_cluster_without_accounting(check):
    """Jobs can run there; the report says what is missing."""
    directory = Path(tempfile.mkdtemp(prefix="hn-check-", dir="/tmp"))
    try:
        cluster = SlurmCluster.start(
            directory, nodes=1, gpus_per_gpu_node=0, options=ClusterOptions(accounting=False, min_job_age_seconds=20)
        )
        report = check(cluster=cluster, account="climate")
        assert report.ok
        assert value_of(report, "Accounts") == "climate, which this cluster does not check"
        assert value_of(report, "Accounting") == "off; slurmctld knows ended jobs for 20 s (MinJobAge)"
        assert "set the connection's poll_max_seconds to 10 or less" in report.text
    finally:
        end_cluster(directory)


@contextlib.contextmanager
def start_up(cluster, place, line):
    """Let a line of shell text run before each command over SSH, as start-up files do."""
    script = place / "start-up"
    script.write_text(f'#!/bin/sh\n{line}\nexec /bin/sh -c "$SSH_ORIGINAL_COMMAND"\n')
    script.chmod(0o755)
    with cluster.sshd_options(f"ForceCommand {script}"):
        yield


@contextlib.contextmanager
def path_without_slurm(cluster, place, *, login_shell_finds_it):
    """Give commands over SSH a PATH with everything but Slurm."""
    tools = place / "tools"
    tools.mkdir()
    for program in Path("/usr/bin").iterdir():
        if program.name not in SLURM_COMMANDS:
            (tools / program.name).symlink_to(program)
    profile = cluster.directory / "home" / ".bash_profile"
    profile.write_text(f"PATH={cluster.directory / 'bin' if login_shell_finds_it else tools}:{tools}\n")
    try:
        with start_up(cluster, place, f"export PATH={tools}"):
            yield tools
    finally:
        profile.unlink()


def test_slurm_outside_of_path(check, slurm_cluster, tmp_path):
    """Where login shells have it the report names the directory, and looks at Slurm there; then that is enough."""
    place = f"{slurm_cluster.directory}/bin"
    with path_without_slurm(slurm_cluster, tmp_path, login_shell_finds_it=True) as tools:
        report = check()
        assert the_wrong(report) == (
            "Slurm's commands: sbatch, squeue, scontrol, scancel, sacct can't be found by commands over SSH, whose PATH"
            f" is {tools}; but they are in {place}. Set the connection's slurm_path to {place}"
        )
        assert "cluster private" in value_of(report, "Slurm")
        assert check(slurm_path=place).ok


def test_no_slurm_at_all(check, slurm_cluster, tmp_path):
    """The report says how to find it."""
    with path_without_slurm(slurm_cluster, tmp_path, login_shell_finds_it=False):
        assert "run `command -v sbatch` there" in the_wrong(check())


def test_a_full_disk(check, tmp_path):
    """A work directory in which nothing can be written any more."""
    place = tmp_path / "work"
    place.mkdir()
    with small_disk(place, kibibytes=64):
        text = the_wrong(check(work_directory=str(place)))
    assert re.fullmatch(
        rf"Work directory: {place} is full \(.*No space left on device\). Remove files there, or set the connection's"
        " work_directory to a place with room, e.g. on scratch",
        text,
    )


def test_a_work_directory_that_cannot_be_made(check):
    """The directory is named, and why."""
    text = the_wrong(check(work_directory="/proc/headnode"))
    assert text.startswith("Work directory: /proc/headnode can't be written (mkdir: cannot create directory")
    assert "Set the connection's work_directory" in text


@pytest.mark.parametrize("text", ["Welcome\\nto the private cluster\\n", "no end of line"])
def test_start_up_files_that_print(check, slurm_cluster, tmp_path, text):
    """Jobs run all the same; transfers would break."""
    with start_up(slurm_cluster, tmp_path, f"printf '{text}'"):
        report = check()
    assert report.ok
    first = text.partition("\\n")[0]
    assert value_of(report, "Login shell").endswith(f"prints to the output of commands: {first!r}")


def test_an_unknown_host_key(check, slurm_cluster, home, tmp_path):
    """The report shows fingerprint and key to whoever wants to accept it; what it says to do works."""
    text = the_wrong(check(without=["host_key"]))
    shown = fingerprint_of(slurm_cluster.host_key, tmp_path / "shown")
    where = f"[127.0.0.1]:{slurm_cluster.port}"
    assert text.startswith(f"Host key: {where} is not known yet; it shows ssh-ed25519 {shown}. Compare the fingerprint")
    assert f"set the connection's host_key to `{slurm_cluster.host_key}`" in text
    assert not (home / ".ssh" / "known_hosts").exists()
    (line,) = re.findall(r"add the line `([^`]+)`", text)
    (home / ".ssh" / "known_hosts").write_text(f"{line}\n")
    assert check(without=["host_key"]).ok


@pytest.mark.parametrize("kind", ["ssh-ed25519", "ecdsa-sha2-nistp256"])
@pytest.mark.parametrize("source", ["connection", "known_hosts"])
def test_a_changed_host_key(check, slurm_cluster, home, source, kind):
    """Both fingerprints are shown, and nobody is told to accept the new one without asking the site."""
    old = public_key(kind)
    if source == "connection":
        text, known_from = the_wrong(check(host_key=old)), "the connection's host_key"
    else:
        known_from = str(home / ".ssh" / "known_hosts")
        Path(known_from).write_text(f"[127.0.0.1]:{slurm_cluster.port} {old}\n")
        text = the_wrong(check(without=["host_key"]))
    shown = fingerprint_of(slurm_cluster.host_key, home / "shown")
    before = fingerprint_of(old, home / "before")
    assert f"shows ssh-ed25519 {shown}, but {known_from} says {kind} {before}. Either the site" in text
    assert "do not log in before you know" in text


def test_a_host_that_speaks_no_ssh(check):
    """A web server on the port, say."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            with contextlib.suppress(OSError):
                while True:
                    client, _ = server.accept()
                    with client:
                        client.recv(4096)
                        client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        text = the_wrong(check(port=server.getsockname()[1], conn_timeout=5))
    assert "can't be reached: what listens there speaks no SSH; it answers 'HTTP/1.1 400 Bad Request'" in text


def test_a_port_on_which_nobody_listens(check):
    """Host, port and connection are named."""
    assert "@127.0.0.1:1 (connection 'private') can't be reached" in the_wrong(check(port=1))


def test_a_wrong_passphrase(check, slurm_cluster, tmp_path):
    """The report speaks of the passphrase, and does not show it."""
    path = tmp_path / "key"
    asyncssh.read_private_key(slurm_cluster.key_file).write_private_key(path, passphrase="open sesame", rounds=2)
    text = the_wrong(check(key_file=str(path), private_key_passphrase="open barley"))
    assert "passphrase" in text
    assert "barley" not in text


def test_a_key_of_the_wrong_type(check, slurm_cluster):
    """The public half, which is easily taken for the other."""
    text = the_wrong(check(key_file=f"{slurm_cluster.key_file}.pub"))
    assert re.search("Login: .*(public|private) key", text)


def test_waiting_for_a_turn_is_told(check):
    """Whoever watches sees why nothing happens, and the check goes on when it is its turn."""
    assert check(concurrent_logins=1).ok
    told = []
    with login_slot(load_settings("private").ssh) as slot:

        def hear(text):
            told.append(text)
            if "waiting for a turn" in text:
                slot.release()

        assert check(on_progress=hear, concurrent_logins=1).ok
    assert any("waiting for a turn to log in at 127.0.0.1" in text for text in told)
    assert told[-1] == "asking Slurm"


def test_a_refused_login_can_be_checked_again_at_once(check, tmp_path):
    """Others wait after a refusal; a person who has just asked the site wants to know."""
    path = tmp_path / "stranger"
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(path)
    first, second = (the_wrong(check(key_file=str(path))) for _ in range(2))
    assert "refused the login" in first
    assert second == first


def test_the_button(slurm_cluster, monkeypatch):
    """The connection page's button gets plain text, the worst first, without the id that Airflow made up."""
    monkeypatch.setenv("AIRFLOW_CONN_ABCDEF", slurm_cluster.airflow_connection_json("slurm"))
    ok, message = SlurmHook("abcdef").test_connection()
    assert ok
    assert "cluster private." in message
    text = slurm_cluster.airflow_connection_json("slurm").replace(f'"port": {slurm_cluster.port}', '"port": 1')
    monkeypatch.setenv("AIRFLOW_CONN_ABCDEF", text)
    ok, message = SlurmHook("abcdef").test_connection()
    assert not ok
    assert "127.0.0.1:1 (connection being tested) can't be reached" in message


def headnode(*words, home, **environment):
    """Run the installed command where no Airflow was set up."""
    variables = {**os.environ, "AIRFLOW_HOME": str(home), "COLUMNS": "100", **environment}
    command = [str(HEADNODE), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=100, env=variables)


def test_the_command(slurm_cluster, tmp_path):
    """The connection in the environment is enough; what is wrong is in the exit status too."""
    good = slurm_cluster.airflow_connection_json("slurm")
    done = headnode("check", "private", home=tmp_path, AIRFLOW_CONN_PRIVATE=good)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.rstrip().endswith("private: jobs can run")
    bad = slurm_cluster.airflow_connection_json("slurm", host_key=public_key())
    done = headnode("check", "private", "--json", home=tmp_path, AIRFLOW_CONN_PRIVATE=bad)
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert (report["conn_id"], report["ok"]) == ("private", False)
    assert [(each["what"], each["verdict"]) for each in report["findings"]] == [("Host key", "wrong")]


def test_the_command_without_an_airflow(tmp_path):
    """A database that is not there is no missing connection."""
    done = headnode("check", "private", home=tmp_path)
    assert done.returncode == 1
    assert "can't be looked up in Airflow's database" in done.stdout
    assert "AIRFLOW_CONN_PRIVATE" in done.stdout


def test_the_command_interrupted(tmp_path):
    """Ctrl-C ends it with a sentence, also while a host is silent."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        connection = {"conn_type": "slurm", "host": "127.0.0.1", "port": silent.getsockname()[1], "login": "me"}
        variables = {"AIRFLOW_HOME": str(tmp_path), "AIRFLOW_CONN_PRIVATE": json.dumps(connection)}
        command = [str(HEADNODE), "check", "private"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **variables}) as process:
            with silent.accept()[0]:
                process.send_signal(signal.SIGINT)
                assert process.wait(timeout=60) == 130
            assert process.stderr.read().strip().endswith("interrupted; nothing is left running on the cluster")
