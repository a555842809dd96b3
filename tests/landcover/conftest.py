"""A private cluster, an Airflow that makes a map with it, and a STAC catalogue over HTTP that can be killed."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import yaml

from headnode.testing import SlurmCluster
from headnode.testing.airflow import PrivateAirflow
from headnode.testing.watchdog import watched

ROOT = Path(__file__).parents[2]
JOBS_PYTHON = ROOT / ".venv-jobs" / "bin" / "python"
SERVER = ROOT / "tests" / "jobs" / "scenes" / "stac_server.py"
BYTES_A_SECOND = 40_000  # slow enough to be killed in the middle
WAIT_SECONDS = 300


@dataclass
class Catalogue:
    """The HTTP server of the catalogue, a process of its own."""

    folder: Path
    port: int
    process: subprocess.Popen | None = None

    @property
    def url(self):
        """The address of the folder."""
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        """Serve, until killed."""
        command = [sys.executable, str(SERVER), str(self.folder), str(self.port), str(BYTES_A_SECOND)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/catalog.json", timeout=5):  # noqa: S310 - the server above
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"nothing answers at {self.url}")
            time.sleep(0.1)

    def kill(self):
        """End the server as a power cut would."""
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="session")
def cluster():
    """Give the private cluster of this folder's tests."""
    if not JOBS_PYTHON.exists():
        pytest.skip(f"there is no {JOBS_PYTHON}: run `make environments`")
    directory = Path(tempfile.mkdtemp(prefix="hn-map-", dir="/tmp"))
    with watched(directory):
        running = SlurmCluster.start(directory, nodes=2, cpus_per_node=8, gpus_per_gpu_node=0)
        try:
            yield running
        finally:
            running.stop()


@pytest.fixture(scope="session")
def catalogue(tmp_path_factory):
    """Give a catalogue that is served, and beside it the map's configuration."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("input")
    served = Catalogue(folder / "stac", port)
    program = [str(JOBS_PYTHON), str(Path(__file__).with_name("build_input.py")), str(folder), served.url]
    content = subprocess.run(program, check=True, capture_output=True, text=True, timeout=120).stdout
    (folder / "maps").mkdir()
    (folder / "maps" / "interrupted.yaml").write_text(yaml.safe_dump(json.loads(content)))
    served.start()
    yield served
    served.kill()


@pytest.fixture(scope="session")
def airflow(cluster, catalogue, tmp_path_factory):
    """Give an Airflow with the shipped DAGs and this map alone."""
    fields = json.loads(cluster.airflow_connection_json())
    work = str(tmp_path_factory.mktemp("work"))
    fields["extra"] |= {"work_directory": work, "poll_seconds": 1, "poll_max_seconds": 2}
    running = PrivateAirflow.start(
        tmp_path_factory.mktemp("airflow"),
        dags_folder=ROOT / "dags",
        connections={"slurm_default": json.dumps(fields)},
        env={
            "HEADNODE_JOBS_PYTHON": str(JOBS_PYTHON),
            "HEADNODE_LANDCOVER_MAPS": str(catalogue.folder.parent / "maps"),
            "HEADNODE_LANDCOVER_SCHEDULE": "none",
            # The nodes are all this machine, and their names are Slurm's own.
            "HEADNODE_LANDCOVER_ENV": json.dumps({"MASTER_ADDR": "127.0.0.1"}),
            # A triggerer that died is missed within seconds.
            "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
            "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
        },
    )
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture
def kill_step():
    """Return a function that waits for a process of a step in a data folder, lets it work, and kills it."""

    def kill(step, data, *, after_seconds=0.0):
        module, deadline = f"landcover_jobs.steps.{step}", time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            for process in psutil.process_iter(["cmdline"]):
                words = process.info["cmdline"] or []
                if module in words and str(data) in words and "torch.distributed.run" not in words:
                    time.sleep(after_seconds)
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process.pid, signal.SIGKILL)
                        return
            time.sleep(0.02)
        raise TimeoutError(f"no process of {step} in {WAIT_SECONDS} s")

    return kill
