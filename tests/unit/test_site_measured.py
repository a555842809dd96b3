"""What a cluster tells of itself becomes a catalogue file: numbers that a job may ask for, and what stays unknown."""

import dataclasses

import broken_answers as said
import pytest

from headnode.errors import UnreadableAnswer
from headnode.sites.catalogue import Catalogue
from headnode.sites.login_shell import parse_login_shell
from headnode.sites.measured import describe_site, is_site_name, site_name
from headnode.sites.probing import SiteAnswers, Unknown, representatives, try_job
from headnode.sites.site_file import plain, render_site
from headnode.sites.system import System
from headnode.slurm import hardware, limits, partitions
from headnode.slurm.module_names import parse_modules

CONFIG = f"{said.CONFIG}GresTypes               = gpu\nMpiDefault              = pmix\nSelectType = select/cons_tres\n"
SHELL = """\
headnode:shell Hello to all!
headnode:shell user me
headnode:shell runtime apptainer
headnode:shell mpi pmix none pmi2 specific pmix plugin versions available: pmix_v4
headnode:shell HOME /home/me
headnode:shell SCRATCH /scratch/p1/me
headnode:shell https_proxy http://me:secret@proxy:3128
headnode:shell internet no
headnode:shell end
"""
HARDWARE = (
    "small*|2|16|16|1|1|8000|(null)|s[1-2]|\nsmall*|1|128|1|64|2|512000|gpu:mi250:8(S:0)|g1|\n"
    "large|3|128|1|64|2|512000|gpu:mi250:8(S:0)|g[1-3]|\n"
)
NODES = said.NODE_RECORDS + (
    "NodeName=s1 Arch=x86_64 CoresPerSocket=8 CPUAlloc=0 CPUEfctv=16 CPUTot=16 Gres=(null) RealMemory=8000 Sockets=2"
    " ThreadsPerCore=1\n"
)
_LIMITS = "OverSubscribe=NO State=UP TotalNodes=3 JobDefaults=(null) MaxMemPerNode=UNLIMITED"
_LET_IN = "AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL"
SMALL = (
    f"PartitionName=small {_LET_IN} Default=YES QoS=N/A DefaultTime=NONE MaxNodes=UNLIMITED MaxTime=1-00:00:00"
    f" MinNodes=0 MaxCPUsPerNode=UNLIMITED {_LIMITS}\n"
)
LARGE = (
    "PartitionName=large AllowGroups=ALL AllowAccounts=a,b AllowQos=gold Default=NO QoS=part DefaultTime=01:00:00"
    " MaxNodes=1024 MaxTime=2-00:00:00 MinNodes=1 MaxCPUsPerNode=96 OverSubscribe=EXCLUSIVE State=DRAIN TotalNodes=3"
    " JobDefaults=DefCpuPerGPU=7 MaxMemPerNode=400000\n"
)
QOS = "normal||||\npart|12:00:00|node=2,cpu=9|5|10\n"
ANSWERS = SiteAnswers(
    config=limits.parse_config(CONFIG),
    partitions=partitions.parse_partition_records(SMALL + LARGE),
    hardware=hardware.parse_hardware(HARDWARE),
    qos=partitions.parse_qos_records(QOS),
    nodes=hardware.parse_node_records(NODES),
    modules=parse_modules(said.MODULES),
    login_shell=parse_login_shell(SHELL),
    test_job=None,
)


def described(**changes):
    """Return the facts and the text of the file for answers with changes."""
    answers = dataclasses.replace(ANSWERS, **changes)
    block = describe_site(answers, name="here", hosts=["h"], port=22, jump_hosts=["gate"], date="2026-11-21")
    return block, render_site(block, heading=["measured"])


def read(tmp_path, **changes):
    """Return the system that the file describes, read as the catalogue reads it."""
    (tmp_path / "here.yaml").write_text(described(**changes)[1])
    return Catalogue([tmp_path]).system("here")


def test_the_file_is_one_of_the_catalogue(tmp_path):
    """Each block names its source; modules are candidates in a note and nothing else."""
    system = read(tmp_path)
    assert system.sources["probe"].kind == "measured"
    assert system.sources["probe"].date == "2026-11-21"
    assert all(block.source == ("probe",) or not block.model_fields_set for _, block in system.blocks())
    assert (system.login.hosts, system.login.jump_hosts) == (("h",), ("gate",))
    assert (system.default_partition, system.gpu_partition) == ("small", "large")
    assert (system.mandatory.account, system.srun.mpi, system.srun.version) == (False, "pmix", "22.05.8")
    assert (system.container.runtime, system.module_system, system.software) == ("apptainer", "lmod", {})
    assert (system.internet.login, system.internet.compute) == (False, None)
    assert system.internet.proxy == "http://proxy:3128"
    assert (system.paths.home, system.paths.scratch) == ("$HOME=/home/<user>", "$SCRATCH=/scratch/p1/<user>")
    assert "modules that by their names may bring pytorch (not tried): PyTorch/2.1" in [
        note.text for note in system.notes
    ]
    assert {note.source for note in system.notes} == {("probe",)}


def test_of_nodes_that_differ_the_smallest_counts(tmp_path):
    """And the note says which there are."""
    small = read(tmp_path).partitions["small"]
    assert (small.cores, small.usable_cores, small.sockets, small.threads_per_core) == (16, 16, 1, 1)
    assert (small.gpus, small.gpu, small.usable_memory) == (0, None, "8000M")
    assert small.note == (
        "its nodes differ (2 of 16 cores, 8000 MiB; 1 of 56 cores, 491520 MiB, 8 GPUs (mi250)), and the smallest"
        " numbers are said here"
    )


def test_limits_of_partition_and_qos(tmp_path):
    """The narrower of both counts; CPUs and memory that a job may not have are no job's."""
    large = read(tmp_path).partitions["large"]
    assert (large.cores, large.usable_cores, large.usable_memory) == (64, 48, "400000M")
    assert (large.gpus, large.gpu, large.gpu_vendor, large.features) == (8, "mi250", None, ("a", "b"))
    assert (large.max_nodes, large.min_nodes, large.max_jobs, large.max_running_jobs) == (2, 1, 10, 5)
    assert (large.max_time.total_seconds(), large.default_time.total_seconds()) == (12 * 3600, 3600)
    assert (large.exclusive, large.qos) == (True, "gold")
    assert large.note == (
        "its state is DRAIN; only for accounts a, b; only for QOSes gold; jobs get DefCpuPerGPU=7 where they ask for"
        " nothing else"
    )


@pytest.mark.parametrize(
    ("message", "account", "qos"),
    [
        ("allocation failure: Invalid account or account/partition combination specified", True, None),
        ("Job rejected: please give a QOS with --qos", None, True),
        ("the site is closed", None, None),
    ],
)
def test_what_a_job_must_say(tmp_path, message, account, qos):
    """What sbatch says to a job that is only tried; what it says of something else tells nothing."""
    system = read(tmp_path, test_job=message)
    assert (system.mandatory.account, system.mandatory.qos) == (account, qos)
    assert f"sbatch --test-only without one: {message}" in described(test_job=message)[1]


def test_what_was_not_learned_is_null_and_why(tmp_path):
    """A command that failed leaves a file all the same, without one made-up number."""
    names = ("hardware", "qos", "modules", "login_shell")
    unknown = {name: Unknown(why=f"no answer: {name}\nHere: [it] broke") for name in names}
    system = read(tmp_path, nodes=Unknown(why="x"), **unknown)
    large = system.partitions["large"]
    assert (large.cores, large.usable_cores, large.gpus, large.usable_memory) == (None, None, None, None)
    assert (large.max_nodes, large.exclusive) == (1024, True)
    assert (system.module_system, system.container.runtime, system.internet.login) == (None, None, None)
    text = described(nodes=Unknown(why="x"), **unknown)[1]
    assert "cores: null  # no answer: hardware\\nHere: [it] broke" in text
    assert "# the limits of its QOS part are unknown: no answer: qos" in text


def test_nodes_of_which_nothing_is_known(tmp_path):
    """Those that are known count, and the note says how many are not."""
    nodes = {"s1": ANSWERS.nodes["s1"]}
    system = read(tmp_path, nodes=nodes)
    assert system.partitions["small"].note == "Slurm was not asked, or did not tell, of 1 of its nodes"
    assert system.partitions["large"].cores is None


def test_how_srun_can_start_mpi():
    """Where there is no default, the comment has what srun offers."""
    assert ANSWERS.login_shell.mpi == ("pmix", "none", "pmi2")
    config = dataclasses.replace(ANSWERS.config, mpi_default=None)
    assert "mpi: null  # MpiDefault is none; srun --mpi=list says: pmix none pmi2\n" in described(config=config)[1]


def test_one_node_of_each_kind_is_asked_for():
    """Thousands of alike ones cost one line."""
    assert representatives(ANSWERS.hardware) == ["s1", "g1"]


def test_a_job_is_only_tried():
    """Without a default partition, in one that is up; a variable of the user gives no account."""
    tried = try_job(ANSWERS.partitions)
    assert tried[:5] == ["env", "-u", "SBATCH_ACCOUNT", "-u", "SLURM_ACCOUNT"]
    assert "--test-only" in tried
    assert not any(word.startswith("--partition") for word in tried)
    (small, large) = (dataclasses.replace(each, is_default=False) for each in ANSWERS.partitions)
    assert "--partition=small" in try_job([large, small])


@pytest.mark.parametrize("cluster", ["LUMI", "my cluster_2", "--", "Ünï"])
def test_names_of_systems(cluster):
    """Whatever a cluster is called, its system can be named so."""
    assert is_site_name(site_name(cluster))


@pytest.mark.parametrize(
    "text", ["", SHELL.replace("internet no", "internet ?"), SHELL[:-20], SHELL.replace("app", "r")]
)
def test_a_login_shell_that_was_cut(text):
    """It is refused."""
    with pytest.raises(UnreadableAnswer):
        parse_login_shell(text)


def test_the_form_knows_all_that_is_written():
    """Each fact is one of the catalogue's form."""
    assert System.model_validate(plain(described()[0])).name == "here"
