"""The catalogue of systems: that each file holds, and what is known of machines that people use."""

from collections import Counter
from datetime import timedelta
from itertools import chain
from pathlib import Path

import pytest
import yaml

from headnode.errors import JobSpecError
from headnode.sites.catalogue import OWN_FOLDER, Catalogue, split_folders
from headnode.sites.facts import Sourced
from headnode.sites.summary import blocks_of, gaps_of, gpus_of

OWN = Catalogue()
SYSTEMS = {name: OWN.system(name) for name in OWN.names()}
PARTITIONS = [(name, partition) for name, system in SYSTEMS.items() for partition in system.partitions]
PARTS_OF_BLOCKS = set(Sourced.model_fields)

MINE = """\
name: mine
title: My cluster
operator: My group
aliases: [ours]
sources: {sinfo: {what: sinfo, date: 2026-11-02, kind: measured}}
partitions:
  gpu: {cores: 16, gpus: 2, max_nodes: 3, max_time: 1-00, source: sinfo}
"""


def test_all_systems_are_there():
    """Those of the project's facts that run Slurm."""
    listed = """
        alps-daint alps-eiger claix-2023 cte-amd cyclone deep deucalion discoverer ecmwf-atos frontier horeka jedi
        jupiter-booster jureca-dc juwels-booster juwels-cluster karolina leonardo levante lumi marenostrum5 meluxina
        perlmutter snellius vega vsc-austria-5 vsc-flemish-hortense vsc-flemish-wice
    """
    assert list(SYSTEMS) == listed.split()


@pytest.mark.parametrize("name", SYSTEMS)
def test_each_fact_has_a_source_with_a_date(name):
    """The date of what was read, or when it was read where that bears none; no source is named in vain."""
    system = SYSTEMS[name]
    used = set()
    for place, block in system.blocks():
        facts = block.model_fields_set - PARTS_OF_BLOCKS
        assert block.source or not (facts or block.note), f"{place} has no source"
        assert set(block.source_of) <= facts, f"{place} names sources of facts that it does not have"
        used |= {*block.source, *chain(*block.source_of.values())}
    for note in system.notes:
        assert note.source, f"{note.text!r} has no source"
        used |= set(note.source)
    assert used == set(system.sources)
    assert all(source.date or source.read for source in system.sources.values())


def test_names_and_aliases_lead_to_one_system():
    """However they are written; no alias is another system's name."""
    names = Counter(chain(SYSTEMS, *(system.aliases for system in SYSTEMS.values())))
    assert [name for name, count in names.items() if count > 1] == []
    for name, system in SYSTEMS.items():
        for alias in (name, *system.aliases):
            assert OWN.system(f" {alias.upper().replace('-', '_')} ") is system


@pytest.mark.parametrize("name", SYSTEMS)
def test_what_is_unknown_is_not_written_down(name):
    """Neither as null nor as a word for it: a fact that is not known is not in the file."""
    text = (OWN_FOLDER / f"{name}.yaml").read_text("utf-8")
    values = [str(token.value) for token in yaml.scan(text) if isinstance(token, yaml.ScalarToken)]
    assert not {"null", "~", "", "unknown", "todo", "tbd", "?"} & {value.lower() for value in values}


USABLE_CORES_AND_GPUS = {
    ("juwels-booster", "booster"): (48, 4),
    ("juwels-booster", "develbooster"): (48, 4),
    ("jureca-dc", "dc-gpu"): (128, 4),
    ("jureca-dc", "dc-cpu"): (128, 0),
    ("jupiter-booster", "booster"): (288, 4),
    ("deep", "dp-esb"): (12, 1),
    ("lumi", "standard-g"): (56, 8),
    ("lumi", "small-g"): (56, 8),
    ("lumi", "dev-g"): (56, 8),
    ("lumi", "standard"): (128, 0),
    ("leonardo", "boost_usr_prod"): (32, 4),
    ("leonardo", "dcgp_usr_prod"): (112, 0),
    ("marenostrum5", "acc"): (80, 4),
    ("karolina", "qgpu"): (128, 8),
    ("vega", "gpu"): (None, 4),
    ("deucalion", "normal-a100-80"): (128, 4),
    ("alps-daint", "normal"): (288, 4),
    ("cte-amd", "default"): (64, 2),
    ("vsc-flemish-wice", "gpu_h100"): (64, 4),
    ("vsc-austria-5", "zen3_0512_a100x2"): (None, 2),
    ("frontier", "batch"): (56, 8),
    ("snellius", "gpu_a100"): (72, 4),
    ("levante", "gpu"): (None, None),
    ("juwels-cluster", "gpus"): (None, 4),
}


@pytest.mark.parametrize(("place", "numbers"), USABLE_CORES_AND_GPUS.items())
def test_usable_cores_and_gpus_of_a_node(place, numbers):
    """As the sources have them; None is unknown."""
    partition = SYSTEMS[place[0]].partitions[place[1]]
    assert (partition.cores_for_jobs, partition.gpus) == numbers


def test_what_some_machines_want():
    """What scripts for them go wrong without."""
    assert SYSTEMS["lumi"].partitions["standard-g"].cores == 64
    assert SYSTEMS["lumi"].network.interfaces == ("hsn0", "hsn1", "hsn2", "hsn3")
    assert SYSTEMS["lumi"].network.environment["NCCL_NET_GDR_LEVEL"] == "3"
    acc = SYSTEMS["marenostrum5"].partitions["acc"]
    assert (acc.cpus_per_gpu, acc.exact_cpus_per_gpu) == (20, True)
    for name in ("juwels-booster", "juwels-cluster", "jureca-dc"):
        assert (SYSTEMS[name].network.host_suffix, SYSTEMS[name].network.interfaces) == ("i", ("ib0",))
    assert SYSTEMS["jupiter-booster"].network.host_suffix == ""
    assert SYSTEMS["vega"].network.interfaces == ("ib0",)
    assert (SYSTEMS["deep"].srun.mpi, SYSTEMS["vega"].srun.mpi) == ("pspmix", "pmix_v3")
    assert SYSTEMS["vsc-flemish-wice"].mandatory.clusters == "wice"
    assert {name: each.qos for name, each in SYSTEMS["vsc-austria-5"].partitions.items()} == {
        "zen3_0512": "zen3_0512",
        "zen3_0512_a100x2": "zen3_0512_a100x2",
    }
    assert {each.constraint for each in SYSTEMS["perlmutter"].partitions.values()} == {"cpu", "gpu", "gpu&hbm80g"}
    assert not any(each.is_partition for each in SYSTEMS["perlmutter"].partitions.values())
    forms = {name: system.gpu_request.form for name, system in SYSTEMS.items() if system.gpu_request is not None}
    assert forms["jupiter-booster"] == "automatic"
    assert forms["deucalion"] == forms["snellius"] == "gpus"
    assert forms["alps-daint"] == "gpus-per-task"
    assert forms["lumi"] == forms["karolina"] == forms["frontier"] == "gpus-per-node"
    assert SYSTEMS["meluxina"].login.port == 8822


@pytest.mark.parametrize(("name", "partition"), PARTITIONS)
def test_numbers_of_a_partition_fit_together(name, partition):
    """GPUs share a node's cores, limits are in order, and Slurm can be asked for it."""
    known = SYSTEMS[name].partitions[partition]
    if known.cpus_per_gpu and known.gpus and known.cores_for_jobs:
        assert known.cpus_per_gpu * known.gpus <= known.cores_for_jobs
    if known.gpus:
        assert known.gpu_vendor is not None
    assert (known.min_nodes or 1) <= (known.max_nodes or known.nodes or known.min_nodes or 1)
    assert (known.default_time or timedelta(0)) <= (known.max_time or timedelta.max)
    assert known.is_partition or known.constraint or known.qos or len(SYSTEMS[name].partitions) == 1


@pytest.mark.parametrize("name", SYSTEMS)
def test_what_is_asked_by_default_has_what_it_is_for(name):
    """The partition of jobs with GPUs has some, as far as known."""
    system = SYSTEMS[name]
    if system.gpu_partition is not None:
        assert system.partitions[system.gpu_partition].gpus != 0
    elif any(each.gpus for each in system.partitions.values()):
        pytest.fail(f"{name} has GPUs and no gpu_partition")


def test_gaps_are_told():
    """So that nobody takes silence for a fact."""
    assert gaps_of(SYSTEMS["lumi"]) == []
    assert gaps_of(SYSTEMS["ecmwf-atos"]) == ["login", "partitions", "account", "modules", "internet"]
    assert "GPUs of a node" in gaps_of(SYSTEMS["levante"])
    assert gpus_of(SYSTEMS["meluxina"]) is None
    assert gpus_of(SYSTEMS["discoverer"]) == "none"
    assert gpus_of(SYSTEMS["juwels-booster"]) == "4 x A100 40GB"
    blocks = {block.place: block for block in blocks_of(SYSTEMS["vega"])}
    assert blocks["gpu_request"].unknown == ["form"]
    assert "cores" in blocks["partitions.gpu"].unknown
    assert "gpu" not in blocks["partitions.cpu"].unknown, "where there are no GPUs, their kind is not unknown"


def test_a_file_of_the_user_is_found_and_wins(tmp_path):
    """Of several folders the last one; what is edited is read again."""
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        (folder / "mine.yaml").write_text(MINE.replace("My cluster", folder.name))
    (second / ".mine.yaml.old.yaml").write_text("what an editor left")
    (second / "lumi.yml").write_text(MINE.replace("name: mine", "name: lumi").replace("ours", "finland"))
    known = Catalogue([first, str(second)])
    assert known.system("Ours").title == "second"
    assert known.system("mine").partitions["gpu"].max_time == timedelta(days=1)
    assert known.path("mine") == second / "mine.yaml"
    assert known.system("lumi").operator == "My group"
    assert known.system("finland").name == "lumi"
    assert len(known.names()) == len(SYSTEMS) + 1
    (second / "mine.yaml").write_text(MINE.replace("My cluster", "My other cluster"))
    assert known.system("mine").title == "My other cluster"


def test_an_alias_of_the_user_wins(tmp_path):
    """Over headnode's own."""
    (tmp_path / "mine.yaml").write_text(MINE.replace("ours", "juwels"))
    assert Catalogue([tmp_path]).system("juwels").name == "mine"
    assert Catalogue([tmp_path]).system("juwels-booster").name == "juwels-booster"


def test_folders_of_a_setting(tmp_path, monkeypatch):
    """Colons, commas or lines between them; the home directory is written as it is in a shell."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert [str(path) for path in split_folders("~/sites:/a b, /c\n/d")] == [f"{tmp_path}/sites", "/a b", "/c", "/d"]
    assert split_folders(" ") == []
    with pytest.raises(JobSpecError, match=r"site: sites_folder names '/nowhere', which is no folder"):
        Catalogue(["/nowhere"])


def test_the_example_of_the_documentation_holds(tmp_path):
    """As it is printed there, with all that it shows."""
    text = Path(__file__).parents[2].joinpath("docs/sites.md").read_text("utf-8")
    (example,) = (block.split("```")[0] for block in text.split("```yaml\n")[1:])
    (tmp_path / "my-cluster.yaml").write_text(example)
    system = Catalogue([tmp_path]).system("mine")
    assert system.partitions["gpu"].cores_for_jobs == 60
    assert system.qos["long"].max_time == timedelta(days=7)
    assert system.stack("ray") is system.stack("pytorch")
    assert gaps_of(system) == []
