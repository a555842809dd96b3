"""The budget of a login host, kept by real processes and against real sshd servers."""

import asyncio
import concurrent.futures
import dataclasses
import logging
import os
import signal
import socket
import subprocess
import sys
import time

import asyncssh
import pytest

from headnode.errors import AuthenticationRefused, HostKeyRefused, HostUnreachable
from headnode.hooks.paramiko_transport import ParamikoTransport
from headnode.ssh.asyncssh_transport import AsyncSSHTransport
from headnode.ssh.budget import Budget, Turn
from headnode.ssh.ledger import HostLedger, LedgerUnusable, Slot
from headnode.ssh.login import in_flight, login_slot
from headnode.ssh.settings import JumpHost, SSHSettings
from headnode.testing.sshd import SshdOptions

NOWHERE = SSHSettings(conn_id="nowhere", host="nowhere.example", username="me", look_for_keys=False)


@pytest.fixture
def budget(tmp_path):
    """Return a function that makes a budget whose ledger is the test's own."""

    def make(**changes):
        return Budget(**{"logins_per_minute": 1000, "directory": str(tmp_path / "budget"), **changes})

    return make


def python(script, *arguments):
    """Start a Python that runs the script."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": "operators"})


TAKE_TURNS = """
import sys, time
from headnode.ssh.budget import Budget
from headnode.ssh.login import login_slot
from headnode.ssh.settings import SSHSettings
directory, times = sys.argv[1], int(sys.argv[2])
budget = Budget(logins_per_minute=6, window_seconds=1.0, concurrent_logins=2, directory=directory)
settings = SSHSettings(conn_id="x", host="nowhere.example", username="me", look_for_keys=False, budget=budget)
for _ in range(times):
    with login_slot(settings):
        began = time.time()
        time.sleep(0.05)
        print(began, time.time(), flush=True)
"""


def test_processes_share_the_budget(tmp_path):
    """Four processes take turns: never more logins within a window, nor at a time, than allowed; all get theirs."""
    processes = [python(TAKE_TURNS, tmp_path / "budget", 5) for _ in range(4)]
    told = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    logins = sorted(tuple(map(float, line.split())) for each in told for line in each.splitlines())
    noted = HostLedger(Budget(directory=str(tmp_path / "budget")), NOWHERE.host, NOWHERE.port).read().logins
    assert len(logins) == len(noted) == 20
    assert max(sum(other <= began < ended for other, ended in logins) for began, _ in logins) <= 2
    assert max(sum(began <= other < began + 1.0 for other in noted) for began in noted) <= 6
    assert all(turn <= began for turn, (began, _) in zip(noted, logins, strict=True))


HOLD = """
import sys, time
from headnode.ssh.budget import Budget
from headnode.ssh.login import login_slot
from headnode.ssh.settings import SSHSettings
budget = Budget(logins_per_minute=1000, concurrent_logins=1, directory=sys.argv[1])
settings = SSHSettings(conn_id="x", host="nowhere.example", username="me", look_for_keys=False, budget=budget)
with login_slot(settings):
    print("holds", flush=True)
    time.sleep(600)
"""


def test_a_killed_process_holds_nothing(tmp_path, budget):
    """Neither its slot nor, for long, its place in the queue."""
    holder = python(HOLD, tmp_path / "budget")
    assert holder.stdout.readline() == "holds\n"
    ledger = HostLedger(budget(concurrent_logins=1), NOWHERE.host, NOWHERE.port)
    try:
        assert ledger.ask("me") == Turn(wait_seconds=0.0, ahead=0)
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    assert isinstance(ledger.ask("me"), Slot)


def test_a_forked_process_holds_nothing(budget):
    """It has the files of its parent open; what the parent releases is free all the same."""
    ledger = HostLedger(budget(commands_in_flight=1), NOWHERE.host, NOWHERE.port)
    slot = ledger.command_slot()
    child = os.fork()
    if child == 0:
        time.sleep(600)
        os._exit(0)
    try:
        assert ledger.command_slot() is None
        slot.release()
        assert ledger.command_slot() is not None
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_waiting_is_said(budget, caplog):
    """With its reason, in the log that an Airflow task shows."""
    settings = dataclasses.replace(NOWHERE, budget=budget(logins_per_minute=1, window_seconds=2.5))
    with caplog.at_level(logging.INFO, "headnode.ssh"):
        for _ in range(2):
            with login_slot(settings):
                pass
    assert "waiting for a turn to log in at nowhere.example:22: 1 within 2.5 s and 2 at a time" in caplog.text


def test_commands_in_flight(budget):
    """The third waits until one of two is over."""
    settings = dataclasses.replace(NOWHERE, budget=budget(commands_in_flight=2))

    def command(_):
        with in_flight(settings):
            began = time.time()
            time.sleep(0.1)
            return began, time.time()

    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        commands = list(threads.map(command, range(12)))
    assert max(sum(began <= now < ended for began, ended in commands) for now, _ in commands) == 2


@pytest.mark.parametrize("mode", [0o777, 0o770])
def test_a_directory_that_others_can_write(tmp_path, mode):
    """It is not used: they could let this machine log in for ever."""
    (tmp_path / "budget").mkdir()
    (tmp_path / "budget").chmod(mode)
    with pytest.raises(LedgerUnusable, match=r"chmod 700 .*budget_directory"):
        HostLedger(Budget(directory=str(tmp_path / "budget")), "host", 22)


def test_a_directory_that_is_none(tmp_path):
    """The message says what to do."""
    (tmp_path / "budget").write_text("")
    with pytest.raises(LedgerUnusable, match="budget_directory"):
        HostLedger(Budget(directory=str(tmp_path / "budget")), "host", 22)


def test_a_ledger_of_another_version(budget):
    """What can't be read is no reason to stop."""
    ledger = HostLedger(budget(), "host", 22)
    ledger.write_text("ledger.json", '["what?"]')
    assert isinstance(ledger.ask("me"), Slot)


def test_old_files_are_removed(budget):
    """Those of credentials that nobody has offered for a month; the ledger stays."""
    ledger = HostLedger(budget(), "host", 22)
    for name in ("credentials-old.json", "credentials-new.json", "ledger.json"):
        ledger.write_text(name, "{}")
    month_ago = time.time() - 31 * 86400
    for name in ("credentials-old.json", "ledger.json"):
        os.utime(ledger.directory / name, (month_ago, month_ago))
    ledger.sweep()
    assert {path.name for path in ledger.directory.iterdir()} == {"credentials-new.json", "ledger.json"}


@pytest.mark.cluster
def test_the_loop_goes_on_while_a_login_waits(settings, command, budget):
    """And who is closed while it waits gives up its place."""
    limited = settings(budget=budget(logins_per_minute=1, window_seconds=2))
    ledger = HostLedger(limited.budget, limited.host, limited.port)

    async def three():
        first, second, third = (AsyncSSHTransport(limited) for _ in range(3))
        await first.run(command("true"))
        waits = asyncio.create_task(second.run(command("true")))
        gives_up = asyncio.create_task(third.run(command("true")))
        ticks = 0
        while not ledger.read().queue or ticks < 20:
            await asyncio.sleep(0.02)
            ticks += 1
        await third.close()
        with pytest.raises(HostUnreachable, match="closed before the login"):
            await gives_up
        await waits
        assert not ledger.read().queue
        await asyncio.gather(first.close(), second.close())

    asyncio.run(asyncio.wait_for(three(), 60))


TRY = """
import sys
from headnode.errors import AuthenticationRefused
from headnode.hooks.paramiko_transport import ParamikoTransport
from headnode.ssh.budget import Budget
from headnode.ssh.port import Command
from headnode.ssh.settings import SSHSettings
host, port, user, key, host_key, directory = sys.argv[1:]
settings = SSHSettings(conn_id="x", host=host, port=int(port), username=user, key_file=key, host_key=host_key,
                       look_for_keys=False, budget=Budget(concurrent_logins=4, directory=directory))
try:
    ParamikoTransport(settings).run(Command(text="true", purpose="a test"))
except AuthenticationRefused as error:
    sys.exit(f"refused: {error}")
"""


@pytest.fixture
def wrong_key(tmp_path):
    """Return the file of a key that no host knows."""
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(tmp_path / "key")
    return tmp_path / "key"


@pytest.mark.cluster
def test_nobody_offers_a_refused_key_again(slurm_cluster, command, settings, budget, wrong_key):
    """Of three processes at once one finds out; a changed key is tried at once, a forced attempt as well."""
    with slurm_cluster.sshd(name="refuses") as sshd:
        at = {"host": sshd.host, "port": sshd.port, "host_key": sshd.host_key, "key_file": str(wrong_key)}
        arguments = [sshd.host, sshd.port, sshd.user, wrong_key, sshd.host_key, budget().directory]
        processes = [python(TRY, *arguments) for _ in range(3)]
        for process in processes:
            process.communicate(timeout=60)
        assert [process.returncode for process in processes] == [1, 1, 1]
        assert sshd.connections() == 1
        changed = settings(**at, budget=budget())
        with pytest.raises(AuthenticationRefused, match=r"Refused once since .* UTC .* in 60 min, or by `headnode ch"):
            ParamikoTransport(changed).run(command("true"))
        with pytest.raises(AuthenticationRefused, match="refused the login"):
            ParamikoTransport(changed, forced=True).run(command("true"))
        assert sshd.connections() == 2
        wrong_key.write_bytes(slurm_cluster.key_file.read_bytes())
        transport = ParamikoTransport(changed)
        assert transport.run(command("true")).exit_status == 0
        transport.close()
        assert sshd.connections() == 3


@pytest.mark.cluster
def test_a_refused_key_is_offered_again_after_the_pause(settings, connect, command, budget, wrong_key):
    """The message then tells how often it was refused."""
    changed = settings(key_file=str(wrong_key), budget=budget(refused_retry_seconds=0.5))
    for _ in range(2):
        with pytest.raises(AuthenticationRefused):
            connect(changed).run(command("true"))
        time.sleep(0.6)
    changed = dataclasses.replace(changed, budget=budget(refused_retry_seconds=500))
    with pytest.raises(AuthenticationRefused, match="Refused 2 times since"):
        connect(changed).run(command("true"))


@pytest.mark.cluster
def test_what_is_remembered_holds_no_secret(settings, command, budget, wrong_key, tmp_path):
    """Only a digest, and what the host said."""
    changed = settings(key_file=str(wrong_key), password="open sesame", budget=budget())
    with pytest.raises(AuthenticationRefused):
        ParamikoTransport(changed).run(command("true"))
    files = [path for path in (tmp_path / "budget").rglob("*") if path.is_file()]
    assert any(path.name.startswith("credentials-") for path in files)
    for path in files:
        assert "sesame" not in path.read_text()
        assert wrong_key.read_text().split()[5] not in path.read_text()
        assert path.stat().st_mode & 0o077 == 0


@pytest.mark.cluster
def test_a_host_key_that_was_refused(settings, connect, command, budget, wrong_key):
    """It is looked at again when the connection names another, not before."""
    strange = asyncssh.read_private_key(wrong_key).export_public_key().decode().strip()
    changed = settings(host_key=strange, budget=budget())
    for said in ("is not the known one", "Refused once since"):
        with pytest.raises(HostKeyRefused, match=said):
            connect(changed).run(command("true"))
    assert connect(settings(budget=budget())).run(command("true")).exit_status == 0


@pytest.mark.cluster
def test_two_sessions_a_connection(slurm_cluster, settings, command, budget):
    """With MaxSessions 2, eight commands at once run over one login, in both adapters."""
    with slurm_cluster.sshd(SshdOptions(max_sessions=2), name="narrow") as sshd:
        changed = settings(host=sshd.host, port=sshd.port, host_key=sshd.host_key, budget=budget())
        asynchronous = AsyncSSHTransport(changed)

        async def eight():
            try:
                return await asyncio.gather(*(asynchronous.run(command(f"sleep 0.2; echo {n}")) for n in range(8)))
            finally:
                await asynchronous.close()

        assert [int(answer.stdout) for answer in asyncio.run(asyncio.wait_for(eight(), 60))] == list(range(8))
        assert sshd.logins() == 1
        synchronous = ParamikoTransport(changed)
        with concurrent.futures.ThreadPoolExecutor(4) as threads:
            answers = threads.map(lambda n: synchronous.run(command(f"sleep 0.2; echo {n}")), range(4))
            assert [int(answer.stdout) for answer in answers] == list(range(4))
        synchronous.close()
        assert sshd.logins() == 2


@pytest.mark.cluster
def test_a_jump_host_counts_logins_too(slurm_cluster, settings, connect, command, budget):
    """Each host on the way has a budget of its own."""
    with slurm_cluster.sshd(name="jump") as jump:
        hop = JumpHost(host=jump.host, port=jump.port, host_key=jump.host_key)
        changed = settings(jump=(hop,), budget=budget())
        assert connect(changed).run(command("true")).exit_status == 0
        for host, port in ((jump.host, jump.port), (changed.host, changed.port)):
            assert len(HostLedger(changed.budget, host, port).read().logins) == 1


def test_who_waits_learns_that_nobody_answers(command, budget):
    """One of five finds it out for all of them; each waits for one timeout, not for five."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = dataclasses.replace(
            NOWHERE,
            host="127.0.0.1",
            port=silent.getsockname()[1],
            connect_timeout_seconds=1.5,
            host_key="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJqqzCHTHvhDZ3hRTBQZ0pUYqJQ4kQvXoF8rq1vlYwXZ",
            budget=budget(),
        )

        async def five():
            runs = (AsyncSSHTransport(settings).run(command("true")) for _ in range(5))
            return await asyncio.wait_for(asyncio.gather(*runs, return_exceptions=True), 60)

        errors = asyncio.run(five())
    assert [type(error) for error in errors] == [HostUnreachable] * 5
    assert len(HostLedger(settings.budget, settings.host, settings.port).read().logins) == 1
