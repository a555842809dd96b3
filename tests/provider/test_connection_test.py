"""The *Test* button of the connection page, as Airflow's API server runs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from headnode.testing.airflow_settings import environment

pytestmark = [pytest.mark.airflow, pytest.mark.cluster]


@pytest.fixture
def stored(airflow, connections, slurm_cluster):
    """Return a function that stores a connection, its key in it, and returns what the connection page has of it."""
    names = []

    def store(**changes):
        fields = json.loads(connections["typed_slurm"])
        del fields["extra"]["key_file"]
        extra = fields.pop("extra") | {"private_key": slurm_cluster.key_file.read_text()} | changes
        names.append(f"button_{len(names)}")
        airflow.api("POST", "/connections", {"connection_id": names[-1], "extra": json.dumps(extra), **fields})
        shown = airflow.api("GET", f"/connections/{names[-1]}")
        assert json.loads(shown["extra"])["private_key"] == "***"
        return {name: shown[name] for name in ("connection_id", "conn_type", "host", "login", "port", "extra")}

    yield store
    for name in names:
        airflow.api("DELETE", f"/connections/{name}")


def test_a_connection_that_is_well(airflow, stored):
    """The page has the key masked only; Airflow puts the stored one in its place."""
    answer = airflow.api("POST", "/connections/test", stored())
    assert answer["status"], answer["message"]
    assert "cluster private." in answer["message"]
    assert "Partitions: batch (default): 4 nodes, up to 1-00:00:00" in answer["message"]


def test_a_connection_with_a_fault(airflow, stored, connections):
    """What is wrong and what to do, and nothing else."""
    key = json.loads(connections["unknown_host"])["extra"]["host_key"]
    answer = airflow.api("POST", "/connections/test", stored(host_key=key))
    assert not answer["status"]
    assert answer["message"].startswith("Host key: [127.0.0.1]:")
    assert "but the connection's host_key says ssh-ed25519 SHA256:" in answer["message"]


def headnode_check(airflow, conn_id):
    """Run the installed command on a machine of the Airflow."""
    command = [Path(sys.executable).parent / "headnode", "check", conn_id, "--json"]
    variables = environment(airflow.settings)
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=100)


def test_the_command_reads_airflows_database(airflow, stored):
    """`headnode check` on a machine of this Airflow finds what the connection page has stored."""
    name = stored(site="the-site")["connection_id"]
    done = headnode_check(airflow, name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["findings"][0]["value"] == "the-site"
    done = headnode_check(airflow, "no_such_connection")
    assert done.returncode == 1
    assert "Airflow has no connection 'no_such_connection': add it" in json.loads(done.stdout)["findings"][0]["value"]
