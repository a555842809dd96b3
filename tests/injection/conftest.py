"""A real cluster for hostile values, and a look for the files that they would leave behind."""

import asyncio
import os
import re
import uuid
from pathlib import Path

import pytest
from hostile_values import CANARY, hostile_values

from headnode.cluster.place import JobPlace
from headnode.cluster.procedures import drive
from headnode.slurm.record import Labels
from headnode.ssh.asyncssh_transport import AsyncSSHTransport
from headnode.ssh.settings import SSHSettings

_FILE = re.compile(rf"{CANARY}-[0-9]+")


@pytest.fixture(scope="session")
def canaries(slurm_cluster):
    """Return the folder, which anything may write."""
    folder = slurm_cluster.directory / "canaries"
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def values(canaries):
    """Return the hostile values; what they would make is made in the folder."""
    return hostile_values(str(canaries))


@pytest.fixture(scope="session")
def sendable(values):
    """Return those that a program can be given: without NUL, half characters, and more than Linux takes."""
    return [
        value
        for value in values
        if not re.search("[\0\ud800-\udfff]", value) and len(value.encode()) < 100_000
    ]  # fmt: skip


@pytest.fixture(scope="session")
def work(tmp_path_factory):
    """Return the work directory on the cluster."""
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="session")
def settings(slurm_cluster):
    """Return the settings of the connection."""
    return SSHSettings(
        conn_id="private",
        host=slurm_cluster.host,
        port=slurm_cluster.port,
        username=slurm_cluster.user,
        key_file=str(slurm_cluster.key_file),
        host_key=slurm_cluster.host_key,
        connect_timeout_seconds=10.0,
    )


@pytest.fixture(scope="session")
def ask(settings):
    """Return a function that runs procedures at once over one connection."""

    async def run_all(procedures):
        transport = AsyncSSHTransport(settings)
        try:
            return await asyncio.gather(*(drive(each, transport) for each in procedures), return_exceptions=True)
        finally:
            await transport.close()

    def run(*procedures):
        results = asyncio.run(asyncio.wait_for(run_all(procedures), 120))
        for result in results:
            if len(results) == 1 and isinstance(result, Exception):
                raise result
        return results[0] if len(results) == 1 else results

    return run


@pytest.fixture
def new_place(work):
    """Return a function that makes the place of a task that no other test has."""

    def make(name="injection"):
        labels = Labels(dag_id=name, run_id=f"{name}{uuid.uuid4()}", task_id=name)
        return JobPlace(work_directory=str(work), deployment_id="t", labels=labels, owner=str(uuid.uuid4()))

    return make


def _places(slurm_cluster, work):
    """Return where a value that was run could have written: the cluster, the home, and where everything runs."""
    return {slurm_cluster.directory, work.parent, Path.home(), Path.cwd()}


def found_canaries(slurm_cluster, work, but=()):
    """Return the files that hostile values have made; those in ``but`` were asked for."""
    found = set()
    for place in _places(slurm_cluster, work):
        for folder, folders, files in os.walk(place):
            folders[:] = [
                each for each in folders if not each.startswith(".venv") and each not in (".git", "node_modules")
            ]
            found |= {Path(folder, name) for name in (*files, *folders) if _FILE.fullmatch(name)}
    return {path for path in found if not any(path.is_relative_to(each) for each in but)}


@pytest.fixture
def no_trace(slurm_cluster, canaries, work):
    """See after the test that nothing was run, and that no job came to be that the test had not asked for.

    Return a set for the ids of the jobs that the test has made, and a set for paths that were asked for.
    """
    before, lay_there = set(_jobs(slurm_cluster)), found_canaries(slurm_cluster, work)
    made, asked = set(), set()
    yield made, asked
    slurm_cluster.run("scancel", f"--user={slurm_cluster.user}", check=False)
    assert list(canaries.iterdir()) == []
    assert found_canaries(slurm_cluster, work, asked) - lay_there == set()
    assert set(_jobs(slurm_cluster)) - before == made


def _jobs(slurm_cluster):
    """Return the ids of all jobs that there are or were."""
    queue = slurm_cluster.run("squeue", "--noheader", "--states=all", "--format=%A").stdout.split()
    return {job_id for job_id in queue if job_id.isdigit()}
