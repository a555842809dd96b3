"""What Slurm prints of its configuration, partitions, accounts and QOSes becomes data, or is refused."""

import pytest

from headnode.errors import UnreadableAnswer
from headnode.slurm.limits import (
    Association,
    Limits,
    Partition,
    parse_associations,
    parse_config,
    parse_partitions,
    parse_qos,
    show_associations,
)

# From `scontrol show config` of Slurm 22.05.8, shortened.
CONFIG = """\
Configuration data as of 2026-11-21T17:40:12
AccountingStorageBackupHost = (null)
AccountingStorageEnforce = associations,limits,qos
AccountingStorageHost   = dbd.example.org
AccountingStorageTRES   = cpu,mem,energy,node,billing,fs/disk,vmem,pages,gres/gpu
AccountingStorageType   = accounting_storage/slurmdbd
ClusterName             = private
MaxArraySize            = 1001
MinJobAge               = 300 sec
SLURM_VERSION           = 22.05.8

Cgroup Support Configuration:
(null)

Slurmctld(primary) at login is UP
"""


def test_configuration():
    """Limits, version, and whether a job needs an account."""
    config = parse_config(CONFIG)
    assert (config.version, config.cluster) == ("22.05.8", "private")
    assert (config.max_array_size, config.min_job_age_seconds) == (1001, 300)
    assert config.keeps_accounting
    assert config.needs_association


@pytest.mark.parametrize("storage", ["accounting_storage/none", "(null)"])
def test_configuration_without_accounting(storage):
    """Newer versions print no name."""
    text = CONFIG.replace("accounting_storage/slurmdbd", storage).replace("associations,limits,qos", "none")
    config = parse_config(text)
    assert not config.keeps_accounting
    assert not config.needs_association


@pytest.mark.parametrize("text", ["", CONFIG[:200], CONFIG.replace("1001", "many"), "MaxArraySize = 1001"])
def test_configuration_that_is_not_whole(text):
    """A cut answer is none."""
    with pytest.raises(UnreadableAnswer, match="the configuration that scontrol shows can't be read"):
        parse_config(text)


def test_partitions():
    """The default one carries a star; large clusters count in thousands."""
    assert parse_partitions("batch*|up|1-00:00:00|0/4/0/4\nbooster|down|infinite|5.2K/300/84/5.6K\n") == [
        Partition(name="batch", is_default=True, available="up", time_limit="1-00:00:00", nodes="4"),
        Partition(name="booster", is_default=False, available="down", time_limit="infinite", nodes="5.6K"),
    ]
    assert parse_partitions("\n") == []


@pytest.mark.parametrize("line", ["batch", "batch*|up|1-00|4", "*|up|1|0/4/0/4", "a|b|up|1|0/4/0/4", "a|up|1|0/4/0/x"])
def test_partitions_in_another_form(line):
    """Whatever has not the asked form is no partition."""
    with pytest.raises(UnreadableAnswer, match="sinfo"):
        parse_partitions(f"batch*|up|1-00:00:00|0/4/0/4\n{line}\n")


def test_associations():
    """Those of other clusters that the same slurmdbd serves are left out."""
    answer = "other|theirs|normal|||\nPrivate|climate|normal,debug|10|100|2-00:00:00\nprivate|root|normal|||\n"
    assert parse_associations(answer, "private") == [
        Association(
            account="climate",
            qos=("normal", "debug"),
            limits=Limits(wall_time="2-00:00:00", jobs="10", submitted="100"),
        ),
        Association(account="root", qos=("normal",), limits=Limits()),
    ]


def test_qos():
    """Limits read as a sentence; no limit is said, too."""
    every = parse_qos("normal||||\ndebug|00:30:00|1|2|gres/gpu=8,node=2\n")
    assert str(every["normal"]) == "no limit"
    assert str(every["debug"]) == (
        "jobs up to 00:30:00, running jobs: 1, submitted jobs: 2, at the same time gres/gpu=8,node=2"
    )


@pytest.mark.parametrize("parse", [parse_qos, lambda text: parse_associations(text, "private")])
def test_answers_of_sacctmgr_in_another_form(parse):
    """They are refused."""
    with pytest.raises(UnreadableAnswer, match=r"sacctmgr's line 'normal\|\|\|' has not the form"):
        parse("normal|||\n")


def test_the_user_is_one_argument():
    """Whoever is asked for, nothing else is."""
    assert "user=a b;c" in show_associations("a b;c")
