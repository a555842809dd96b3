"""A trigger goes on where an earlier triggerer was stopped; what Airflow stores for them is a variable here."""

import asyncio
import dataclasses
import json

import pytest

from headnode.cluster.tracker import Tracker
from headnode.errors import JobPendingTooLong
from headnode.slurm.jobspec import parse_jobspec
from headnode.slurm.script import render_script
from headnode.ssh.settings import parse_connection
from headnode.triggers.slurm_job import SlurmJobTrigger
from headnode.triggers.storing import RecordStore

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]


class Remembering(SlurmJobTrigger):
    """Keeps the record in a list that the next trigger shares, in place of Airflow's database."""

    kept: list

    def share(self, kept):
        """Read and write the records in ``kept``."""

        async def write(record):
            kept.append(record)

        self.kept, self._store = kept, RecordStore(self.log, write=write)

    async def _stored(self, _settings):
        if self.kept:
            self._record = self.kept[-1]
        return self._record


@pytest.fixture
def finish(slurm_cluster, connect, new_place, tmp_path):
    """Return a function that runs a trigger of one and the same task to its end."""
    fields = json.loads(slurm_cluster.airflow_connection_json())
    fields["extra"] |= {"work_directory": str(tmp_path)}
    extra = fields["extra"] if isinstance(fields["extra"], dict) else json.loads(fields["extra"])
    settings = parse_connection(
        conn_id="private",
        host=fields["host"],
        port=fields["port"],
        login=fields["login"],
        password=None,
        extra=extra,
    )
    place, kept = new_place(), []

    def run(command, *, max_pending_seconds=None, **spec):
        described = parse_jobspec({"job_name": "test", "command": command, "memory": "10M", **spec})
        trigger = Remembering(
            slurm_conn_id="private",
            owner=place.owner,
            labels=place.labels.model_dump(),
            deployment_id=place.deployment_id,
            script=render_script(described),
            job_name="test",
            script_sha256="",
            requested={},
            elements=1,
            max_pending_seconds=max_pending_seconds,
        )
        trigger.share(kept)

        async def to_the_end():
            transport = connect()
            tracker = Tracker(transport, poll_seconds=0.5, poll_max_seconds=0.5)
            try:
                quick = dataclasses.replace(settings, settle_seconds=2.0)
                return await asyncio.wait_for(trigger._finish(tracker, quick), 60)
            finally:
                await transport.close()

        return asyncio.run(to_the_end())

    return run


def test_a_job_that_was_withdrawn(finish, slurm_cluster):
    """The second trigger says why it was, as the first would have, and submits nothing."""
    fields = {"command": ["sleep", "1"], "max_pending_seconds": 1.0, "sbatch_options": {"begin": "now+600"}}
    messages = []
    for _ in range(2):
        with pytest.raises(JobPendingTooLong, match=r"max_pending is 1 s.*It is cancelled") as raised:
            finish(**fields)
        messages.append(str(raised.value))
    assert messages[0] == messages[1]
    assert not slurm_cluster.run("squeue", "-h").stdout


def test_a_job_that_has_ended(finish, tmp_path):
    """Its result is given once more; there is one job."""
    command = ["sh", "-c", 'echo 41 > "$HEADNODE_RESULT"; echo x >> ../ran']
    assert finish(command) == 41
    assert finish(command) == 41
    (ran,) = tmp_path.glob("t/tasks/*/*/ran")
    assert ran.read_text() == "x\n"
