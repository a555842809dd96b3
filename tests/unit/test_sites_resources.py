"""What is asked of Slurm, over every partition of the whole catalogue: LAMEC's rules, and never more than there is."""

import re

import pytest

from headnode.errors import JobSpecError
from headnode.sites.catalogue import Catalogue
from headnode.sites.facade import arrange
from headnode.sites.launchers import LAUNCHERS, kind_of, launcher_for
from headnode.slurm.jobspec import parse_jobspec

CATALOGUE = Catalogue()
PARTITIONS = [(name, partition) for name in CATALOGUE.names() for partition in CATALOGUE.system(name).partitions]
ONE_TASK_A_NODE = ("torchrun", "deepspeed", "ray", "ray-tune", "tensorflow")
ONE_TASK_A_GPU = ("horovod", "heat", "deephyper", "optuna", "mpi")
#: Every way in which sbatch is asked for GPUs.
GPU_OPTIONS = ("gres", "gpus", "gpus-per-node", "gpus-per-task", "gpus-per-socket")


def asked(system, partition, **launch):
    """Return what is asked of Slurm for a launch there."""
    fields = {
        "job_name": "x",
        "command": ["train.py"],
        "site": system,
        "partition": partition,
        "launch": launch,
        "account": "a",
        "qos": "q",
    }
    return parse_jobspec(arrange(fields, CATALOGUE))


def known(system, partition):
    """Return what the catalogue has of a partition."""
    return CATALOGUE.system(system).partitions[partition]


def nodes_for(system, partition):
    """Return a number of nodes that a job may have there, 2 where it can be."""
    facts = known(system, partition)
    return max(facts.min_nodes or 1, min(2, facts.max_nodes or 2))


def ways_to_launch(place):
    """Yield every launcher with all, none, one, half and one too many of a node's GPUs."""
    facts = known(*place)
    whole = facts.gpus or 0
    for kind in sorted(LAUNCHERS):
        nodes = {"nodes": 1 if kind == "python" else nodes_for(*place)}
        if kind != "python" or (facts.min_nodes or 1) == 1:
            yield {"kind": kind, **nodes}
            yield from ({"kind": kind, "gpus_per_node": gpus, **nodes} for gpus in {0, 1, whole // 2, whole, whole + 1})


@pytest.mark.parametrize("place", PARTITIONS)
def test_never_more_than_a_node_has(place):
    """Cores, GPUs and memory; of several ways to ask for GPUs never two; and --mem=0 of whole nodes alone."""
    facts, taken = known(*place), 0
    for launch in ways_to_launch(place):
        try:
            spec = asked(*place, **launch)
        except JobSpecError as error:
            why = str(error)
        else:
            why = None
        if why is not None:
            assert re.search(r"unknown|gpus_per_node|rank 0|usable cores|GPUs", why), why
            continue
        taken += 1
        options = dict(spec.directives())
        tasks, cpus = int(options["ntasks-per-node"]), int(options.get("cpus-per-task", 1))
        assert facts.cores_for_jobs is None or tasks * cpus <= facts.cores_for_jobs
        assert facts.gpus is None or launch.get("gpus_per_node", 0) <= facts.gpus
        assert sum(name in options for name in GPU_OPTIONS) <= 1
        if "mem" in options:
            assert facts.exclusive or "exclusive" in options
            assert options["mem"] == (facts.usable_memory or "0")
    assert taken


@pytest.mark.parametrize("place", PARTITIONS)
def test_every_launcher_has_its_tasks_everywhere(place):
    """One on each node for those that start their own processes, one for each GPU for those of MPI."""
    facts = known(*place)
    for kind in (*ONE_TASK_A_NODE, *ONE_TASK_A_GPU):
        if (
            facts.gpus is None
            or (not facts.gpus and kind in ONE_TASK_A_GPU)
            or (kind == "deephyper" and facts.gpus < 2)
        ):
            continue
        spec = asked(*place, kind=kind, nodes=nodes_for(*place))
        tasks = 1 if kind in ONE_TASK_A_NODE else facts.gpus
        assert spec.ntasks_per_node == tasks
        if facts.cores_for_jobs is not None:
            cores = facts.cpus_per_gpu * facts.gpus if facts.cpus_per_gpu and facts.gpus else facts.cores_for_jobs
            assert spec.cpus_per_task == cores // tasks


@pytest.mark.parametrize(
    ("system", "partition", "software", "cpus"),
    [
        ("jureca-dc", "dc-gpu", "ddp", 128),
        ("jureca-dc", "dc-gpu", "deepspeed", 128),
        ("jureca-dc", "dc-gpu", "horovod", 32),
        ("jureca-dc", "dc-gpu", "heat", 32),
        ("juwels-booster", "booster", "ddp", 48),
        ("juwels-booster", "booster", "ray", 48),
        ("juwels-booster", "booster", "horovod", 12),
        ("juwels-booster", "booster", "heat", 12),
        ("lumi", "standard-g", "ddp", 56),
        ("lumi", "standard-g", "horovod", 7),
        ("lumi", "standard-g", "heat", 7),
        ("deep", "dp-esb", "ddp", 12),
        ("deep", "dp-esb", "horovod", 12),
        ("marenostrum5", "acc", "ddp", 80),
        ("marenostrum5", "acc", "horovod", 20),
    ],
)
def test_the_numbers_of_lamec(system, partition, software, cpus):
    """As its scripts have them, but for LUMI, where it asks for 64 cores of which 56 can be had."""
    assert asked(system, partition, kind=kind_of(launcher_for(software)), nodes=2).cpus_per_task == cpus


@pytest.mark.parametrize(
    ("system", "partition", "option"),
    [
        ("juwels-booster", "booster", "gres=gpu:4"),
        ("lumi", "standard-g", "gpus-per-node=8"),
        ("deucalion", "normal-a100-40", "gpus=8"),
        ("alps-daint", "normal", "gpus-per-task=4"),
    ],
)
def test_gpus_are_asked_for_as_the_site_wants(system, partition, option):
    """In its own form, over two nodes with one task each."""
    directives = [f"{name}={value}" for name, value in asked(system, partition, kind="torchrun", nodes=2).directives()]
    assert option in directives


def test_gpus_that_tasks_cannot_share_out_are_asked_for_by_node():
    """Three ranks and four GPUs, where GPUs are asked for by task."""
    spec = asked("alps-daint", "normal", kind="mpi", nodes=1, ranks_per_node=3)
    assert spec.gpus_per_node == 4
    assert "gpus-per-task" not in spec.sbatch_options


@pytest.mark.parametrize("option", ["gres", "gpus", "gpus-per-task"])
def test_an_own_way_to_ask_for_gpus_is_left_alone(option):
    """Nothing is added to it."""
    fields = {
        "job_name": "x", "command": ["x.py"], "site": "juwels-booster", "account": "a",
        "launch": {"kind": "torchrun", "gpus_per_node": 2},
        "sbatch_options": {option: "gpu:2" if option == "gres" else "2"},
    }  # fmt: skip
    spec = parse_jobspec(arrange(fields, CATALOGUE))
    assert [name for name, _ in spec.directives() if name in GPU_OPTIONS] == [option]
    assert "--nproc-per-node=2" in str(spec.launch_prefix)
    with pytest.raises(JobSpecError, match=f"sbatch_options: '{option}' asks for GPUs, and launch= starts a process"):
        arrange({**fields, "launch": {"kind": "torchrun"}}, CATALOGUE)


def test_other_generic_resources_are_asked_for_beside_gpus():
    """In one option."""
    fields = {
        "job_name": "x", "command": ["x.py"], "site": "juwels-booster", "account": "a",
        "launch": {"kind": "torchrun"}, "sbatch_options": {"gres": "nvme:1"},
    }  # fmt: skip
    assert arrange(fields, CATALOGUE)["sbatch_options"]["gres"] == "nvme:1,gpu:4"


def test_memory_is_all_of_what_the_job_has_alone():
    """As the site says that a job may have it, else Slurm's own 0; of a share of a node the site's default."""
    assert asked("juwels-booster", "booster", kind="torchrun").memory == "0"
    assert asked("leonardo", "boost_usr_prod", kind="torchrun").memory is None
    assert asked("leonardo", "boost_usr_prod", kind="ray").memory == "494000M"
    assert asked("lumi", "small-g", kind="torchrun").memory is None


@pytest.mark.parametrize("given_memory", [{"memory": "7G"}, {"sbatch_options": {"mem-per-cpu": "1G"}}])
def test_memory_that_is_given_counts(given_memory):
    """On nodes that the job has alone."""
    fields = {
        "job_name": "x", "command": ["x.py"], "site": "juwels-booster", "account": "a", "launch": {"kind": "torchrun"},
    }  # fmt: skip
    spec = parse_jobspec(arrange(fields | given_memory, CATALOGUE))
    assert spec.memory == given_memory.get("memory")


@pytest.mark.parametrize("kind", ["ray", "ray-tune"])
def test_ray_has_its_nodes_alone(kind):
    """Since its end stops every Ray of the user on a node; unless it is told to share them."""
    assert "exclusive" in asked("lumi", "small-g", kind=kind).sbatch_options
    shared = asked("lumi", "small-g", kind=kind, symmetric=False, shared_nodes=True, gpus_per_node=2)
    assert "exclusive" not in shared.sbatch_options
    assert shared.cpus_per_task == 14
