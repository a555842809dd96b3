"""Commands are framed so that a cut or foreign answer is never read; both drivers run the same procedures."""

import asyncio
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headnode.cluster.procedures import Output, Pause, ask, drive, drive_sync, shell
from headnode.errors import CommandRefused, ConnectionLost, UnreadableAnswer
from headnode.ssh.port import Answer, Command
from headnode.ssh.scripted import ScriptedTransport

COMMAND = shell("echo hello", purpose="greeting")


def answer(stdout: bytes, stderr: bytes = b"", exit_status: int = 0) -> Answer:
    """Return what a host says."""
    return Answer(stdout=stdout, stderr=stderr, exit_status=exit_status)


def read(said: Answer) -> Output:
    """Read one answer to a framed command."""
    return drive_sync(ask(COMMAND), ScriptedTransport([said]).answer)


def in_bash(command: Command) -> Answer:
    """Run a framed command as a host does."""
    done = subprocess.run(
        ["bash", "-c", command.text], input=command.stdin, capture_output=True, check=False, timeout=9
    )
    return answer(done.stdout, done.stderr, done.returncode)


@pytest.mark.parametrize(
    ("body", "stdout", "status"),
    [
        ("echo hello", "hello\n", 0),
        ("printf hello", "hello", 0),
        ("true", "", 0),
        ("printf '\\n\\n'", "\n\n", 0),
        ("echo before; return 7; echo after", "before\n", 7),
        ("false", "", 1),
        ("cat; echo end", "end\n", 0),
        ("no-such-command-here", "", 127),
    ],
)
def test_a_body_in_bash(body: str, stdout: str, status: int):
    """Output is as it was printed, the status is the body's; the body does not read its own script."""
    output = drive_sync(ask(shell(body, purpose="a test")), in_bash)
    assert (output.stdout, output.status) == (stdout, status)


def test_nothing_of_a_body_shows_in_the_list_of_processes():
    """It travels on standard input."""
    assert COMMAND.text == "/bin/bash -s"
    assert b"echo hello" in COMMAND.stdin


@pytest.mark.parametrize(
    "banner",
    [
        b"",
        b"Welcome!\n\n",
        b"TERM: Undefined variable.\n",
        b"\xff\xfe not UTF-8 \x1b[31m\n",
        b"headnode:end:0\n",
        b"no newline at its end\nheadnode:\n",
    ],
)
def test_what_comes_before_is_no_answer(banner: bytes):
    """Start-up files print what they like."""
    output = read(answer(banner + b"headnode:begin\nhello\n\nheadnode:end:3\n", b"Warning: stty\n"))
    assert (output.stdout, output.stderr, output.status) == ("hello\n", "Warning: stty\n", 3)


def test_what_comes_after_is_no_answer():
    """Logout files print, too."""
    assert read(answer(b"headnode:begin\nhello\n\nheadnode:end:0\nGood bye\n")).stdout == "hello\n"


WHOLE = b"Welcome\nheadnode:begin\n101|COMPLETED\n\nheadnode:end:0\n"


@pytest.mark.parametrize("length", range(len(WHOLE) - 2))
def test_a_cut_answer_is_unreadable(length: int):
    """Wherever it was cut."""
    with pytest.raises(UnreadableAnswer, match="greeting: the answer was cut or is no answer"):
        read(answer(WHOLE[:length]))


@given(st.binary())
def test_any_bytes_are_read_or_unreadable(stdout: bytes):
    """Nothing but UnreadableAnswer comes out."""
    with pytest.raises(UnreadableAnswer):
        read(answer(stdout))


@pytest.mark.parametrize("status", [126, 127])
def test_a_host_without_bash(status: int):
    """Trying again does not help, and the message holds what the host said."""
    with pytest.raises(CommandRefused, match=r"no usable /bin/bash \(csh: /bin/bash: Command not found"):
        read(answer(b"", b"csh: /bin/bash: Command not found.\n", status))


def procedure(steps):
    """Yield steps, keep what comes back, and survive one loss of the connection."""
    seen = []
    for step in steps:
        try:
            seen.append((yield step))
        except ConnectionLost as error:
            seen.append(str(error))
    return seen


def test_both_drivers_do_the_same():
    """Answers are sent in, errors are raised at the yield, pauses are slept and yield nothing."""
    steps = [COMMAND, Pause(0.0, "waiting"), COMMAND, COMMAND]
    script = [answer(b"1"), ConnectionLost("gone"), answer(b"2")]
    pauses, naps = [], []
    transport = ScriptedTransport(script)
    asynchronous = asyncio.run(drive(procedure(steps), transport, on_pause=pauses.append))
    synchronous = drive_sync(procedure(steps), ScriptedTransport(script).answer, sleep=naps.append)
    assert asynchronous == synchronous == [answer(b"1"), None, "gone", answer(b"2")]
    assert [pause.reason for pause in pauses] == ["waiting"]
    assert naps == [0.0]
    assert transport.commands == [COMMAND] * 3


def test_an_error_that_the_procedure_does_not_handle_comes_out():
    """From both drivers."""
    script = [ConnectionLost("gone")]
    with pytest.raises(ConnectionLost, match="gone"):
        drive_sync(ask(COMMAND), ScriptedTransport(script).answer)
    with pytest.raises(ConnectionLost, match="gone"):
        asyncio.run(drive(ask(COMMAND), ScriptedTransport(script)))
