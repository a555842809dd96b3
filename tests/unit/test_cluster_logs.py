"""Logs are read by byte offset and results as JSON: the remote half runs in a real bash, on files of the test."""

import json
import subprocess

import pytest

from headnode.cluster.logs import (
    MAX_LOG_BYTES_PER_READ,
    MAX_RESULT_BYTES,
    FollowedLogs,
    LogPiece,
    LogPosition,
    LogsSeen,
    read_logs,
    read_pieces,
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


def out(seen):
    """Return the piece of the standard output."""
    return seen.pieces[0]


def test_logs_grow(directory):
    """Each read goes on where the last one stopped; any bytes come through, each log by itself."""
    log, errors = directory / "output.log", directory / "error.log"
    log.write_bytes(b"one\n\xff\x00")
    assert run(read_logs([FollowedLogs(directory=str(directory), offsets=(0, 0))])) == [
        LogsSeen(
            pieces=(
                LogPiece(start=0, size=6, data=b"one\n\xff\x00"),
                LogPiece(start=0, size=0, data=b"", stream="stderr"),
            ),
            script_over=False,
            no_result=False,
        )
    ]
    log.write_bytes(b"one\n\xff\x00two\n")
    errors.write_bytes(b"warning\n")
    [seen] = run(read_logs([FollowedLogs(directory=str(directory), offsets=(6, 0))]))
    assert [(piece.data, piece.end) for piece in seen.pieces] == [(b"two\n", 10), (b"warning\n", 8)]
    (directory / "end").write_text("0 1 2 3 0\n")
    [seen] = run(read_logs([FollowedLogs(directory=str(directory), offsets=(10, 8))]))
    assert [(piece.data, piece.end) for piece in seen.pieces] == [(b"", 10), (b"", 8)]
    assert (seen.script_over, seen.no_result) == (True, True)
    (directory / "result.json").write_text("")
    [seen] = run(read_logs([FollowedLogs(directory=str(directory), offsets=(10, 8))]))
    assert (seen.script_over, seen.no_result) == (True, False)


def test_another_reader_goes_on(directory):
    """The host remembers what was asked for last, which has surely arrived; nothing is skipped."""
    (directory / "output.log").write_bytes(b"0123456789")
    run(read_logs([FollowedLogs(directory=str(directory), offsets=(4, 0))]))
    run(read_logs([FollowedLogs(directory=str(directory), offsets=(4, 0), remember=False)]))
    [seen] = run(read_logs([FollowedLogs(directory=str(directory))]))
    assert (out(seen).start, out(seen).data) == (4, b"456789")


@pytest.mark.parametrize("remembered", ["", "nonsense", "-1 -1", "$(touch pwned) 0", "1x 2"])
def test_a_memory_that_was_damaged(directory, remembered):
    """The log is read from its beginning."""
    (directory / "output.log").write_bytes(b"all")
    (directory / "log_offset").write_text(remembered)
    [seen] = run(read_logs([FollowedLogs(directory=str(directory))]))
    assert (out(seen).start, out(seen).data) == (0, b"all")


def test_a_long_log_comes_in_pieces(directory):
    """Each is bounded; so is any other file that is read."""
    text = b"".join(b"%07d\n" % number for number in range(40_000))
    (directory / "output.log").write_bytes(text)
    read = b""
    while len(read) < len(text):
        [seen] = run(read_logs([FollowedLogs(directory=str(directory), offsets=(len(read), 0))]))
        assert 0 < len(out(seen).data) <= MAX_LOG_BYTES_PER_READ
        assert out(seen).size == len(text)
        position = LogPosition(path=f"{directory}/output.log", offset=len(read))
        assert run(read_pieces([position])) == [out(seen)]
        read += out(seen).data
    assert read == text


def test_many_logs_in_one_round_trip(tmp_path):
    """In the order of the question; a log that is not there yet is empty."""
    jobs = []
    for number in range(5):
        (tmp_path / str(number)).mkdir()
        if number != 2:
            (tmp_path / str(number) / "output.log").write_text(f"log {number}")
        jobs.append(FollowedLogs(directory=str(tmp_path / str(number)), offsets=(0, 0)))
    jobs.append(FollowedLogs(directory="/nowhere", offsets=(0, 0), remember=False))
    pieces = [out(seen) for seen in run(read_logs(jobs))]
    assert [piece.data for piece in pieces] == [b"log 0", b"log 1", b"", b"log 3", b"log 4", b""]
    assert [piece.size for piece in pieces] == [5, 5, 0, 5, 5, 0]


@pytest.mark.parametrize(
    "stdout",
    [
        "",
        "-\n0 5 bG9n\n0 0 ",
        "perhaps\n0 5 bG9n\n0 0 \n-\n0 5 bG9n\n0 0 ",
        "-\n0 5 bG9n\n0 0 \n-\n0 5",
        "-\n0 5 bG9n\n" * 3,
        "-\nx y z\n0 0 \n-\n0 0 \n0 0 ",
    ],
)
def test_an_answer_of_another_form_is_unreadable(stdout):
    """A piece must never be taken for that of another job."""
    said = Answer(stdout=f"headnode:begin\n{stdout}\nheadnode:end:0\n".encode(), stderr=b"", exit_status=0)
    two = [FollowedLogs(directory="/a", offsets=(0, 0)), FollowedLogs(directory="/b", offsets=(0, 0))]
    with pytest.raises(UnreadableAnswer):
        drive_sync(read_logs(two), ScriptedTransport([said]).answer)
    with pytest.raises(UnreadableAnswer):
        drive_sync(read_pieces([LogPosition(path="/a", offset=0)]), ScriptedTransport([said]).answer)


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
