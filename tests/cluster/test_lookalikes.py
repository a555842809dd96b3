"""Slurm itself takes every golden start script, by a slurmctld that is made like the script's site."""

import golden_scripts
import pytest

from headnode.sites.system import System
from headnode.testing.lookalike import ScriptRefused, running_lookalike

SCRIPTS = {path: text for path, text in golden_scripts.golden_scripts().items() if path.endswith(".sh")}
SITES = sorted({golden_scripts.system_of(path) for path in SCRIPTS})


@pytest.fixture(scope="module")
def lookalike():
    """One slurmctld, which becomes one site after the other."""
    with running_lookalike() as running:
        yield running


@pytest.fixture
def lookalike_of(lookalike):
    """Return the function that makes it like a site."""

    def become(name):
        lookalike.become(golden_scripts.CATALOGUE.system(name))
        return lookalike

    return become


@pytest.mark.cluster
@pytest.mark.parametrize("site", SITES)
def test_a_site_would_take_its_scripts(site, lookalike_of):
    """``sbatch --test-only`` says when and where each would start."""
    lookalike = lookalike_of(site)
    for path, text in SCRIPTS.items():
        if golden_scripts.system_of(path) == site:
            assert "to start at" in lookalike.check(text), path


def script(**directives):
    """Return a batch script with these options."""
    lines = [f"#SBATCH --{name.replace('_', '-')}={value}" for name, value in directives.items()]
    return "\n".join(["#!/bin/bash", *lines, "srun hostname"]) + "\n"


LUMI = {"partition": "standard-g", "account": "a", "nodes": 2, "ntasks_per_node": 8}
ACC = {"partition": "acc", "account": "a", "qos": "q", "nodes": 1, "ntasks_per_node": 4, "gres": "gpu:4"}


@pytest.mark.cluster
@pytest.mark.parametrize(
    ("site", "right", "wrong", "says"),
    [
        ("lumi", LUMI, {"cpus_per_task": 8}, "configuration is not available"),  # 64 cores, as LAMEC asks
        ("lumi", LUMI, {"gpus_per_node": 9}, "configuration is not available"),
        ("lumi", LUMI, {"nodes": 1025}, "configuration is not available|ode count"),
        ("lumi", LUMI, {"time": "2-00:01:00"}, "time limit"),
        ("lumi", LUMI, {"partition": "standard-gpu"}, "Invalid partition name"),
        ("lumi", LUMI, {"account": None}, "wants an account"),
        ("marenostrum5", {**ACC, "cpus_per_task": 20}, {"cpus_per_task": 10}, "40 CPUs for 4 GPUs"),
        ("marenostrum5", {**ACC, "cpus_per_task": 20}, {"qos": None}, "wants a QOS"),
        (
            "leonardo",
            {"partition": "boost_usr_prod", "account": "a", "mem": "494000M"},
            {"mem": "495000M"},
            "not available",
        ),
        ("levante", {"partition": "gpu", "account": "a", "constraint": "a100_80"}, {"constraint": "v100"}, "feature"),
    ],
)
def test_a_site_would_refuse_what_it_does_not_have(lookalike_of, site, right, wrong, says):
    """With one option changed in a script that it would take."""
    lookalike = lookalike_of(site)
    assert "to start at" in lookalike.check(script(**right))
    changed = {name: value for name, value in {**right, **wrong}.items() if value is not None}
    with pytest.raises(ScriptRefused, match=says):
        lookalike.check(script(**changed))


@pytest.mark.cluster
def test_a_site_of_which_nothing_is_known_takes_anything(lookalike):
    """What is unknown refuses nobody."""
    lookalike.become(System(name="unknown", title="Unknown", operator="nobody"))
    assert "to start at" in lookalike.check(script(nodes=8, ntasks_per_node=4, cpus_per_task=32, gpus_per_node=8))
