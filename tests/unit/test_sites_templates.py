"""Launchers and environments with templates in them: they stand until they are rendered, and are never used."""

import warnings

import pytest

from headnode.errors import JobSpecError
from headnode.sites.catalogue import Catalogue
from headnode.sites.environments import environment as environments
from headnode.sites.environments import parse_environment
from headnode.sites.environments.modules import Modules
from headnode.sites.facade import arrange
from headnode.sites.launchers import parse_launcher
from headnode.sites.launchers.launcher import to_json
from headnode.sites.launchers.torchrun import Torchrun
from headnode.slurm.jobspec import parse_jobspec
from headnode.slurm.script import render_script

NODES = "{{ params.nodes }}"
JOB = {"job_name": "j", "command": ["train.py"], "site": "juwels-booster", "account": "a"}
TORCHRUN = {"launch": {"kind": "torchrun"}}
TOO_LONG = {"partition": "booster", "time_limit": "2-00"}


def test_a_template_stands_and_travels():
    """As JSON, without a warning of pydantic's."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stored = to_json(Torchrun(nodes=NODES, gpus_per_node=4))
        assert stored == {"kind": "torchrun", "nodes": NODES, "gpus_per_node": 4}
        assert parse_launcher(stored) == Torchrun(nodes=NODES, gpus_per_node=4)
        both = environments.to_json(Modules("pytorch") + Modules(commands=["load {{ x }}"]))
    assert both == {
        "kind": "environments",
        "environments": [{"kind": "modules", "software": "pytorch"}, {"kind": "modules", "commands": ["load {{ x }}"]}],
    }
    assert environments.to_json(parse_environment(both)) == both


def test_other_values_are_checked_beside_a_template():
    """At once."""
    with pytest.raises(ValueError, match="gpus_per_node"):
        Torchrun(nodes=NODES, gpus_per_node=-1)
    with pytest.raises(JobSpecError, match="launch: gpus: Extra inputs"):
        parse_launcher({"kind": "torchrun", "nodes": NODES, "gpus": 4})


@pytest.mark.parametrize(
    "field",
    [
        {"launch": to_json(Torchrun(nodes=NODES))},
        {"environment": environments.to_json(Modules(commands=["load {{ x }}"]))},
        {"environment": environments.to_json(Modules("pytorch") + Modules(commands=["load {{ x }}"]))},
        {"launch": {"kind": "torchrun", "nodes": "{% if x %}1{% endif %}"}},
    ],
)
def test_what_was_not_rendered_is_never_used(field):
    """A parameter that holds a template itself is no way round the checks."""
    with pytest.raises(JobSpecError, match="holds a template that was not rendered") as refused:
        arrange({**JOB, **field}, Catalogue())
    assert refused.value.field in field
    arrange({**JOB, **field}, Catalogue(), unknown=frozenset(field))


@pytest.mark.parametrize(
    ("fields", "unknown", "conflict"),
    [
        ({"launch": {"kind": "torchrun", "nodes": 385}}, set(), "nodes: 385 nodes"),
        ({"launch": {"kind": "torchrun"}, "nodes": 385}, set(), "nodes: 385 nodes"),
        ({"launch": {"kind": "torchrun"}, "nodes": 385}, {"nodes"}, None),
        ({"launch": {"kind": "torchrun", "nodes": NODES}}, {"launch"}, None),
        ({"launch": {"kind": "torchrun", "nodes": NODES}, "time_limit": "2-00"}, {"launch"}, None),
        (
            {"launch": {"kind": "torchrun", "nodes": NODES}, **TOO_LONG},
            {"launch"},
            "time_limit: 2-00:00:00, where .* allows 1-00:00:00",
        ),
        (TOO_LONG, {"time_limit"}, None),
        ({"launch": {"kind": "torchrun", "nodes": 385}}, {"partition"}, None),
        ({"launch": {"kind": "torchrun", "nodes": 385}}, {"site"}, None),
        ({"launch": {"kind": "torchrun", "nodes": 0}}, {"site"}, "launch: nodes"),
        ({"account": None}, set(), "account: juwels-booster wants an account"),
        ({"account": None}, {"account"}, None),
        ({"account": None}, {"sbatch_options"}, None),
        ({"launch": {"kind": "torchrun", "nodes": 2}, "nodes": 2}, set(), "nodes: is given twice"),
        ({"launch": {"kind": "torchrun"}, "command": None, "script": "x"}, set(), "launch: starts a command"),
        ({"launch": {"kind": "torchrun"}, "components": [{"nodes": 1}]}, set(), "launch: .*one component"),
    ],
)
def test_conflicts_with_what_is_known_so_far(fields, unknown, conflict):
    """What is rendered later is checked later."""
    job = {**JOB, **fields}
    if conflict is None:
        arrange(job, Catalogue(), unknown=frozenset(unknown))
    else:
        with pytest.raises(JobSpecError, match=conflict):
            arrange(job, Catalogue(), unknown=frozenset(unknown))


def test_the_job_s_own_counts_are_the_launcher_s():
    """Of nodes, GPUs and CPUs."""
    job = arrange({**JOB, "launch": {"kind": "torchrun"}, "nodes": 2, "gpus_per_node": 1}, Catalogue())
    assert job["nodes"] == 2
    assert job["sbatch_options"]["gres"] == "gpu:1"
    assert job["cpus_per_task"] == 12
    assert "--nproc-per-node=1 " in job["launch_prefix"]


@pytest.mark.parametrize("command", [["train.py", "$HOME"], "train.py $HOME"])
def test_a_launched_program_is_warned_before_its_time_is_up(command):
    """As a list or as a text, which is one command behind a launcher."""
    script = render_script(
        parse_jobspec(arrange({**JOB, **TORCHRUN, "command": command}, Catalogue())), checkpoint=True
    )
    assert 'kill -USR1 "$headnode_command"' in script
    assert " <&0 &\n" in script


def test_a_text_alone_is_the_author_s_own_to_warn():
    """It may be a whole program of the shell."""
    script = render_script(parse_jobspec({"job_name": "j", "command": "a; b"}), checkpoint=True)
    assert "headnode_command" not in script
