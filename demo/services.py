"""The private cluster and the private Airflow of the demonstration: started, or taken up where they run already."""

from __future__ import annotations

import contextlib
import ipaddress
import json
from collections.abc import Callable
from pathlib import Path

from demo.place import AIRFLOW, DAGS, DATA, JOBS_PYTHON, REPOSITORY, STATE, DemoError, cluster_directory
from headnode.testing import SlurmCluster, lifecycle
from headnode.testing.airflow import AirflowStartError, PrivateAirflow
from headnode.testing.airflow_settings import LOOPBACK, STATE_FILE, port_is_free
from headnode.testing.errors import NotRunning
from headnode.testing.programs import find_programs

Say = Callable[[str], None]
FIRST_PORT = 8080
LAST_PORT = 8180


def start_cluster(say: Say) -> SlurmCluster:
    """Start the cluster, or take up the one that runs."""
    directory = cluster_directory()
    with contextlib.suppress(NotRunning):
        cluster = SlurmCluster.attach(directory)
        if not cluster.dead_daemons():
            say(f"using the Slurm cluster that runs in {directory}")
            return cluster
    say(f"starting a private Slurm cluster in {directory}")
    return SlurmCluster.start(directory)


def start_airflow(cluster: SlurmCluster, host: str, say: Say) -> PrivateAirflow:
    """Start Airflow with a connection to the cluster, or take up the one that runs."""
    env = {
        "HEADNODE_JOBS_PYTHON": str(JOBS_PYTHON),
        "HEADNODE_LANDCOVER_DATA": str(DATA),
        # One map is what a demonstration shows, not one for each year since the first images.
        "HEADNODE_LANDCOVER_SCHEDULE": "none",
        # The cluster's nodes are all this machine, and their names are Slurm's own.
        "HEADNODE_LANDCOVER_ENV": json.dumps({"MASTER_ADDR": "127.0.0.1"}),
        "AIRFLOW__API__INSTANCE_NAME": "headnode demo",
    }
    connections = {"slurm_default": _connection(cluster)}
    running = _running_airflow(say)
    if running:
        settings = running.settings
        if (settings.host, settings.connections, settings.env) == (host, connections, env):
            say(f"using the Airflow that runs at {running.url}")
            return running
        say("restarting Airflow: its address or its connection has changed")
        running.stop()
    airflow = PrivateAirflow.start(
        AIRFLOW,
        dags_folder=DAGS,
        connections=connections,
        env=env,
        host=host,
        port=_choose_port(host, say),
        on_progress=lambda step: say(f"Airflow: {step}"),
    )
    airflow.detach()
    return airflow


def _connection(cluster: SlurmCluster) -> str:
    """Give the connection as Airflow reads it from JSON; short jobs on an own cluster may be asked for often."""
    connection = json.loads(cluster.airflow_connection_json("slurm"))
    connection["extra"] |= {"poll_seconds": 2, "poll_max_seconds": 5, "work_directory": str(STATE / "jobs")}
    return json.dumps(connection)


def stop_everything(say: Say) -> None:
    """End every process of both; what they stored stays."""
    with contextlib.suppress(AirflowStartError):
        airflow = PrivateAirflow.attach(AIRFLOW)
        if airflow.is_running:
            say("stopping Airflow")
        airflow.stop()
    directory = cluster_directory()
    settings = lifecycle.read_settings(directory)
    if settings is not None:
        with lifecycle.locked(directory):
            if lifecycle.process_table(directory, settings).marked():
                say("stopping the Slurm cluster")
            lifecycle.bring_down(settings, cancel_with=find_programs())


def listening_host(wanted: str | None, say: Say) -> str:
    """Give the address that the UI listens on; some shells export their machine's name as HOST."""
    if not wanted or wanted == "localhost":
        return LOOPBACK
    try:
        address = ipaddress.ip_address(wanted)
    except ValueError:
        say(f"HOST={wanted} is no address of the form 0.0.0.0, so the UI listens on {LOOPBACK}")
        return LOOPBACK
    if not address.is_loopback:
        say(f"the UI will listen on {address}: its password is all that protects it there, and there is no TLS")
    return str(address)


def _running_airflow(say: Say) -> PrivateAirflow | None:
    """Attach to the running Airflow, if there is one and it runs the code of today."""
    if not (AIRFLOW / STATE_FILE).exists():
        return None
    airflow = PrivateAirflow.attach(AIRFLOW)
    if not airflow.is_running:
        airflow.stop()
        return None
    started = min(component.created for component in airflow.components)
    if _newest_source() > started:
        say("restarting Airflow: headnode's code has changed since it was started")
        airflow.stop()
        return None
    return airflow


def _newest_source() -> float:
    sources = [path for root in ("operators", "plugins") for path in (REPOSITORY / root).rglob("*.py")]
    return max(path.stat().st_mtime for path in sources)


def _choose_port(host: str, say: Say) -> int:
    """Take the port of the last time, else the first free one from 8080 on."""
    ports: dict[int, None] = dict.fromkeys([*_last_port(AIRFLOW / STATE_FILE), *range(FIRST_PORT, LAST_PORT)])
    for port in ports:
        if port_is_free(port, host):
            return port
        say(f"port {port} is in use, trying another")
    raise DemoError(f"no port from {FIRST_PORT} to {LAST_PORT - 1} is free on {host}; stop what uses them")


def _last_port(state_file: Path) -> list[int]:
    with contextlib.suppress(FileNotFoundError):
        port: int = json.loads(state_file.read_text())["settings"]["port"]
        return [port]
    return []
