"""Connections to the private cluster, and requests for small jobs on it."""

import asyncio
import time
import uuid

import pytest

from headnode.cluster.place import JobPlace
from headnode.cluster.procedures import drive
from headnode.cluster.submission import SubmitRequest
from headnode.slurm.jobspec import parse_jobspec
from headnode.slurm.record import Labels
from headnode.slurm.script import render_script
from headnode.ssh.asyncssh_transport import AsyncSSHTransport
from headnode.ssh.settings import SSHSettings


@pytest.fixture
def new_place(tmp_path):
    """Return a function that makes the place of a task that no other test has."""

    def make(directory=tmp_path):
        labels = Labels(dag_id="tests", run_id=str(uuid.uuid4()), task_id="task")
        return JobPlace(work_directory=str(directory), deployment_id="t", labels=labels, owner=str(uuid.uuid4()))

    return make


JOB_BEGINS = "the job itself begins here"


@pytest.fixture
def new_request(new_place):
    """Return a function that makes the request to run a command, by default one that sleeps, at a new place."""

    def make(command=("sleep", "60"), *, place=None, code=None, **fields):
        # What start-up files of the login shell print comes before this line.
        words = f"echo {JOB_BEGINS}\n{command}" if isinstance(command, str) else list(command)
        spec = parse_jobspec({"job_name": "test", "command": words, "memory": "10M", **fields})
        return SubmitRequest(place=place or new_place(), script=render_script(spec), code=code)

    return make


@pytest.fixture
def connect(slurm_cluster):
    """Return a function that makes one more connection to the cluster; jobs that are left are cancelled."""
    settings = SSHSettings(
        conn_id="private",
        host=slurm_cluster.host,
        port=slurm_cluster.port,
        username=slurm_cluster.user,
        key_file=str(slurm_cluster.key_file),
        host_key=slurm_cluster.host_key,
        connect_timeout_seconds=10.0,
    )
    yield lambda: AsyncSSHTransport(settings)
    slurm_cluster.run("scancel", f"--user={slurm_cluster.user}", check=False)


@pytest.fixture
def ask(connect):
    """Return a function that runs procedures at once, each over a connection of its own."""

    async def run_one(procedure, pauses):
        transport = connect()
        try:
            return await drive(procedure, transport, on_pause=pauses.append)
        finally:
            await transport.close()

    def run(*procedures, pauses=None):
        async def run_all():
            seen = [] if pauses is None else pauses
            return await asyncio.wait_for(asyncio.gather(*(run_one(each, seen) for each in procedures)), 60)

        results = asyncio.run(run_all())
        return results[0] if len(procedures) == 1 else results

    return run


@pytest.fixture
def wait_until_over(slurm_cluster):
    """Return a function that waits for a job to leave the queue."""

    def wait(job_id):
        deadline = time.monotonic() + 30
        while slurm_cluster.run("squeue", "-h", f"--jobs={job_id},{job_id}").stdout:
            assert time.monotonic() < deadline, "the job did not end"
            time.sleep(0.2)

    return wait
