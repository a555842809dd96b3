"""Frameworks over two nodes of the private cluster; each program runs to its end."""

from pathlib import Path

import pytest

from headnode.sites.launchers import DeepHyper, DeepSpeed, Heat, Mpi, RayCluster, RayTune, TensorFlowMultiWorker

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(500)]
OWN = ".venv-frameworks"
PROGRAMS = Path(__file__).parent / "programs"


def test_mpi4py(submit):
    """Four ranks on two nodes sum by MPI."""
    result = submit("mpi_sum.py", Mpi(nodes=2, ranks_per_node=2), python=OWN).result()
    assert result == {"sum": 10, "nodes": ["n1", "n1", "n2", "n2"]}


def test_heat(submit):
    """Four ranks hold a quarter of an array each."""
    result = submit("heat_mean.py", Heat(nodes=2, ranks_per_node=2), python=OWN).result()
    assert result == {"mean": 499.5, "ranks": 4, "of_rank_0": 250}


def test_deephyper(submit):
    """Rank 0 gives out the work to three others."""
    result = submit("deephyper_search.py", DeepHyper(nodes=2, ranks_per_node=2), python=OWN).result()
    assert result["evaluations"] == 12
    assert -0.1 < result["best"] <= 0
    assert result["ranks"] == [1, 2, 3]
    assert result["nodes"] == ["n1", "n2"]


@pytest.mark.parametrize("tasks", ["node", "gpu"])
def test_deepspeed(submit, tasks):
    """Two processes learn with ZeRO's first stage."""
    launch = DeepSpeed(nodes=2, cpus_per_task=1, tasks=tasks)
    result = submit("deepspeed_train.py", launch, python=OWN, env={"DS_ACCELERATOR": "cpu"}).result()
    assert result["world_size"] == 2
    assert result["last"] < result["first"] / 2


def test_tensorflow(submit):
    """Two workers learn together."""
    # All nodes are this machine, so that the resolver is to see two tasks on one host, whose ports differ.
    here = ["env", "SLURM_STEP_NODELIST=localhost", "SLURM_STEP_TASKS_PER_NODE=2"]
    command = [*here, "python3", "-u", f"{PROGRAMS}/tensorflow_train.py"]
    launch = TensorFlowMultiWorker(nodes=2, cpus_per_task=1)
    result = submit("tensorflow_train.py", launch, python=OWN, command=command).result()
    assert result["workers"] == 2
    assert result["last"] < result["first"] / 2


def test_ray_on_nodes_of_its_own(submit):
    """`ray symmetric-run` runs a driver, on one node: each that is this machine would take itself for the head."""
    result = submit("ray_nodes.py", RayCluster(nodes=1, cpus_per_task=1), python=OWN).result()
    assert result == {"nodes": ["n1"]}


def test_ray_on_shared_nodes(submit, tmp_path):
    """A Ray with ports of its own, which asks for a token; on one machine two nodes would want the same ports."""
    token = tmp_path / "token"
    token.write_text("0123456789abcdef" * 4)
    launch = RayCluster(nodes=1, cpus_per_task=1, symmetric=False, shared_nodes=True)
    env = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    run = submit("ray_nodes.py", launch, python=OWN, env=env)
    assert run.result() == {"nodes": ["n1"]}
    assert "Token authentication is disabled" not in run.output


@pytest.mark.parametrize("scheduler", ["asha", "bohb", "pbt"])
def test_ray_tune(submit, scheduler):
    """Each scheduler's search comes to its end on a cluster of both nodes."""
    launch = RayTune(nodes=2, cpus_per_task=1, symmetric=False, scheduler=scheduler)
    result = submit("ray_tune.py", launch, python=OWN).result()
    assert result["trials"] == 4
    assert result["errors"] == 0
    assert max(result["steps"]) == 4
    assert 0.25 <= result["best"] < 0.75
    assert result["nodes"] == 2
