"""The private cluster is a real one, keeps to its directory, and leaves nothing behind."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from headnode.testing import DaemonFailed, NotRunning, SettingsError, SlurmCluster
from headnode.testing.watchdog import end_cluster

pytestmark = pytest.mark.cluster


@pytest.fixture
def spare_directory():
    """Give a directory for one more cluster, which is ended with the test."""
    directory = Path(tempfile.mkdtemp(prefix="hn-spare-", dir="/tmp"))
    yield directory
    end_cluster(directory)


def over_ssh(cluster, command, **options):
    """Run a command on the cluster as its user would."""
    return subprocess.run(
        [*cluster.ssh_command(), command], capture_output=True, text=True, timeout=60, check=True, **options
    ).stdout


def processes_of(directory):
    """Find every process that the directory is known to, otherwise than the code under test does."""
    found = []
    for process in psutil.process_iter():
        try:
            sockets = [connection.laddr for connection in process.net_connections(kind="unix")]
            words = [*process.cmdline(), *process.environ().values(), *sockets]
            if process.status() != psutil.STATUS_ZOMBIE and any(str(directory) in word for word in words):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return [process for process in found if process.pid != os.getpid()]


def open_in(directory):
    """Return the files and sockets to which the processes of a cluster write, and the addresses where they listen."""
    written, listening = set(), set()
    for process in processes_of(directory):
        if "headnode.testing.watchdog" in process.cmdline():
            continue
        written |= {file.path for file in process.open_files() if file.mode not in {"r", "rb"}}
        connections = process.net_connections(kind="all")
        written |= {c.laddr for c in connections if c.family == socket.AF_UNIX and c.laddr}
        listening |= {c.laddr.ip for c in connections if c.status == psutil.CONN_LISTEN}
    return written, listening


def wait_for(condition, seconds=30):
    """Wait for a true value and return it."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "what was waited for did not come"
        time.sleep(0.1)
    return value


def state_of(cluster, job_id):
    """Return the job's state in accounting."""
    return cluster.run("sacct", "-nXP", "-j", job_id, "-o", "State").stdout.strip()


def test_job_over_ssh(slurm_cluster, tmp_path):
    """A job sent over SSH runs on two nodes, stays in accounting, and its calls are counted."""
    calls, logins = slurm_cluster.count_calls(), slurm_cluster.logins()
    job_id = over_ssh(
        slurm_cluster,
        f"sbatch --wait --parsable --nodes=2 --chdir={tmp_path} --output=out --comment=mine"
        " --wrap='srun sh -c \"echo \\$SLURMD_NODENAME\"'",
    ).strip()
    assert sorted((tmp_path / "out").read_text().split()) == ["n1", "n2"]
    wait_for(lambda: state_of(slurm_cluster, job_id) == "COMPLETED")
    assert slurm_cluster.run("sacct", "-nXP", "-j", job_id, "-o", "Comment").stdout.strip() == "mine"
    assert slurm_cluster.logins() == logins + 1
    assert slurm_cluster.count_calls() == calls | {"sbatch": calls["sbatch"] + 1}


def test_pretend_gpus(slurm_cluster, tmp_path):
    """The partition gpu hands out its GPUs as a real one does."""
    slurm_cluster.run(
        *("sbatch", "--wait", "--partition=gpu", "--gpus-per-node=1", f"--chdir={tmp_path}", "--output=out"),
        "--wrap=echo $SLURMD_NODENAME $CUDA_VISIBLE_DEVICES",
    )
    assert (tmp_path / "out").read_text() == "n3 0\n"


def test_faulty_command(slurm_cluster):
    """A command put in place of Slurm's own answers SSH sessions until it is taken back."""
    (slurm_cluster.directory / "bin" / "squeue").write_text("#!/bin/sh\necho nonsense\n")
    try:
        assert over_ssh(slurm_cluster, "squeue") == "nonsense\n"
    finally:
        slurm_cluster.restore_commands()
    assert over_ssh(slurm_cluster, "squeue --noheader --name=nobody") == ""


def test_outages(slurm_cluster):
    """Slurm's daemons and sshd can be away for a while."""
    slurm_cluster.stop_slurmdbd()
    try:
        assert slurm_cluster.run("sacct", check=False).returncode != 0
        assert slurm_cluster.run("squeue").returncode == 0
        assert SlurmCluster.attach(slurm_cluster.directory).dead_daemons() == ["slurmdbd"]
    finally:
        slurm_cluster.start_slurmdbd()
    slurm_cluster.stop_slurmctld()
    try:
        assert "Unable to contact slurm controller" in slurm_cluster.run("squeue", check=False).stderr
    finally:
        slurm_cluster.start_slurmctld()
    assert slurm_cluster.run("squeue").returncode == 0
    with subprocess.Popen([*slurm_cluster.ssh_command(), "sleep 60"], stderr=subprocess.PIPE) as session:
        logins = slurm_cluster.logins()
        wait_for(lambda: slurm_cluster.logins() > logins)
        slurm_cluster.stop_sshd()
        try:
            assert session.wait(timeout=10) == 255
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((slurm_cluster.host, slurm_cluster.port))
        finally:
            slurm_cluster.start_sshd()
    assert over_ssh(slurm_cluster, "echo back") == "back\n"


def test_contained(slurm_cluster):
    """What the cluster writes lies in its directory, and it listens on loopback alone."""
    directory = str(slurm_cluster.directory)
    before, _ = open_in(directory)  # processes that jobs of other tests have left write where they like
    slurm_cluster.run("sbatch", "--chdir=/", "--output=/dev/null", "--wrap=sleep 5")
    wait_for(lambda: "RUNNING" in slurm_cluster.run("squeue", "-h", "-o", "%T").stdout)
    written, listening = open_in(directory)
    written -= before - {path for path in before if path.startswith(directory)}
    assert len(written) > 10
    assert [path for path in written if not path.startswith(directory)] == []
    if not socket.gethostbyname(socket.gethostname()).startswith("127."):
        pytest.skip("this machine's name is no loopback address, so Slurm's daemons cannot be bound to one")
    assert {ip.split(".")[0] for ip in listening} == {"127"}


def test_two_clusters(slurm_cluster, spare_directory):
    """A second cluster runs beside the first and leaves no process, whatever its jobs do."""
    spare = SlurmCluster.start(spare_directory, nodes=1, gpus_per_gpu_node=0)
    assert spare.port != slurm_cluster.port
    assert SlurmCluster.start(spare_directory).port == spare.port
    assert spare.run("sinfo", "-h", "-o", "%D %T").stdout.split() == ["1", "idle"]
    assert slurm_cluster.run("sinfo", "-h", "-p", "batch", "-o", "%D").stdout.strip() == "4"
    # One process of the job leaves its session, and ignores being asked to end.
    job = "trap '' TERM; setsid --fork sleep 600; touch started; sleep 600"
    spare.run("sbatch", f"--chdir={spare_directory}", "--output=/dev/null", f"--wrap={job}")
    wait_for((spare_directory / "started").exists)
    assert any("slurmstepd" in process.name() for process in processes_of(spare_directory))
    session = subprocess.Popen([*spare.ssh_command(), "sleep 600"], stderr=subprocess.DEVNULL)
    wait_for(lambda: spare.logins() == 1)
    spare.stop()
    assert session.wait(timeout=10) == 255
    assert [process.cmdline() for process in processes_of(spare_directory)] == []
    with pytest.raises(NotRunning, match="headnode devcluster up"):
        SlurmCluster.attach(spare_directory)


def test_after_a_crash(spare_directory):
    """After a crash the cluster comes up again with its keys, port and accounting."""
    first = SlurmCluster.start(spare_directory, nodes=1, gpus_per_gpu_node=0)
    job_id = first.run("sbatch", "--wait", "--parsable", "--output=/dev/null", "--wrap=true").stdout.strip()
    wait_for(lambda: state_of(first, job_id) == "COMPLETED")
    for process in processes_of(spare_directory):
        process.kill()
    again = SlurmCluster.start(spare_directory, nodes=1, gpus_per_gpu_node=0)
    assert (again.port, again.host_key) == (first.port, first.host_key)
    assert state_of(again, job_id) == "COMPLETED"


def test_failing_daemon(spare_directory):
    """A daemon that does not start is named with its log, and the others are ended."""
    (spare_directory / "mysql").mkdir()
    (spare_directory / "mysql" / ".made").touch()
    with pytest.raises(DaemonFailed, match=r"(?s)mariadbd ended.*mariadbd\.log"):
        SlurmCluster.start(spare_directory)
    assert processes_of(spare_directory) == []


def test_port_in_use(spare_directory):
    """A port that is in use is named before anything starts."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(SettingsError, match=f"port {port} is in use"):
            SlurmCluster.start(spare_directory, port=port)


def test_no_address(spare_directory):
    """What is no IPv4 address is refused before anything starts."""
    with pytest.raises(SettingsError, match="'localhost'; give an IPv4 address"):
        SlurmCluster.start(spare_directory, listen_address="localhost")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_start(spare_directory, number):
    """A start that is interrupted leaves no process."""
    headnode = str(Path(sys.executable).parent / "headnode")
    command = [headnode, "devcluster", "up", "--dir", str(spare_directory)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as starting:
        wait_for((spare_directory / "run" / "munged.pid").exists)
        starting.send_signal(number)
        assert starting.wait(timeout=60) != 0
    assert [process.cmdline() for process in processes_of(spare_directory)] == []


def test_fixture_elsewhere(tmp_path):
    """The fixture serves any repository, and its cluster ends with pytest, even by SIGKILL."""
    (tmp_path / "test_mine.py").write_text(
        "import os, signal\n"
        "def test_first(slurm_cluster):\n"
        "    open('where', 'w').write(str(slurm_cluster.directory))\n"
        "    assert slurm_cluster.run('sinfo').returncode == 0\n"
        "def test_last(slurm_cluster):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    mine = subprocess.run([sys.executable, "-m", "pytest", "-p", "no:cacheprovider"], cwd=tmp_path, check=False)
    assert mine.returncode == -signal.SIGKILL
    directory = Path((tmp_path / "where").read_text())
    wait_for(lambda: not directory.exists() and not processes_of(directory))
