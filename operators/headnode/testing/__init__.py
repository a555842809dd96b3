"""A private, real Slurm cluster for tests: munge, MariaDB, slurmdbd, slurmctld, virtual nodes and sshd.

It lives in one directory, needs no root, and takes Debian's own packages::

    slurmctld slurmd slurm-client slurmdbd munge openssh-server openssh-client mariadb-server rsync

In a repository of DAGs, with headnode installed, pytest finds the fixture ``slurm_cluster`` by itself::

    def test_my_dag_runs_a_job(slurm_cluster, monkeypatch):
        monkeypatch.setenv("AIRFLOW_CONN_MY_CLUSTER", slurm_cluster.airflow_connection_json())
        dag.test()                                              # its tasks use slurm_conn_id="my_cluster"
        assert "COMPLETED" in slurm_cluster.run("sacct", "-nX", "-o", "state").stdout

Partitions: ``batch`` (default, all nodes) and ``gpu`` (the last two nodes, with pretend GPUs). All nodes are this one
machine. Memory is scheduled and measured but not enforced: without cgroups Slurm never says OUT_OF_MEMORY.
sshd has its default limits (MaxSessions 10, MaxStartups 10:30:100).

To test outages use ``stop_sshd``, ``stop_slurmctld``, ``stop_slurmdbd`` and their ``start_`` twins. To test odd answers
put a script of your own in place of ``<directory>/bin/sbatch`` (SSH sessions look there first), and call
``restore_commands`` afterwards. ``count_calls`` and ``logins`` tell what a test did to the head node.

From a terminal: ``headnode devcluster up``, ``status``, ``down``.
"""

from __future__ import annotations

from headnode.testing.cluster import SlurmCluster
from headnode.testing.errors import (
    DaemonFailed,
    NotRunning,
    PrivateClusterError,
    ProgramsMissing,
    SettingsError,
)

__all__ = [
    "DaemonFailed",
    "NotRunning",
    "PrivateClusterError",
    "ProgramsMissing",
    "SettingsError",
    "SlurmCluster",
]
