"""The first process of Airflow's container: waits for the database and the cluster, then keeps an Airflow running."""

# ruff: noqa: INP001, T201 - a script of an image, no package; its output is the container's log
from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import NoReturn

from headnode.errors import HeadnodeError
from headnode.testing.airflow import PrivateAirflow

DIRECTORY = Path("/airflow")
KEYS = Path("/keys")
DATABASE_SOCKET = Path("/run/database/.s.PGSQL.5432")
CLUSTER = ("cluster", 2222)
NEIGHBOUR_SECONDS = 120
ENV = {
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql+psycopg2://airflow@/airflow?host=/run/database",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": "postgresql+asyncpg://airflow@/airflow?host=/run/database",
    "AIRFLOW__API__INSTANCE_NAME": "headnode",
    "HEADNODE_JOBS_PYTHON": "/opt/jobs/bin/python",
    "HEADNODE_LANDCOVER_DATA": "/data/landcover",
    "HEADNODE_LANDCOVER_SCHEDULE": "none",
    # The cluster's nodes are all one container, and their names are Slurm's own.
    "HEADNODE_LANDCOVER_ENV": '{"MASTER_ADDR": "127.0.0.1"}',
}


class NeighbourMissing(HeadnodeError):
    """The database or the cluster did not come up."""


def main() -> int:
    """Start Airflow and stay until it is told to end or a part of it ends by itself."""
    signal.signal(signal.SIGTERM, _end)
    try:
        _wait_for("database", _database_answers)
        _wait_for("cluster", _cluster_answers)
        airflow = PrivateAirflow.start(
            DIRECTORY,
            dags_folder=Path("dags"),
            connections={"slurm_default": _connection()},
            env=ENV,
            # The container's own network; compose.yaml says which address of the machine leads here.
            host="0.0.0.0",  # nosec B104  # noqa: S104
            port=int(os.environ.get("HEADNODE_PORT", "8080")),
            on_progress=print,
        )
    except HeadnodeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"Airflow is ready at {airflow.url}")
    while airflow.is_running:
        time.sleep(1)
    print(
        f"error: a part of Airflow ended; its output is in {', '.join(map(str, airflow.logs.values()))}",
        file=sys.stderr,
    )
    return 1


def _wait_for(service: str, answers: Callable[[], bool]) -> None:
    deadline = time.monotonic() + NEIGHBOUR_SECONDS
    print(f"waiting for the {service}")
    while not answers():
        if time.monotonic() > deadline:
            raise NeighbourMissing(
                f"the service {service} does not answer after {NEIGHBOUR_SECONDS} s; see the logs of its container"
            )
        time.sleep(0.2)


def _database_answers() -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(DATABASE_SOCKET)) == 0


def _cluster_answers() -> bool:
    try:
        with socket.create_connection(CLUSTER, timeout=5):
            return True
    except OSError:
        return False


def _connection() -> str:
    kind, key = (KEYS / "host_key.pub").read_text().split()[:2]
    host, port = CLUSTER
    extra = {
        "key_file": str(KEYS / "user_key"),
        "host_key": f"{kind} {key}",
        "work_directory": "/data/jobs",
        # Short jobs on an own cluster may be asked for often.
        "poll_seconds": 2,
        "poll_max_seconds": 5,
        "logins_per_minute": 600,
    }
    return json.dumps({"conn_type": "slurm", "host": host, "port": port, "login": "slurm-user", "extra": extra})


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
