"""A certificate of seconds expires while a job is followed: the job is waited for, and the following goes on."""

import asyncio
import shlex
import time

import pytest

from headnode.cluster.events import JobOver
from headnode.cluster.outages import OutageBegan, OutageOver
from headnode.cluster.submission import submit
from headnode.cluster.tracker import Tracker
from headnode.errors import CredentialExpired
from headnode.slurm.states import JobState
from headnode.ssh.asyncssh_transport import AsyncSSHTransport
from headnode.ssh.budget import Budget
from headnode.ssh.credentials import read_certificate
from headnode.ssh.settings import SSHSettings
from headnode.testing import CertificateAuthority, SshdOptions

pytestmark = pytest.mark.cluster

POLL_SECONDS = 1.0


@pytest.fixture
def authority(slurm_cluster, tmp_path):
    """Return an authority whose certificates the sshd of the test takes."""
    return CertificateAuthority(tmp_path / "keys", user=slurm_cluster.user)


@pytest.fixture
def sshd(slurm_cluster, authority):
    """Start an sshd that lets nobody in without a certificate."""
    with slurm_cluster.sshd(SshdOptions(trusted_ca=authority.public_key), name="expiring") as started:
        yield started


@pytest.fixture
def tracker(sshd, authority, tmp_path, renewed_by):
    """Return what makes a tracker over that sshd; a program renews the certificate where the test wants one."""
    program = tmp_path / "renew"
    program.write_text(f"#!/bin/sh\n{shlex.join(authority.certify_command())}\n")
    program.chmod(0o755)
    settings = SSHSettings(
        conn_id="expiring",
        host=sshd.host,
        port=sshd.port,
        username=sshd.user,
        host_key=sshd.host_key,
        key_file=str(authority.key_file),
        credential_command=(str(program),) if renewed_by == "program" else (),
        budget=Budget(directory=str(tmp_path / "budget"), logins_per_minute=1000),
    )
    return lambda: Tracker(AsyncSSHTransport(settings), poll_seconds=POLL_SECONDS, poll_max_seconds=600.0)


async def submitted(tracker, request, authority):
    """Submit with a certificate that lasts for seconds; on a busy machine it may take more than one."""
    while True:
        authority.certify(seconds=4)
        try:
            return await tracker.run(submit(request))
        except CredentialExpired:
            continue


async def seen(condition):
    """Wait for something that happens elsewhere."""
    while not condition():  # noqa: ASYNC110 - other processes set no asyncio.Event
        await asyncio.sleep(0.2)


@pytest.mark.parametrize("renewed_by", ["hand", "program"])
def test_it_expires_while_a_job_is_followed(tracker, sshd, authority, *, new_request, tmp_path, renewed_by):
    """The task hears once that it expired and once that it is over; within an interval of the renewal it goes on."""
    release = tmp_path / "release"
    request = new_request(["/bin/sh", "-c", f"until test -e {release}; do sleep 0.2; done"])
    heard = []

    async def expire():
        await seen(lambda: read_certificate(str(authority.certificate_file)).is_over(time.time()))
        sshd.end_sessions()
        if renewed_by == "program":  # which is done without a word, if no look at the host falls between
            await seen(lambda: sshd.logins() > 1)
            release.touch()

    async def follow():
        followed = tracker()
        job = await submitted(followed, request, authority)

        breaking = asyncio.create_task(expire())
        async for event in followed.follow(job.job_id, directory=job.directory, outage_tolerance_seconds=90.0):
            match event:
                case OutageBegan(CredentialExpired() as error):
                    heard.append("expired")
                    assert "Renew it as the site says" in str(error)
                    assert followed._rounds.interval <= POLL_SECONDS
                    await breaking
                    authority.certify()
                case OutageOver():
                    heard.append("over")
                    release.touch()
                case JobOver(entry):
                    return entry
        return None

    entry = asyncio.run(asyncio.wait_for(follow(), 100))
    assert entry.state is JobState.COMPLETED
    assert heard[:2] == ["expired", "over"] or renewed_by == "program"
    assert heard.count("expired") == (renewed_by == "hand")
    assert sshd.refusals() == 0
