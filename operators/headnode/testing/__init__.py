"""A private, real Slurm cluster for tests: munge, MariaDB, slurmdbd, slurmctld, virtual nodes and sshd.

It lives in one directory, needs no root, and takes Debian's own packages::

    slurmctld slurmd slurm-client slurmdbd munge openssh-server openssh-client mariadb-server rsync

In a repository of DAGs, with headnode installed, pytest finds the fixture ``slurm_cluster`` by itself::

    def test_my_dag_runs_a_job(slurm_cluster, monkeypatch):
        monkeypatch.setenv("AIRFLOW_CONN_MY_CLUSTER", slurm_cluster.airflow_connection_json())
        dag.test()                                              # its tasks use slurm_conn_id="my_cluster"
        assert "COMPLETED" in slurm_cluster.run("sacct", "-nX", "-o", "state").stdout

Partitions: ``batch`` (default, all nodes) and ``gpu`` (the last two nodes, with pretend GPUs). All nodes are this one
machine. Memory is scheduled and measured but not enforced, unless ``ClusterOptions(enforce_memory=True)`` is given.
sshd has its default limits (MaxSessions 10, MaxStartups 10:30:100).

Other clusters, without accounting, with few job ids, preemption or a wrong clock, are made with
``SlurmCluster.start(directory, options=ClusterOptions(...))``.

Servers that let people in as sites do (certificates, codes, limits, old algorithms) are started beside it with
``SlurmCluster.sshd(SshdOptions(...))``.

To test outages use ``stop_sshd``, ``stop_slurmctld``, ``stop_slurmdbd``, ``stop_node`` and their ``start_`` twins. For
odd answers of Slurm's commands, banners and full disks there is ``headnode.testing.faults``, and for connections that
break ``SlurmCluster.proxy``. ``count_calls`` and ``logins`` tell what a test did to the head node.

Whether a real site would take a batch script is asked of its lookalike, which runs nothing
(``with running_lookalike() as lookalike: lookalike.become(system); lookalike.check(script)``).

From a terminal: ``headnode devcluster up``, ``status``, ``down``.
"""

from __future__ import annotations

from headnode.testing.certificates import CertificateAuthority
from headnode.testing.cluster import SlurmCluster
from headnode.testing.errors import (
    DaemonFailed,
    NotRunning,
    PrivateClusterError,
    ProgramsMissing,
    SettingsError,
)
from headnode.testing.lookalike import ScriptRefused, SiteLookalike, running_lookalike
from headnode.testing.proxy import SshProxy
from headnode.testing.settings import ClusterOptions
from headnode.testing.sshd import PrivateSshd, SshdOptions

__all__ = [
    "CertificateAuthority",
    "ClusterOptions",
    "DaemonFailed",
    "NotRunning",
    "PrivateClusterError",
    "PrivateSshd",
    "ProgramsMissing",
    "ScriptRefused",
    "SettingsError",
    "SiteLookalike",
    "SlurmCluster",
    "SshProxy",
    "SshdOptions",
    "running_lookalike",
]
