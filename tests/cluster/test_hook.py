"""The synchronous way in: ``SlurmHook`` on a real cluster, with the connection in Airflow's environment."""

import time

import pytest
from airflow.providers.ssh.hooks.ssh import SSHHook
from airflow.providers.ssh.operators.ssh import SSHOperator

from headnode.cluster.submission import submit
from headnode.errors import HostKeyRefused
from headnode.hooks.slurm import SlurmHook
from headnode.ssh.settings import ConnectionInvalid

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]


@pytest.fixture(params=["slurm", "ssh"])
def hook(request, slurm_cluster, monkeypatch):
    """Return a hook over a connection of each type that is read."""
    monkeypatch.setenv("AIRFLOW_CONN_PRIVATE", slurm_cluster.airflow_connection_json(request.param))
    made = SlurmHook("private")
    yield made
    made.transport.close()
    slurm_cluster.run("scancel", f"--user={slurm_cluster.user}", check=False)


def test_a_jobs_life(hook, slurm_cluster, new_request):
    """Submitted, seen, cancelled and seen again, over one login."""
    logins = slurm_cluster.logins()
    job = hook.run(submit(new_request()))
    deadline = time.monotonic() + 20
    while hook.job_state(job.job_id) != "RUNNING":
        assert time.monotonic() < deadline
        time.sleep(0.2)
    hook.cancel(job.job_id)
    while not str(hook.job_state(job.job_id)).startswith("CANCELLED"):
        assert time.monotonic() < deadline + 20
        time.sleep(0.2)
    assert hook.job_state("999999") is None
    assert slurm_cluster.logins() == logins + 1


def test_the_ssh_providers_hook(hook, slurm_cluster):
    """What takes an ``ssh_hook`` runs over the same connection."""
    logins = slurm_cluster.logins()
    assert hook.job_state("999999") is None
    task = SSHOperator(task_id="task", ssh_hook=hook.ssh_hook(), command="echo $((6 * 7))")
    assert isinstance(task.hook, SSHHook)
    with task.get_ssh_client() as client:
        answer = task.hook.exec_ssh_client_command(client, task.command, get_pty=False, environment=None, timeout=10)
    assert answer == (0, b"42\n", b"")
    assert slurm_cluster.logins() == logins + 1


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (None, ConnectionInvalid, "Airflow has no connection 'private'.*airflow connections add private"),
        ('{"conn_type": "http", "host": "x"}', ConnectionInvalid, "of type 'http'"),
        ('{"conn_type": "slurm"}', ConnectionInvalid, "names no host"),
        ('{"conn_type": "ssh", "host": "x", "extra": {"no_host_key_check": "true"}}', HostKeyRefused, "always checks"),
    ],
)
def test_connections_that_cannot_be_right(monkeypatch, value, error, message):
    """The message says what to do."""
    if value is None:
        monkeypatch.delenv("AIRFLOW_CONN_PRIVATE", raising=False)
    else:
        monkeypatch.setenv("AIRFLOW_CONN_PRIVATE", value)
    with pytest.raises(error, match=message):
        _ = SlurmHook("private").settings
