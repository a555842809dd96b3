"""What the asyncssh adapter alone promises: one login for all, and no hammering of a host that refuses."""

import asyncio
import dataclasses
import time

import asyncssh
import pytest

from headnode.errors import AuthenticationRefused, HostKeyRefused
from headnode.hooks.paramiko_transport import ParamikoTransport
from headnode.ssh.asyncssh_transport import AsyncSSHTransport
from headnode.ssh.budget import Budget

pytestmark = pytest.mark.cluster


async def closing(transport, work):
    """Wait for the work and close the connection."""
    try:
        return await asyncio.wait_for(work, 60)
    finally:
        await transport.close()


def attempts(cluster):
    """Count the connections that sshd has seen."""
    return (cluster.directory / "log" / "sshd.log").read_text(errors="replace").count("Connection from ")


def test_commands_at_once_share_a_login(settings, command, slurm_cluster):
    """Sixteen commands run side by side, as many as sessions are allowed, over one login."""
    transport = AsyncSSHTransport(settings())
    before, began = slurm_cluster.logins(), time.monotonic()

    async def all_of_them():
        return await asyncio.gather(*(transport.run(command(f"sleep 1; echo {number}")) for number in range(16)))

    answers = asyncio.run(closing(transport, all_of_them()))
    assert [int(answer.stdout) for answer in answers] == list(range(16))
    assert (slurm_cluster.logins() - before, transport.logins) == (1, 1)
    assert time.monotonic() - began < 12, "16 commands of 1 s, 8 at a time"


@pytest.mark.parametrize("reason", ["key", "host key"])
def test_a_refusal_is_not_provoked_again(settings, command, slurm_cluster, tmp_path, reason):
    """Sites ban hosts that go on failing: within the pause no second connection is opened, by nobody."""
    strange = asyncssh.generate_private_key("ssh-ed25519")
    if reason == "key":
        strange.write_private_key(tmp_path / "key")
        changed, error = settings(key_file=str(tmp_path / "key")), AuthenticationRefused
    else:
        changed, error = settings(host_key=strange.export_public_key().decode().strip()), HostKeyRefused
    changed = dataclasses.replace(changed, budget=Budget(directory=str(tmp_path / "budget")))
    transport = AsyncSSHTransport(changed)
    before = attempts(slurm_cluster)

    async def three_times():
        for _ in range(3):
            with pytest.raises(error):
                await transport.run(command("true"))

    asyncio.run(closing(transport, three_times()))
    with pytest.raises(error, match="Refused once since"):
        ParamikoTransport(changed).run(command("true"))
    assert attempts(slurm_cluster) == before + 1


def test_a_repaired_connection_is_tried_at_once(settings, command):
    """The pause belongs to the settings that were refused."""
    wrong = AsyncSSHTransport(settings(key_file="/nowhere/key"))

    async def both():
        with pytest.raises(AuthenticationRefused):
            await wrong.run(command("true"))
        right = AsyncSSHTransport(settings())
        return await closing(right, right.run(command("true")))

    assert asyncio.run(closing(wrong, both())).exit_status == 0


def test_more_sessions_than_the_host_allows(settings, command):
    """Sshd refuses the eleventh: it is waited out, and all commands run over one login."""
    transport = AsyncSSHTransport(dataclasses.replace(settings(), max_sessions=12))

    async def twelve():
        return await asyncio.gather(*(transport.run(command("sleep 1; echo done")) for _ in range(12)))

    answers = asyncio.run(closing(transport, twelve()))
    assert [answer.stdout for answer in answers] == [b"done\n"] * 12
    assert transport.logins == 1


def test_a_closed_connection_opens_again(settings, command):
    """Closing is no end of the adapter's life."""
    transport = AsyncSSHTransport(settings())

    async def twice():
        await transport.run(command("true"))
        await transport.close()
        return await transport.run(command("echo again"))

    assert asyncio.run(closing(transport, twice())).stdout == b"again\n"
    assert transport.logins == 2


def test_a_cancelled_command_harms_no_other(settings, command):
    """A trigger that is cancelled leaves the connection to the others."""
    transport = AsyncSSHTransport(settings())

    async def one_of_two():
        other = asyncio.create_task(transport.run(command("sleep 1; echo other")))
        cancelled = asyncio.create_task(transport.run(command("sleep 30")))
        await asyncio.sleep(0.5)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        return await other

    assert asyncio.run(closing(transport, one_of_two())).stdout == b"other\n"
    assert transport.logins == 1
