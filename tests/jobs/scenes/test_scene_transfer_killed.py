"""Transfers whose process, or whose server, is killed in the middle."""

import hashlib
import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from landcover_jobs.scenes.bands import stated
from landcover_jobs.scenes.checksum import multihash_of
from landcover_jobs.scenes.fetched import Wanted, missing
from stac_api import free_port

SIZE = 3_000_000
HERE = Path(__file__).parent
JOBS = HERE.parents[2] / "dags" / "landcover" / "jobs"


@pytest.fixture
def content():
    """Return bytes that do not repeat."""
    return hashlib.shake_256(b"scene").digest(SIZE)


KILLED = """
import json, sys
from pathlib import Path
from landcover_jobs.configuration.images import Transfer
from landcover_jobs.scenes.fetched import Wanted
from landcover_jobs.scenes.fetching import fetch_all
wanted = [Wanted(**{**each, "folder": Path(each["folder"])}) for each in json.loads(sys.argv[1])]
print(fetch_all(wanted, Transfer(attempts=50, wait_seconds=0.2, timeout_seconds=5, at_once=2)))
"""


def fetching(wanted: list[Wanted]) -> subprocess.Popen[str]:
    """Fetch in a process that can be killed."""
    listed = [
        {"scene": each.scene, "band": each.band, "address": each.address, "content": each.content,
         "folder": str(each.folder)} for each in wanted
    ]  # fmt: skip
    # A shell's background job ignores Ctrl-C, and so would what the tests start in it.
    command = ["env", "--default-signal=INT", sys.executable, "-c", KILLED, json.dumps(listed)]
    return subprocess.Popen(command, cwd=JOBS, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def serving_process(folder: Path, port: int, rate: int) -> subprocess.Popen[bytes]:
    """Serve in a process that can be killed."""
    server = subprocess.Popen([sys.executable, str(HERE / "stac_server.py"), str(folder), str(port), str(rate)])
    until(lambda: _answers(port))
    return server


def until(true, seconds=20.0) -> None:
    """Wait until it is so."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it has not come"
        time.sleep(0.02)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def slow(tmp_path, content):
    """Return two files, a function that serves them slowly as a process of its own, and what is wanted of them."""
    folder, port = tmp_path / "served", free_port()
    folder.mkdir()
    for name in ("B3", "B4"):
        (folder / f"{name}.tif").write_bytes(name.encode() + content)
    wanted = []
    for name in ("B3", "B4"):
        said = stated(checksum=multihash_of(folder / f"{name}.tif"))
        address = f"http://127.0.0.1:{port}/{name}.tif"
        wanted.append(Wanted("S2_A", name, address, said, tmp_path / "scenes" / "S2_A"))
    servers = []

    def start(rate: int) -> subprocess.Popen[bytes]:
        servers.append(serving_process(folder, port, rate))
        return servers[-1]

    yield wanted, start
    for server in servers:
        server.kill()
        server.wait()


def parts(wanted: list[Wanted]) -> list[int]:
    """Return how much of each file has come."""
    return [part.stat().st_size for each in wanted for part in each.folder.glob(f"{each.band}.tif.part")]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_fetch_goes_on_where_it_was(slow, content, how):
    """SIGKILL and Ctrl-C leave the parts; the next run asks for what lacks, and the files are the same as ever."""
    wanted, start = slow
    start(1_000_000)
    first = fetching(wanted)
    until(lambda: len(parts(wanted)) == 2 and min(parts(wanted)) > 100_000)
    first.send_signal(how)
    first.communicate(timeout=10)
    assert first.returncode != 0
    kept = sum(parts(wanted))
    assert 200_000 < kept < 2 * SIZE
    again = fetching(wanted)
    said, _ = again.communicate(timeout=30)
    assert again.returncode == 0, said
    assert f"bytes={2 * (SIZE + 2) - kept}" in said
    for each in wanted:
        assert each.target.read_bytes() == each.band.encode() + content
    assert missing(wanted) == []


def test_a_server_that_is_killed_and_comes_back_is_waited_for(slow, content):
    """The same fetch goes on with the new server."""
    wanted, start = slow
    server = start(1_000_000)
    running = fetching(wanted)
    until(lambda: len(parts(wanted)) == 2 and min(parts(wanted)) > 100_000)
    server.kill()
    server.wait()
    time.sleep(0.3)
    start(100_000_000)
    said, _ = running.communicate(timeout=30)
    assert running.returncode == 0, said
    assert "attempt 2 of 50" in said
    for each in wanted:
        assert each.target.read_bytes() == each.band.encode() + content
