"""Start scripts from the catalogue: what is said of their facts, and what can't be generated."""

import pytest

from headnode.errors import JobSpecError
from headnode.sites.catalogue import Catalogue
from headnode.sites.environments.commands import Commands
from headnode.sites.generator import TITLES, generate_script
from headnode.sites.launchers import RayCluster
from headnode.sites.system import SOFTWARE

CATALOGUE = Catalogue()


def generate(system="juwels-booster", software="pytorch", **given):
    """Return what is generated for a small job."""
    return generate_script(
        system, software, **{"command": ["train.py"], "catalogue": CATALOGUE, "account": "a", "nodes": 2} | given
    )


def test_a_script_comes_with_its_facts():
    """For whoever prints or stores it, too."""
    made = generate(time_limit="01:00:00")
    assert (made.system, made.software, made.partition) == ("juwels-booster", "pytorch", "booster")
    assert made.requested["cpus-per-task"] == "48"
    assert made.requested["gres"] == "gpu:4"
    assert any(line.startswith("partition booster") and "(2023, official)" in line for line in made.sources)
    assert all(f"#   {line}\n" in made.text for line in (*made.sources, *made.notes))
    assert "HEADNODE_DIRECTORY" not in made.text
    assert made.text.startswith("#!/bin/bash -l\n")
    assert "#SBATCH --output=%x-%j.out\n" in made.text


def test_names_are_what_people_call_them():
    """Of systems and programs."""
    assert generate("JUWELS", "Pytorch-DDP").text == generate().text
    assert set(TITLES) == set(SOFTWARE)


@pytest.mark.parametrize(
    ("system", "software", "given", "problem"),
    [
        ("juwels-boster", "pytorch", {}, "did you mean juwels-booster"),
        ("juwels-booster", "pytroch", {}, "did you mean pytorch"),
        ("juwels-booster", "pytorch", {"partition": "boster"}, "no partition 'boster'.*did you mean booster"),
        ("juwels-booster", "pytorch", {"account": None}, "wants an account for each job"),
        ("juwels-booster", "pytorch", {"nodes": 385}, "385 nodes.*384"),
        ("juwels-booster", "pytorch", {"time_limit": "1-00:00:01"}, "24:00:00|1-00:00:00"),
        ("lumi", "pytorch", {"cpus_per_task": 64}, "56"),
        ("juwels-booster", "pytorch", {"command": []}, "command: is empty"),
        ("juwels-booster", "pytorch", {"command": "cd x && train.py"}, "has '&&'"),
        ("juwels-booster", "ray-tune", {"launch": {"schedular": "pbt"}}, "schedular"),
        ("claix-2023", "pytorch", {}, "how many GPUs a node of c23g has is unknown; give gpus_per_node="),
    ],
)
def test_what_cannot_be_is_refused(system, software, given, problem):
    """With what is near, or the number."""
    with pytest.raises(JobSpecError, match=problem):
        generate(system, software, **given)


def test_what_is_unknown_is_said():
    """Instead of being guessed."""
    notes = "\n".join(generate("vega", "pytorch").notes)
    assert "how many cores a node of gpu has is unknown" in notes
    assert "how GPUs are asked for there is unknown" in notes
    assert "no time limit is given; the partition's own counts (unknown)" in notes
    assert "the modules for TensorFlow are unknown: find them there with `module spider`" in "\n".join(
        generate("juwels-booster", "tensorflow").notes
    )
    assert "no time limit is given; the partition's own counts (at most 1-00:00:00)" in "\n".join(generate().notes)


def test_an_environment_is_entered_after_the_modules():
    """And before the launch."""
    text = generate(environment=Commands(text=[". /work/venv/bin/activate"])).text
    assert text.index("# MODULES END") < text.index(". /work/venv/bin/activate") < text.index("MASTER_ADDR=")


def test_a_launcher_is_of_its_own_kind():
    """Which it is stored by."""
    with pytest.raises(ValueError, match="kind of RayCluster is 'ray', not 'ray-tune'"):
        RayCluster(kind="ray-tune")
