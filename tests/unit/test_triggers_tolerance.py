"""What triggers say while a credential is waited for: once when it has expired, once when it was renewed."""

import asyncio
import logging

from headnode.cluster.procedures import ask, shell
from headnode.cluster.tracker import Tracker
from headnode.errors import CredentialExpired, HostUnreachable
from headnode.ssh.port import Answer
from headnode.ssh.scripted import ScriptedTransport
from headnode.triggers import submitting
from headnode.triggers.submitting import SubmittingTrigger


class Waiting(SubmittingTrigger):
    """A trigger of which only the patience is used."""

    def serialize(self):
        """Nothing is stored."""
        return "", {}


def test_an_expired_credential_is_spoken_of_twice(monkeypatch, caplog):
    """However often it is looked at, and an outage before it has its own line."""
    monkeypatch.setattr(submitting, "_FIRST_RETRY_SECONDS", 0.05)
    answer = Answer(stdout=b"headnode:begin\n7\n\nheadnode:end:0\n", stderr=b"", exit_status=0)
    script = [HostUnreachable("down."), *[CredentialExpired("Renew it.")] * 4, answer]
    trigger = Waiting(slurm_conn_id="site", owner="", labels={}, deployment_id="d", outage_tolerance_seconds=60.0)
    trigger._log = logging.getLogger("patience")  # Airflow's own writes where its configuration says

    async def tolerantly():
        tracker = Tracker(ScriptedTransport(script), poll_seconds=0.05, poll_max_seconds=60.0)
        return await trigger._tolerantly(tracker, lambda: ask(shell("echo 7", purpose="a question")))

    with caplog.at_level(logging.INFO):
        output = asyncio.run(asyncio.wait_for(tolerantly(), 30))
    assert output.stdout.strip() == "7"
    said = [record.getMessage().split(" for at most")[0] for record in caplog.records if record.name == "patience"]
    assert [line[:24] for line in said] == [
        "down. Trying again in 0 ",
        "Renew it. It is waited f",
        "the credential was renew",
    ]
