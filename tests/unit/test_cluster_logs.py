"""Logs are read by byte offset and results as JSON: the remote half runs in a real bash, on files of the test."""

import json
import subprocess

import pytest

from headnode.cluster.logs import (
    MAX_LOG_BYTES_PER_READ,
    MAX_RESULT_BYTES,
    LogPiece,
    LogPosition,
    read_logs,
    read_result,
)
from headnode.cluster.procedures import drive_sync
from headnode.errors import CommandRefused, JobFailed, UnreadableAnswer
from headnode.ssh.port import Answer
from headnode.ssh.scripted import ScriptedTransport


def run(procedure):
    """Run the procedure on this machine."""

    def in_bash(command):
        done = subprocess.run(
            ["bash", "-c", command.text], input=command.stdin, capture_output=True, check=False, timeout=30
        )
        return Answer(stdout=done.stdout, stderr=done.stderr, exit_status=done.returncode)

    return drive_sync(procedure, in_bash)


@pytest.fixture
def directory(tmp_path):
    """Return a job's directory with a name that a shell would take apart."""
    path = tmp_path / "it's a $HOME; dir"
    path.mkdir()
    return path


def test_a_log_grows(directory):
    """Each read goes on where the last one stopped; any bytes come through."""
    log = directory / "output.log"
    log.write_bytes(b"one\n\xff\x00")
    assert run(read_logs([LogPosition(directory=str(directory), offset=0)])) == [
        LogPiece(start=0, size=6, data=b"one\n\xff\x00")
    ]
    log.write_bytes(b"one\n\xff\x00two\n")
    [piece] = run(read_logs([LogPosition(directory=str(directory), offset=6)]))
    assert (piece.data, piece.end) == (b"two\n", 10)
    [piece] = run(read_logs([LogPosition(directory=str(directory), offset=10)]))
    assert (piece.data, piece.end) == (b"", 10)


def test_another_reader_goes_on(directory):
    """The host remembers what was asked for last, which has surely arrived; nothing is skipped."""
    (directory / "output.log").write_bytes(b"0123456789")
    run(read_logs([LogPosition(directory=str(directory), offset=4)]))
    [piece] = run(read_logs([LogPosition(directory=str(directory))]))
    assert (piece.start, piece.data) == (4, b"456789")


@pytest.mark.parametrize("remembered", ["", "nonsense", "-1", "$(touch pwned)"])
def test_a_memory_that_was_damaged(directory, remembered):
    """The log is read from its beginning."""
    (directory / "output.log").write_bytes(b"all")
    (directory / "log_offset").write_text(remembered)
    [piece] = run(read_logs([LogPosition(directory=str(directory))]))
    assert (piece.start, piece.data) == (0, b"all")


def test_a_long_log_comes_in_pieces(directory):
    """Each is bounded."""
    text = b"".join(b"%07d\n" % number for number in range(40_000))
    (directory / "output.log").write_bytes(text)
    read = b""
    while len(read) < len(text):
        [piece] = run(read_logs([LogPosition(directory=str(directory), offset=len(read))]))
        assert 0 < len(piece.data) <= MAX_LOG_BYTES_PER_READ
        assert piece.size == len(text)
        read += piece.data
    assert read == text


def test_many_logs_in_one_round_trip(tmp_path):
    """In the order of the question; a log that is not there yet is empty."""
    positions = []
    for number in range(5):
        (tmp_path / str(number)).mkdir()
        if number != 2:
            (tmp_path / str(number) / "output.log").write_text(f"log {number}")
        positions.append(LogPosition(directory=str(tmp_path / str(number)), offset=0))
    positions.append(LogPosition(directory="/nowhere", offset=0))
    pieces = run(read_logs(positions))
    assert [piece.data for piece in pieces] == [b"log 0", b"log 1", b"", b"log 3", b"log 4", b""]
    assert [piece.size for piece in pieces] == [5, 5, 0, 5, 5, 0]


@pytest.mark.parametrize("stdout", ["", "0 5 bG9n", "0 5 bG9n\n0 5", "0 5 bG9n\n0 5 bG9n\n0 5 bG9n", "x y z\n0 5 b"])
def test_an_answer_of_another_form_is_unreadable(stdout):
    """A piece must never be taken for that of another job."""
    said = Answer(stdout=f"headnode:begin\n{stdout}\nheadnode:end:0\n".encode(), stderr=b"", exit_status=0)
    two = [LogPosition(directory="/a", offset=0), LogPosition(directory="/b", offset=0)]
    with pytest.raises(UnreadableAnswer):
        drive_sync(read_logs(two), ScriptedTransport([said]).answer)


@pytest.mark.parametrize("value", [None, 7, "text", [1, 2], {"a": {"b": "ü"}}, ""])
def test_a_result(directory, value):
    """Any JSON."""
    (directory / "result.json").write_text(json.dumps(value))
    assert run(read_result(str(directory), is_array=False)) == value


def test_no_result(directory):
    """A job need not write one."""
    assert run(read_result(str(directory), is_array=False)) is None
    assert run(read_result(str(directory), is_array=True)) is None


def test_results_of_an_array(directory):
    """By the number of the element, not by its digits; the list holds those that wrote one."""
    for element in (2, 10, 1):
        (directory / f"result.{element}.json").write_text(str(element * 100))
    (directory / "result.best.json").write_text("a file of the job's own")
    assert run(read_result(str(directory), is_array=True)) == [100, 200, 1000]


@pytest.mark.parametrize("text", ["", "{", "NaN nothing", b"\xff".decode("latin-1") + "}"])
def test_a_result_that_is_no_json(directory, text):
    """The message names the file."""
    (directory / "result.json").write_text(text)
    with pytest.raises(JobFailed, match=r"result\.json is no JSON"):
        run(read_result(str(directory), is_array=False))


def test_a_result_that_is_too_large(directory):
    """The message says how large, how large it may be, and what to do; for elements together as well."""
    (directory / "result.json").write_text(f'"{"x" * MAX_RESULT_BYTES}"')
    with pytest.raises(JobFailed, match=f"{MAX_RESULT_BYTES + 2} bytes long.*put its path into"):
        run(read_result(str(directory), is_array=False))
    for element in range(3):
        (directory / f"result.{element}.json").write_text(f'"{"x" * (MAX_RESULT_BYTES // 2)}"')
    with pytest.raises(JobFailed, match="put its path into"):
        run(read_result(str(directory), is_array=True))


def test_a_result_at_the_limit(directory):
    """The whole of it comes."""
    text = "x" * (MAX_RESULT_BYTES - 2)
    (directory / "result.json").write_text(f'"{text}"')
    assert run(read_result(str(directory), is_array=False)) == text


def test_a_directory_that_is_gone(tmp_path):
    """As when somebody cleaned up."""
    with pytest.raises(CommandRefused, match=f"result in {tmp_path}/gone can't be read"):
        run(read_result(f"{tmp_path}/gone", is_array=False))
