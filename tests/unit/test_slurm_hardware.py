"""What Slurm prints of partitions and nodes, from 20.11 to 25.11, becomes numbers that a job may ask for."""

import pytest

from headnode.errors import UnreadableAnswer
from headnode.slurm.hardware import parse_hardware, parse_node_records
from headnode.slurm.partitions import parse_partition_records

# Slurm 22.05.8, a private cluster.
BATCH = (
    "PartitionName=batch AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL AllocNodes=ALL Default=YES QoS=N/A"
    " DefaultTime=NONE DisableRootJobs=NO ExclusiveUser=NO GraceTime=0 Hidden=NO MaxNodes=UNLIMITED MaxTime=1-00:00:00"
    " MinNodes=0 LLN=NO MaxCPUsPerNode=UNLIMITED Nodes=n[1-4] PriorityJobFactor=1 PriorityTier=1 RootOnly=NO"
    " ReqResv=NO OverSubscribe=NO OverTimeLimit=NONE PreemptMode=OFF State=UP TotalCPUs=64 TotalNodes=4"
    " SelectTypeParameters=NONE JobDefaults=(null) DefMemPerNode=UNLIMITED MaxMemPerNode=UNLIMITED"
    " TRES=cpu=64,mem=32000M,node=4,billing=64,gres/gpu=4"
)
# As a site with whole nodes, limits and a QOS of its own has it: 20.11 without TRES, 25.11 with ExclusiveTopo and
# MaxCPUsPerSocket.
OLD = (
    "PartitionName=standard-g AllowGroups=users AllowAccounts=a,b AllowQos=gpu AllocNodes=ALL Default=NO"
    " QoS=standard-g DefaultTime=01:00:00 DisableRootJobs=YES ExclusiveUser=NO GraceTime=0 Hidden=NO MaxNodes=1024"
    " MaxTime=2-00:00:00 MinNodes=1 LLN=NO MaxCPUsPerNode=112 Nodes=nid[005000-007977] PriorityJobFactor=1"
    " PriorityTier=1 RootOnly=NO ReqResv=NO OverSubscribe=EXCLUSIVE OverTimeLimit=NONE PreemptMode=OFF State=UP"
    " TotalCPUs=381184 TotalNodes=2978 SelectTypeParameters=NONE JobDefaults=DefCpuPerGPU=7 DefMemPerNode=UNLIMITED"
    " MaxMemPerNode=491520"
)
NEW = (
    OLD.replace("ExclusiveUser=NO", "ExclusiveUser=NO ExclusiveTopo=NO")
    .replace("MaxCPUsPerNode=112", "MaxCPUsPerNode=112 MaxCPUsPerSocket=UNLIMITED")
    .replace(" SelectTypeParameters=NONE", "")
    .replace("MaxMemPerNode=491520", "MaxMemPerNode=491520 TRES=cpu=381184,mem=1488T,node=2978,gres/gpu=23824")
)
NODE = (
    "NodeName=n3 Arch=x86_64 CoresPerSocket=1  CPUAlloc=0 CPUEfctv=16 CPUTot=16 CPULoad=41.09"
    " AvailableFeatures=(null) ActiveFeatures=(null) Gres=gpu:2 NodeAddr=127.0.0.1 NodeHostName=vm Port=28223"
    " Version=22.05.8 OS=Linux 6.1.0 #1 SMP PREEMPT_DYNAMIC @0  RealMemory=8000 AllocMem=0 FreeMem=21281 Sockets=16"
    " Boards=1 State=IDLE ThreadsPerCore=1 TmpDisk=0 Weight=1 Owner=N/A MCS_label=N/A Partitions=batch,gpu "
    " BootTime=2026-11-21T14:01:32 SlurmdStartTime=2026-11-21T21:02:21 CfgTRES=cpu=16,mem=8000M,billing=16,gres/gpu=2"
)
# 24.05, a node of LUMI-G: 8 of 64 cores are the system's.
LUMI = (
    "NodeName=nid005000 Arch=x86_64 CoresPerSocket=64  CPUAlloc=0 CPUEfctv=112 CPUTot=128 CPULoad=0.00"
    " AvailableFeatures=AMD_EPYC_7A53,x1203 ActiveFeatures=AMD_EPYC_7A53,x1203 Gres=gpu:mi250:8(S:0) NodeAddr=nid005000"
    " NodeHostName=nid005000 Version=24.05.8 OS=Linux 5.14.21 #1 SMP RealMemory=512000 AllocMem=0 FreeMem=480000"
    " Sockets=1 Boards=1 CoreSpecCount=8 CPUSpecList=0-1,16-17 MemSpecLimit=20480 State=IDLE ThreadsPerCore=2"
    " TmpDisk=0 Weight=1 Owner=N/A MCS_label=N/A Partitions=standard-g Comment=CPUTot=7 RealMemory=9"
)


def test_a_partition_without_limits():
    """The day that a job may last is the only one."""
    (batch,) = parse_partition_records(f"{BATCH}\n")
    assert (batch.name, batch.nodes, batch.is_default, batch.state) == ("batch", 4, True, "UP")
    assert (batch.max_time, batch.default_time) == ("1-00:00:00", None)
    assert (batch.max_nodes, batch.min_nodes, batch.max_cpus_per_node) == (None, 0, None)
    assert (batch.max_memory_per_node, batch.qos, batch.job_defaults) == (None, None, None)
    assert (batch.accounts, batch.groups, batch.allowed_qos) == ((), (), ())
    assert not batch.is_exclusive


@pytest.mark.parametrize("text", [OLD, NEW], ids=["20.11", "25.11"])
def test_a_partition_with_limits(text):
    """Old and new Slurm say the same in different words."""
    (gpu,) = parse_partition_records(text)
    assert gpu.is_exclusive
    assert (gpu.max_nodes, gpu.min_nodes, gpu.nodes) == (1024, 1, 2978)
    assert (gpu.max_cpus_per_node, gpu.max_memory_per_node) == (112, 491520)
    assert (gpu.max_time, gpu.default_time) == ("2-00:00:00", "01:00:00")
    assert (gpu.qos, gpu.accounts, gpu.groups, gpu.allowed_qos) == ("standard-g", ("a", "b"), ("users",), ("gpu",))
    assert gpu.job_defaults == "DefCpuPerGPU=7"


def test_no_partitions():
    """Which a user who is let in nowhere is told."""
    assert parse_partition_records("No partitions in the system\n") == []


@pytest.mark.parametrize("text", [BATCH[:300], BATCH.replace("TotalNodes=4", "TotalNodes=many"), "PartitionName= x"])
def test_a_partition_that_is_not_whole(text):
    """It is refused, not taken for one without limits."""
    with pytest.raises(UnreadableAnswer, match="is no whole partition"):
        parse_partition_records(text)


def test_a_node():
    """CPUs that are cores, memory, pretend GPUs."""
    node = parse_node_records(NODE)["n3"]
    assert (node.sockets, node.cores, node.threads_per_core, node.usable_cores) == (16, 16, 1, 16)
    assert (node.usable_memory_mib, node.architecture, node.gpus) == (8000, "x86_64", {"": 2})


@pytest.mark.parametrize(
    ("text", "usable"),
    [
        (LUMI, 56),
        (LUMI.replace(" CPUEfctv=112", ""), 56),
        (LUMI.replace(" CPUEfctv=112", "").replace("CoreSpecCount=8 ", ""), 62),
        (LUMI.replace("CPUEfctv=112 CPUTot=128", "CPUEfctv=56 CPUTot=64"), 56),
        (LUMI.replace("CPUEfctv=112", "CPUEfctv=128"), 64),
    ],
    ids=["24.05", "20.11", "20.11, a list of CPUs", "a CPU is a core", "nothing is kept"],
)
def test_cores_for_jobs(text, usable):
    """Cores that are kept for the system are not a job's; what a comment says doesn't count."""
    node = parse_node_records(text)["nid005000"]
    assert (node.cores, node.usable_cores) == (64, usable)
    assert node.features == ("AMD_EPYC_7A53", "x1203")
    assert (node.memory_mib, node.usable_memory_mib, node.gpus) == (512000, 491520, {"mi250": 8})


@pytest.mark.parametrize("text", [NODE[:100], NODE.replace("Sockets=16", "Sockets=0"), NODE.replace("=8000", "=x")])
def test_a_node_that_is_not_whole(text):
    """Numbers are not made up."""
    with pytest.raises(UnreadableAnswer, match="is no whole node"):
        parse_node_records(text)


def test_groups_of_alike_nodes():
    """One line for each partition and kind; a partition without nodes has none."""
    first, second = parse_hardware(
        "batch*|2|16|16|1|1|8000|(null)|n[1-2]|\n"
        "gpu|3|128|1|64|2|512000|gpu:mi250:8(S:0),shard:8|g[1-3]|\nempty|0|0|0|0|0|0|(null)||\n"
    )
    assert (first.partition, first.count, first.nodes, first.memory_mib) == ("batch", 2, "n[1-2]", 8000)
    assert (first.gpus, second.gpus) == ({}, {"mi250": 8})


@pytest.mark.parametrize("line", ["batch|2", "|2|16|16|1|1|8000|x|n|", "b|two|16|16|1|1|8000|x|n|"])
def test_groups_in_another_form(line):
    """Whatever has not the asked form is refused."""
    with pytest.raises(UnreadableAnswer, match="sinfo's line"):
        parse_hardware(line)
