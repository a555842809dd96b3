"""The configuration files of the private cluster, as text."""

import dataclasses
import json
from pathlib import Path

import pytest

from headnode.testing import ClusterOptions, SettingsError, rendering
from headnode.testing.errors import ProgramsMissing
from headnode.testing.programs import find_programs
from headnode.testing.settings import MAX_DIRECTORY_BYTES, ClusterSettings, ClusterSize, check_directory

SETTINGS = ClusterSettings(
    directory=Path("/srv/hn"),
    size=ClusterSize(),
    user="ada",
    hostname="laptop",
    loopback="127.0.1.1",
    listen_address="127.0.0.1",
    ssh_port=20022,
    slurmctld_port=20001,
    slurmdbd_port=20002,
    slurmd_ports=(20003, 20004, 20005, 20006),
    session_path="/usr/bin:/bin",
    use_pam=False,
)


def test_nodes():
    """Each virtual node has its own port, and the last two have GPUs."""
    lines = [line for line in rendering.render_slurm_conf(SETTINGS).splitlines() if line.startswith("NodeName=")]
    assert lines[0] == (
        "NodeName=n1 NodeHostname=laptop NodeAddr=127.0.1.1 Port=20003 CPUs=16 RealMemory=8000 State=UNKNOWN"
    )
    assert ["Gres=gpu:2" in line for line in lines] == [False, False, True, True]
    assert len({line.split("Port=")[1].split()[0] for line in lines}) == 4


def test_partitions():
    """The partitions are batch, the default, and gpu."""
    conf = rendering.render_slurm_conf(SETTINGS)
    assert "PartitionName=batch Nodes=ALL Default=YES" in conf
    assert "PartitionName=gpu Nodes=n3,n4 Default=NO" in conf


def test_sampling():
    """A larger cluster samples the use of its jobs less often."""
    large = dataclasses.replace(SETTINGS, size=ClusterSize(cpus_per_node=64))
    assert "JobAcctGatherFrequency=2\n" in rendering.render_slurm_conf(SETTINGS)
    assert "JobAcctGatherFrequency=8\n" in rendering.render_slurm_conf(large)


def test_no_gpus():
    """Without GPUs there is no partition gpu."""
    settings = dataclasses.replace(SETTINGS, size=ClusterSize(gpus_per_gpu_node=0))
    assert "PartitionName=gpu" not in rendering.render_slurm_conf(settings)
    assert "Gres=gpu:" not in rendering.render_slurm_conf(settings)
    assert rendering.render_gres_conf(settings) == "AutoDetect=off\n"


def test_gpu_numbers():
    """One GPU and several are numbered from zero."""
    one = dataclasses.replace(SETTINGS, size=ClusterSize(gpus_per_gpu_node=1))
    assert "NodeName=n4 Name=gpu File=/srv/hn/gpu/nvidia0\n" in rendering.render_gres_conf(one)
    assert "NodeName=n4 Name=gpu File=/srv/hn/gpu/nvidia[0-1]\n" in rendering.render_gres_conf(SETTINGS)


def test_loopback():
    """Slurm's daemons are bound to loopback where the host name resolves to it."""
    unresolved = dataclasses.replace(SETTINGS, loopback=None)
    for render in (rendering.render_slurm_conf, rendering.render_slurmdbd_conf):
        assert "NoInAddrAny" in render(SETTINGS)
        assert "NoInAddrAny" not in render(unresolved)
    assert "SlurmctldHost=laptop(127.0.0.1)" in rendering.render_slurm_conf(unresolved)


def test_sshd():
    """Sshd has the limits of real centres and takes keys alone."""
    lines = rendering.render_sshd_config(SETTINGS).splitlines()
    assert {"MaxSessions 10", "MaxStartups 10:30:100", "LogLevel VERBOSE"} <= set(lines)
    assert {"PasswordAuthentication no", "KbdInteractiveAuthentication no", "AllowUsers ada"} <= set(lines)
    assert "ListenAddress 127.0.0.1" in lines


def test_session_path():
    """SSH sessions look for Slurm's commands in the directory first."""
    assert rendering.session_environment(SETTINGS)["PATH"] == "/srv/hn/bin:/usr/bin:/bin"
    assert " PATH=/srv/hn/bin:/usr/bin:/bin " in rendering.render_sshd_config(SETTINGS)


def test_database():
    """The database is reachable through its socket alone."""
    assert "skip-networking" in rendering.render_my_cnf(SETTINGS).splitlines()


def test_known_host():
    """known_hosts names the port unless it is SSH's own."""
    assert rendering.render_known_host("127.0.0.1", 20022, "ssh-ed25519 AAAA") == "[127.0.0.1]:20022 ssh-ed25519 AAAA\n"
    assert rendering.render_known_host("login", 22, "ssh-ed25519 AAAA") == "login ssh-ed25519 AAAA\n"


def test_settings_file():
    """Settings survive their file."""
    assert ClusterSettings.from_json(SETTINGS.to_json()) == SETTINGS


@pytest.mark.parametrize("name", ["with space", "per%cent", "ha#sh", 'quo"te', "com,ma", "new\nline"])
def test_unnameable_directory(name):
    """A directory that configuration files cannot name is refused."""
    with pytest.raises(SettingsError, match="characters"):
        check_directory(Path("/srv") / name)


def test_deep_directory():
    """A directory too deep for Unix sockets is refused with its length."""
    longest = Path("/" + "d" * (MAX_DIRECTORY_BYTES - 1))
    assert check_directory(longest) == longest
    with pytest.raises(SettingsError, match=f"{MAX_DIRECTORY_BYTES + 1} bytes"):
        check_directory(Path(f"{longest}d"))


@pytest.mark.parametrize("field", ["nodes", "cpus_per_node", "memory_mb_per_node"])
def test_size(field):
    """A size below one is refused by its name."""
    with pytest.raises(SettingsError, match=field):
        ClusterSize(**{field: 0})


def test_missing_programs(tmp_path):
    """Missing programs are named with the packages to install."""
    (tmp_path / "sbatch").touch(mode=0o755)
    with pytest.raises(ProgramsMissing) as refused:
        find_programs(str(tmp_path))
    assert "slurmctld, slurmd, slurmdbd, munged, mariadbd" in str(refused.value)
    assert "sbatch" not in str(refused.value).partition(" On Debian")[0]
    assert "slurmctld slurmd slurm-client slurmdbd munge openssh-server" in str(refused.value)


def with_options(**options):
    """Render the slurm.conf of a cluster with these options."""
    return rendering.render_slurm_conf(dataclasses.replace(SETTINGS, options=ClusterOptions(**options)))


def test_no_options():
    """Without options nothing but Slurm's defaults is written."""
    conf = rendering.render_slurm_conf(SETTINGS)
    for name in ("MinJobAge", "MaxJobId", "MaxArraySize", "Preempt", "MessageTimeout", "SlurmdTimeout", "OverMemory"):
        assert name not in conf
    assert rendering.moved_clock(SETTINGS) == {}


def test_options():
    """Each option becomes the line of its name."""
    conf = with_options(min_job_age_seconds=2, first_job_id=100, max_job_id=104, max_array_size=11)
    assert "MinJobAge=2\nFirstJobId=100\nMaxJobId=104\nMaxArraySize=11\n" in conf
    conf = with_options(message_timeout_seconds=3, slurmd_timeout_seconds=5, enforce_memory=True)
    assert "MessageTimeout=3\nSlurmdTimeout=5\nJobAcctGatherParams=OverMemoryKill\n" in conf
    assert "PartitionName=preemptable Nodes=ALL PriorityTier=10 PreemptMode=REQUEUE" in with_options(preemption=True)


def test_no_accounting():
    """Without accounting nothing of slurm.conf leads to slurmdbd."""
    conf = with_options(accounting=False)
    assert "AccountingStorageType=accounting_storage/none\n" in conf
    assert "AccountingStoragePort" not in conf
    assert "gres/gpu" not in conf


def test_moved_clock():
    """Every process of the cluster has its clock, and sleeps as long as ever."""
    options = ClusterOptions(clock_offset_seconds=-3600)
    settings = dataclasses.replace(SETTINGS, options=options, faketime_library="/usr/lib/libfaketime.so.1")
    environment = rendering.session_environment(settings)
    assert environment["FAKETIME"] == "-3600"
    assert environment["LD_PRELOAD"] == "/usr/lib/libfaketime.so.1"
    assert environment["FAKETIME_DONT_FAKE_MONOTONIC"] == "1"


@pytest.mark.parametrize(
    "options", [{"min_job_age_seconds": -1}, {"first_job_id": 10, "max_job_id": 10}, {"max_job_id": 1}]
)
def test_bad_options(options):
    """What Slurm would not take is refused at once."""
    with pytest.raises(SettingsError):
        ClusterOptions(**options)


def test_settings_of_old_clusters_are_read():
    """A cluster that was started before there were options is found again."""
    text = SETTINGS.to_json()
    fields = json.loads(text)
    del fields["options"]
    assert ClusterSettings.from_json(json.dumps(fields)) == SETTINGS
    assert ClusterSettings.from_json(text) == SETTINGS
