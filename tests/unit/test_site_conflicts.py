"""What a job asks for against what its site has: refused with the number and its source, and nothing else refused."""

from datetime import timedelta

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from headnode.errors import JobSpecError
from headnode.sites.catalogue import Catalogue
from headnode.sites.conflicts import check_against_site
from headnode.sites.facade import arrange
from headnode.sites.launchers.torchrun import Torchrun
from headnode.slurm.time_limits import render_time_limit

CATALOGUE = Catalogue()
SYSTEMS = {name: CATALOGUE.system(name) for name in CATALOGUE.names()}
PARTITIONS = [(system, name) for system in SYSTEMS.values() for name in system.partitions]
OWN_COUNT = st.integers(1, 5000)

LAMEC = "LAMEC, johannesnordal/tol105m@574a2ce, scripts/JUWELS (2024-09-06, community)"
COURSE = "HelmholtzAI-FZJ/2023-getting-started-with-ai-on-supercomputers, 01-access-machines.md (2023, official)"
LUMI = "Lumi-supercomputer/lumi-userguide@6c3a26c (2024-10-15, official)"
MN5 = "public guide of a team (hosts, 20 CPUs for each GPU, modules, no internet) (read 2026-10, community)"
OLCF = "olcf/olcf-user-docs@2745903, systems/frontier_user_guide.rst, software/analytics/jax.rst (2026-07-22, official)"
DAGSTER = "ascii-supply-networks/dagster-slurm, docs/docs/how-to/hpc-leonardo.md (2026-08-08, community)"

REFUSED = [
    (
        ("juwels-booster", "booster", {"nodes": 385}),
        f"nodes: 385 nodes, where a job in partition 'booster' of juwels-booster may have 384: {LAMEC}",
    ),
    (
        ("juwels-booster", "booster", {"nodes": "385"}),
        f"nodes: 385 nodes, where a job in partition 'booster' of juwels-booster may have 384: {LAMEC}",
    ),
    (
        ("juwels-booster", "largebooster", {"nodes": 4}),
        (
            "nodes: 4 nodes, where a job in partition 'largebooster' of juwels-booster has at least 385: "
            "public notes of users (2026-06, community)"
        ),
    ),
    (
        ("juwels-booster", "booster", {"time_limit": "24:00:01"}),
        f"time_limit: 1-00:00:01, where partition 'booster' of juwels-booster allows 1-00:00:00: {COURSE}",
    ),
    (
        ("juwels-booster", "booster", {"time_limit": timedelta(days=2)}),
        f"time_limit: 2-00:00:00, where partition 'booster' of juwels-booster allows 1-00:00:00: {COURSE}",
    ),
    (
        ("juwels-booster", "booster", {"cpus_per_task": 97}),
        (
            "cpus_per_task: 97 CPUs on a node, where jobs in partition 'booster' of juwels-booster may use 48 cores "
            f"with 2 threads each: {LAMEC}"
        ),
    ),
    (
        ("juwels-booster", "booster", {"gpus_per_node": "5"}),
        f"gpus_per_node: 5 GPUs on a node, where partition 'booster' of juwels-booster has 4: {COURSE}",
    ),
    (
        ("juwels-booster", "booster", {"account": None}),
        (
            "account: juwels-booster wants an account for each job (HelmholtzAI-FZJ 2025-12 course, "
            "01-access-machines.md (2025-12-10, official)); give account="
        ),
    ),
    (
        ("lumi", "standard-g", {"ntasks_per_node": 8, "cpus_per_task": 8}),
        (
            "cpus_per_task: 64 CPUs on a node (8 tasks of 8), where jobs in partition 'standard-g' of lumi may use "
            f"56 cores of its 64: {LUMI}"
        ),
    ),
    (
        ("lumi", "standard-g", {"nodes": "2", "ntasks": "16", "cpus_per_task": "8"}),
        (
            "cpus_per_task: 64 CPUs on a node (8 tasks of 8), where jobs in partition 'standard-g' of lumi may use "
            f"56 cores of its 64: {LUMI}"
        ),
    ),
    (
        ("lumi", "standard", {"gpus_per_node": 1}),
        (
            "gpus_per_node: 1 GPU on a node, where partition 'standard' of lumi has none; with GPUs there are "
            f"standard-g, small-g, dev-g: {LUMI}"
        ),
    ),
    (
        ("lumi", "standard-g", {"sbatch_options": {"gres": "gpu:mi250:9"}}),
        f"gpus_per_node: 9 GPUs on a node, where partition 'standard-g' of lumi has 8: {LUMI}",
    ),
    (
        ("lumi", "standard-g", {"nodes": 2, "sbatch_options": {"gpus": 17}}),
        f"gpus_per_node: 9 GPUs on a node, where partition 'standard-g' of lumi has 8: {LUMI}",
    ),
    (
        ("lumi", "standard-g", {"ntasks_per_node": 3, "sbatch_options": {"gpus-per-task": "3"}}),
        f"gpus_per_node: 9 GPUs on a node, where partition 'standard-g' of lumi has 8: {LUMI}",
    ),
    (
        ("lumi", "standard-g", {"memory": "513G"}),
        f"memory: 513G, where a node of partition 'standard-g' of lumi has 512 GB: {LUMI}",
    ),
    (
        ("leonardo", "boost_usr_prod", {"memory": "494001"}),
        (
            "memory: 494001, where jobs in partition 'boost_usr_prod' of leonardo may use 494000M: BLAST-WarpX/warpx, "
            "Tools/machines/leonardo-cineca/job.sh (2026-07-01, community)"
        ),
    ),
    (
        ("leonardo", "boost_usr_prod", {"sbatch_options": {"mem": "1T"}}),
        (
            "memory: 1T, where jobs in partition 'boost_usr_prod' of leonardo may use 494000M: BLAST-WarpX/warpx, "
            "Tools/machines/leonardo-cineca/job.sh (2026-07-01, community)"
        ),
    ),
    (
        ("leonardo", "boost_usr_prod", {"nodes": 65}),
        f"nodes: 65 nodes, where a job in partition 'boost_usr_prod' of leonardo may have 64: {DAGSTER}",
    ),
    (
        ("leonardo", "boost_usr_prod", {"nodes": 64, "qos": "boost_qos_bprod"}),
        f"nodes: 64 nodes, where a job in the QOS 'boost_qos_bprod' of leonardo has at least 65: {DAGSTER}",
    ),
    (
        ("leonardo", "boost_usr_prod", {"time_limit": "31", "qos": "boost_qos_dbg"}),
        f"time_limit: 00:31:00, where the QOS 'boost_qos_dbg' of leonardo allows 00:30:00: {DAGSTER}",
    ),
    (
        ("marenostrum5", "acc", {"gpus_per_node": 2, "cpus_per_task": 32}),
        (
            "cpus_per_task: 32 CPUs for 2 GPUs on a node, where partition 'acc' of marenostrum5 wants exactly 20 for "
            f"each, 40 here: {MN5}"
        ),
    ),
    (
        ("marenostrum5", "acc", {"qos": None}),
        (
            "qos: marenostrum5 wants a QOS for each job (EESSI/test-suite, config/bsc_marenostrum5.py (2026-05-06, "
            "community)); give qos="
        ),
    ),
    (
        ("frontier", "batch", {"nodes": 91, "time_limit": "2:00:01"}),
        f"time_limit: 02:00:01, where partition 'batch' of frontier with 91 nodes allows 02:00:00: {OLCF}",
    ),
    (
        ("frontier", "batch", {"nodes": 183, "time_limit": "12:00:00"}),
        f"time_limit: 12:00:00, where partition 'batch' of frontier with 183 nodes allows 06:00:00: {OLCF}",
    ),
    (
        ("frontier", "batch", {"nodes": 9473}),
        f"nodes: 9473 nodes, where partition 'batch' of frontier has 9472: {OLCF}",
    ),
    (
        ("frontier", "batch", {"cpus_per_task": 64}),
        (
            "cpus_per_task: 64 CPUs on a node, where jobs in partition 'batch' of frontier may use 56 cores of its 64: "
            f"{OLCF}"
        ),
    ),
    (
        ("deucalion", "normal-a100-40", {"components": [{"nodes": 1}, {"partition": "dev-arm", "nodes": 3}]}),
        (
            "nodes: 3 nodes, where a job in partition 'dev-arm' of deucalion may have 2: public reference of a user "
            "that cites docs.macc.fccn.pt (read 2026-10, community)"
        ),
    ),
]


def check(site, partition, fields):
    """Check a job that has an account and a QOS unless ``fields`` say otherwise."""
    system = SYSTEMS[site]
    qos = "any" if system.mandatory.qos else None
    check_against_site({"account": "mine", "qos": qos, **fields}, system, partition)


@pytest.mark.parametrize(("job", "message"), REFUSED)
def test_what_a_site_would_refuse(job, message):
    """Word for word, with the number and where it was read."""
    with pytest.raises(JobSpecError) as refused:
        check(*job)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    "job",
    [
        ("juwels-booster", "booster", {"nodes": "384", "time_limit": "1-0", "cpus_per_task": 96, "gpus_per_node": 4}),
        ("juwels-booster", "largebooster", {"nodes": 385}),
        ("lumi", "standard-g", {"ntasks_per_node": 8, "cpus_per_task": 7, "gpus_per_node": 8, "memory": "480G"}),
        ("lumi", "standard-g", {"memory": "0", "gpus_per_node": 0}),
        ("leonardo", "boost_usr_prod", {"nodes": 256, "qos": "boost_qos_bprod"}),
        ("leonardo", "boost_usr_prod", {"time_limit": "4-0", "qos": "boost_qos_lprod"}),
        ("leonardo", "boost_usr_prod", {"nodes": 300, "qos": "agreed_with_the_site"}),
        ("marenostrum5", "acc", {"gpus_per_node": "3", "ntasks_per_node": "3", "cpus_per_task": "20"}),
        ("marenostrum5", "acc", {"gpus_per_node": 4}),
        ("frontier", "batch", {"nodes": 184, "time_limit": "12:00:00"}),
        ("frontier", "batch", {"time_limit": "12:00:00"}),
        ("vega", "gpu", {"account": None, "cpus_per_task": 10_000, "time_limit": "365-0"}),
        ("meluxina", "gpu", {"nodes": 10_000, "gpus_per_node": 64}),
        ("lumi", None, {"nodes": 10_000}),
        ("perlmutter", "gpu", {"sbatch_options": {"qos": "regular", "account": "m1_g"}, "account": None, "qos": None}),
    ],
)
def test_what_a_site_takes_or_is_not_known(job):
    """Is let pass, to the last node and minute."""
    check(*job)


@pytest.mark.parametrize("value", ["{{ params.nodes }}", "many", "", "-1", "1.5", True, None, [], object()])
def test_values_that_are_none_are_left_to_the_jobs_own_check(value):
    """They are refused there, with what would be right."""
    names = ("nodes", "ntasks", "ntasks_per_node", "cpus_per_task", "gpus_per_node", "time_limit")
    check("juwels-booster", "booster", dict.fromkeys(names, value))


def test_fields_that_are_rendered_later_are_not_checked():
    """But for what does not depend on them."""
    fields = {
        "site": "juwels-booster",
        "launch": Torchrun(gpus_per_node=4),
        "command": ["train.py"],
        "nodes": "{{ params.nodes }}",
        "time_limit": "48:00:00",
        "account": "budget",
    }
    with pytest.raises(JobSpecError, match="time_limit: 2-00:00:00, where"):
        arrange({**fields, "nodes": None}, CATALOGUE, frozenset({"nodes"}))
    arrange({**fields, "nodes": None, "time_limit": None}, CATALOGUE, frozenset({"nodes", "time_limit"}))


def limits(system, name):
    """Return what is known of a partition, as the fields of the largest job in it."""
    known = system.partitions[name]
    most = {
        "nodes": min(filter(None, (known.max_nodes, known.nodes)), default=None),
        "cpus_per_task": known.cores_for_jobs and known.cores_for_jobs * (known.threads_per_core or 1),
        "gpus_per_node": known.gpus,
        "time_limit": known.max_time and known.max_time // timedelta(minutes=1),
    }
    return {field: value for field, value in most.items() if value is not None}


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(PARTITIONS), st.data())
def test_within_what_is_known_nothing_is_refused_and_beyond_it_the_field_is_named(place, data):
    """For every partition of the catalogue, with numbers and with text as templates render it."""
    system, name = place
    known = system.partitions[name]
    assume(not known.exact_cpus_per_gpu)
    most = limits(system, name)
    field = data.draw(st.sampled_from(["nodes", "cpus_per_task", "gpus_per_node", "time_limit"]))
    least = (known.min_nodes or 1) if field == "nodes" else 1
    value = data.draw(
        st.integers(least, most.get(field, least + 10_000)) if most.get(field, 1) >= least else st.just(0)
    )
    fields = {"account": "mine", "qos": "any" if system.mandatory.qos else None}
    as_text = data.draw(st.booleans()) or field == "time_limit"
    if value:
        check_against_site({**fields, field: str(value) if as_text else value}, system, name)
    if field in most:
        beyond = most[field] + data.draw(OWN_COUNT)
        job = {**fields, field: str(beyond) if as_text else beyond}
        with pytest.raises(JobSpecError) as refused:
            check_against_site(job, system, name)
        assert refused.value.field == field
        shown = render_time_limit(timedelta(minutes=beyond)) if field == "time_limit" else str(beyond)
        assert f"{shown}" in str(refused.value)
        assert any(str(source) in str(refused.value) for source in system.sources.values())


@settings(deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 80))
def test_where_the_ratio_is_exact_no_other_is_taken(gpus, tasks, cpus):
    """On MareNostrum 5 a job starts with 20 CPUs for each GPU, in however many tasks."""
    fields = {"gpus_per_node": gpus, "ntasks_per_node": tasks, "cpus_per_task": cpus}
    if tasks * cpus == gpus * 20:
        check("marenostrum5", "acc", fields)
    else:
        with pytest.raises(JobSpecError, match=r"wants exactly 20 for each|may use 80 cores"):
            check("marenostrum5", "acc", fields)
