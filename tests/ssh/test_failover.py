"""Two login nodes of one cluster, of which one goes down: the other is used, and no command is sent twice."""

import asyncio
import contextlib
import dataclasses
import threading
import time
import uuid

import pytest

from headnode.cluster.place import JobPlace
from headnode.cluster.procedures import drive, drive_sync
from headnode.cluster.submission import SubmitRequest, submit
from headnode.cluster.tracker import JobOver, OutageBegan, Tracker
from headnode.errors import AuthenticationRefused, ConnectionLost, HostKeyRefused, HostUnreachable
from headnode.hooks.paramiko_transport import ParamikoTransport
from headnode.slurm.jobspec import parse_jobspec
from headnode.slurm.record import Labels
from headnode.slurm.script import render_script
from headnode.ssh.asyncssh_transport import AsyncSSHTransport
from headnode.ssh.budget import Budget
from headnode.ssh.failover import in_order, says_closed
from headnode.testing.faults import hanging
from headnode.testing.sshd import SshdOptions

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]


@dataclasses.dataclass(frozen=True)
class Site:
    """Two login nodes, ``127.0.0.1`` and ``127.0.0.2``, and the settings that name both."""

    first: object
    second: object
    settings: object


def name(word):
    """Return a name of a server, which has a log of its own then."""
    return f"{word}-{uuid.uuid4().hex[:6]}"


@pytest.fixture
def site(slurm_cluster, settings, tmp_path):
    """Start two login nodes with keys of their own."""
    with contextlib.ExitStack() as nodes:
        first = nodes.enter_context(slurm_cluster.sshd(name=name("first")))
        second = nodes.enter_context(
            slurm_cluster.sshd(SshdOptions(listen_address="127.0.0.2", port=first.port), name=name("second"))
        )
        known_hosts = tmp_path / "known_hosts"
        known_hosts.write_text(first.known_hosts.read_text() + second.known_hosts.read_text())
        yield Site(
            first,
            second,
            settings(
                host=first.host,
                hosts=(first.host, second.host),
                port=first.port,
                host_key=None,
                known_hosts=str(known_hosts),
                budget=Budget(logins_per_minute=1000, directory=str(tmp_path / "budget")),
            ),
        )


def logins(site):
    """Return how many logins each of the hosts has taken."""
    return site.first.logins(), site.second.logins()


def test_the_next_host_is_used_until_it_fails(site, connect, command):
    """Also by processes that come later, and after the first is back; then it is the first's turn again."""
    connection = connect(site.settings)
    assert connection.run(command("true")).exit_status == 0
    site.first.stop()
    with contextlib.suppress(ConnectionLost):  # what paramiko notices before it sends anything
        connection.run(command("true"))
    assert connection.run(command("true")).exit_status == 0
    assert logins(site) == (1, 1)
    site.first.start()
    later = connect(site.settings)
    assert later.run(command("true")).exit_status == 0
    assert logins(site) == (1, 2), "the one that works is kept"
    site.second.stop()
    assert connect(site.settings).run(command("true")).exit_status == 0
    assert logins(site) == (2, 2)


def test_no_host_is_there(site, connect, command):
    """The message names all of them, and trying again may help."""
    site.first.stop()
    site.second.stop()
    with pytest.raises(HostUnreachable, match=r"none of the 2 hosts.*127\.0\.0\.1.*127\.0\.0\.2") as caught:
        connect(site.settings).run(command("true"))
    assert caught.value.retryable


def test_each_host_is_checked(site, connect, command):
    """A host whose key is not known is no host to go to."""
    site.first.stop()
    changed = dataclasses.replace(site.settings, known_hosts=str(site.first.known_hosts))
    with pytest.raises(HostKeyRefused, match=r"127\.0\.0\.2"):
        connect(changed).run(command("true"))
    assert logins(site) == (0, 0)


def test_refused_credentials_are_not_offered_to_the_next_host(site, connect, command):
    """It has the same users; trying there would be trying on."""
    with pytest.raises(AuthenticationRefused):
        connect(dataclasses.replace(site.settings, username="nobody")).run(command("true"))
    assert (site.first.connections(), site.second.connections()) == (1, 0)


def request_for(tmp_path, command=("sleep", "60")):
    """Return a submission that no other test has."""
    labels = Labels(dag_id="tests", run_id=str(uuid.uuid4()), task_id="failover")
    place = JobPlace(work_directory=str(tmp_path), deployment_id="t", labels=labels, owner=str(uuid.uuid4()))
    spec = parse_jobspec({"job_name": "failover", "command": list(command), "memory": "10M"})
    return SubmitRequest(place=place, script=render_script(spec))


def jobs_of(cluster, request):
    """Return the ids of all jobs that ever were for the request."""
    queue = cluster.run("squeue", "-h", "-o", "%F|%Z").stdout
    past = cluster.run("sacct", "-nXP", "-S", "now-1hour", "-o", "JobID,WorkDir").stdout
    return {line.split("|")[0] for line in (queue + past).splitlines() if f"/{request.place.key}/" in line}


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("adapter", ["asyncssh", "paramiko"])
def test_a_host_that_goes_down_in_mid_submission(slurm_cluster, site, tmp_path, moment, adapter):
    """Before sbatch reaches Slurm or after it: asked again, over the other host, there is one job."""
    request = request_for(tmp_path)
    with hanging(slurm_cluster, "sbatch", seconds=2.0, after=moment == "after", times=1) as fault:

        def kill_first():
            deadline = time.monotonic() + 30
            while not fault.hits() or (moment == "after" and not jobs_of(slurm_cluster, request)):
                assert time.monotonic() < deadline, "sbatch was not called"
                time.sleep(0.05)
            site.first.stop()

        submitted = {"asyncssh": by_asyncssh, "paramiko": by_paramiko}[adapter](site, request, kill_first)
    try:
        assert logins(site) == (1, 1)
        assert fault.hits() == 1
        assert jobs_of(slurm_cluster, request) == {submitted.job_id}
    finally:
        slurm_cluster.run("scancel", submitted.job_id)


def by_asyncssh(site, request, kill_first):
    """Submit in an event loop, killing the host meanwhile, and again."""

    async def both():
        transport = AsyncSSHTransport(site.settings)
        try:
            killing = asyncio.create_task(asyncio.to_thread(kill_first))
            with pytest.raises(ConnectionLost):
                await drive(submit(request, settle_seconds=3.0), transport)
            await killing
            return await drive(submit(request, settle_seconds=3.0), transport)
        finally:
            await transport.close()

    return asyncio.run(asyncio.wait_for(both(), 90))


def by_paramiko(site, request, kill_first):
    """Submit on a worker, killing the host meanwhile, and again."""
    transport = ParamikoTransport(site.settings)
    with contextlib.closing(transport), contextlib.ExitStack() as ends:
        killing = threading.Thread(target=kill_first)
        killing.start()
        ends.callback(killing.join)
        with pytest.raises(ConnectionLost):
            drive_sync(submit(request, settle_seconds=3.0), transport.run)
        return drive_sync(submit(request, settle_seconds=3.0), transport.run)


async def followed(tracker, request, *, meanwhile=lambda: None):
    """Submit the job and follow it to its end; return the kinds of what happened, and how it ended."""
    submitted = await tracker.run(submit(request, settle_seconds=3.0))
    meanwhile()
    place = {"key": submitted.key, "directory": submitted.directory}
    seen = [event async for event in tracker.follow(submitted.job_id, **place, outage_tolerance_seconds=60.0)]
    assert isinstance(seen[-1], JobOver)
    return [type(event) for event in seen], seen[-1].entry.state_word


def test_a_job_is_followed_over_the_other_host(site, tmp_path):
    """Its host goes down while it runs: that is an outage for a moment at most, and the job ends well."""

    async def go():
        tracker = Tracker(AsyncSSHTransport(site.settings), poll_seconds=0.3, poll_max_seconds=0.5)
        request = request_for(tmp_path, ["sleep", "1"])
        try:
            return await asyncio.wait_for(followed(tracker, request, meanwhile=site.first.stop), 60)
        finally:
            await tracker.transport.close()

    _, state = asyncio.run(go())
    assert state == "COMPLETED"
    assert logins(site) == (1, 1)


def test_jobs_over_a_host_with_two_sessions(slurm_cluster, settings, tmp_path):
    """With MaxSessions 2, six jobs are submitted at once and followed, over one login."""
    with slurm_cluster.sshd(SshdOptions(max_sessions=2), name=name("narrow")) as sshd:
        budget = Budget(directory=str(tmp_path / "budget"))
        changed = settings(host=sshd.host, port=sshd.port, host_key=sshd.host_key, budget=budget)

        async def six():
            tracker = Tracker(AsyncSSHTransport(changed), poll_seconds=0.5, poll_max_seconds=1.0)
            try:
                jobs = (followed(tracker, request_for(tmp_path, ["true"])) for _ in range(6))
                return await asyncio.wait_for(asyncio.gather(*jobs), 90)
            finally:
                await tracker.transport.close()

        ends = asyncio.run(six())
        assert [state for _, state in ends] == ["COMPLETED"] * 6
        assert not any(OutageBegan in happened for happened, _ in ends)
        assert sshd.logins() == 1


@pytest.fixture
def closed_site(slurm_cluster, settings, tmp_path):
    """Return a function that starts two login nodes, of which the first is closed with the given lines of its own."""
    with contextlib.ExitStack() as nodes:

        def start(options):
            first = nodes.enter_context(slurm_cluster.sshd(options, name=name("closed")))
            second = nodes.enter_context(
                slurm_cluster.sshd(SshdOptions(listen_address="127.0.0.2", port=first.port), name=name("open"))
            )
            known_hosts = tmp_path / "known_hosts"
            known_hosts.write_text(first.known_hosts.read_text() + second.known_hosts.read_text())
            budget = Budget(logins_per_minute=1000, directory=str(tmp_path / "budget"))
            changed = settings(host_key=None, known_hosts=str(known_hosts), port=first.port, budget=budget)
            return Site(first, second, dataclasses.replace(changed, hosts=(first.host, second.host)))

        yield start


MAINTENANCE = "*** Notice ***\nThe system is down for scheduled maintenance until Friday."


def test_a_host_in_maintenance_that_lets_nobody_in(closed_site, connect, command):
    """As pam_nologin does: it refuses the right key. The next host is used, and the first is left in peace."""
    site = closed_site(SshdOptions(banner=MAINTENANCE, more=("DenyUsers *",)))
    for _ in range(2):
        assert connect(site.settings).run(command("true")).exit_status == 0
    alone = dataclasses.replace(site.settings, hosts=(), host=site.first.host)
    with pytest.raises(HostUnreachable, match=r"lets nobody in at present: .*scheduled maintenance"):
        connect(alone).run(command("true"))
    assert (site.first.connections(), site.second.logins()) == (1, 2)


def test_a_host_in_maintenance_that_ends_each_session(closed_site, connect, command, tmp_path):
    """As sshd does by itself where /etc/nologin is: the login works, and every command gets the text and status 254."""
    nologin = tmp_path / "nologin"
    nologin.write_text(
        "#!/bin/sh\necho 'System is going down. Unprivileged users are not permitted to log in anymore.'"
        " >&2\nexit 254\n"
    )
    nologin.chmod(0o755)
    site = closed_site(SshdOptions(more=(f"ForceCommand {nologin}",)))
    connection = connect(site.settings)
    with pytest.raises(HostUnreachable, match="lets nobody in at present: 'System is going down"):
        connection.run(command("true"))
    assert connection.run(command("echo here")).stdout == b"here\n"
    assert logins(site) == (1, 1)


@pytest.mark.parametrize(
    ("text", "closed"),
    [
        (MAINTENANCE, True),
        (
            "System is going down. Unprivileged users are not permitted to log in anymore. See pam_nologin(8).",
            True,
        ),
        ("System is booting up. Unprivileged users are not permitted to log in yet.", True),
        ("Logins are currently disabled.", True),
        ("The login nodes are temporarily unavailable", True),
        ("JUWELS is offline for maintenance", True),
        ("maintenance in progress", True),
        ("Welcome! The next maintenance is on Tuesday.", False),
        ("Unauthorised access is forbidden. Connections are logged.", False),
        ("Access denied by PAM account configuration", False),
        ("See https://example.org/maintenance for dates of maintenance", False),
        ("", False),
    ],
)
def test_words_of_closed_hosts(text, closed):
    """A banner that merely announces maintenance does not make a refusal harmless."""
    assert says_closed(text) is closed


def test_order():
    """From the one that worked last on, round; a host that the connection names no more does not count."""
    assert in_order(("a", "b", "c"), "b") == ("b", "c", "a")
    assert in_order(("a", "b", "c"), "gone") == in_order(("a", "b", "c"), None) == ("a", "b", "c")
