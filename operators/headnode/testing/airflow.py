"""A private, real Airflow 3 in one directory: SQLite, LocalExecutor, own ports on loopback, a login of its own.

For tests of DAGs and operators, for demonstrations and measurements; not for production.

    airflow = PrivateAirflow.start(tmp_path / "airflow", dags_folder=Path("dags"))
    run = airflow.trigger_dag("my_dag", conf={"year": 2018})
    assert airflow.wait_for_run("my_dag", run, timeout_seconds=120) == "success"
    airflow.stop()
"""

from __future__ import annotations

import atexit
import json
import os
import signal as signals
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from headnode.testing.airflow_api import AirflowApi, AirflowApiError
from headnode.testing.airflow_database import prepare_database
from headnode.testing.airflow_processes import (
    AirflowStartError,
    Component,
    component_label,
    kill_all,
    last_lines,
    launch,
    living_processes,
    reap,
    terminate,
)
from headnode.testing.airflow_settings import (
    LOOPBACK,
    STATE_FILE,
    Settings,
    environment,
    free_port,
    port_is_free,
    prepare_directory,
    read_passwords,
    write_private,
)

__all__ = ["AirflowApiError", "AirflowStartError", "PrivateAirflow"]

COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")
JOB_TYPES = {"scheduler": "SchedulerJob", "dag-processor": "DagProcessorJob", "triggerer": "TriggererJob"}
START_SECONDS = 120
STOP_SECONDS = 5
READY_POLL_SECONDS = 0.2


class PrivateAirflow(AirflowApi):
    """A running private Airflow, and a client of it logged in as its first user."""

    def __init__(self, settings: Settings, components: Sequence[Component]) -> None:
        self.settings = settings
        self.directory = settings.directory
        self.components = list(components)
        user = next(iter(settings.users))
        super().__init__(settings.url, user, self.password(user))

    @classmethod
    def start(
        cls,
        directory: Path,
        *,
        dags_folder: Path,
        plugins_folder: Path | None = None,
        connections: Mapping[str, str] | None = None,
        variables: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        python: Path | str = sys.executable,
        host: str = LOOPBACK,
        port: int | None = None,
        components: Sequence[str] = COMPONENTS,
        triggerers: int = 1,
        users: Mapping[str, str] | None = None,
        on_progress: Callable[[str], None] = lambda _: None,
    ) -> PrivateAirflow:
        """Start an Airflow, new or with the database that the directory holds, and wait until it is ready.

        ``connections`` maps connection ids to JSON. It ends with this Python process unless ``detach`` is called.
        """
        directory = Path(os.path.abspath(directory))  # noqa: PTH100 - keeps links, as the mark must
        _refuse_running(directory)
        if port is not None and not port_is_free(port, host):
            raise AirflowStartError(f"port {port} on {host} is in use; give another one or none")
        settings = Settings(
            directory=directory,
            dags_folder=dags_folder.resolve(),
            plugins_folder=plugins_folder and plugins_folder.resolve(),
            python=str(python),
            host=host,
            port=port or free_port(host),
            users=dict(users or {"admin": "admin"}),
            connections=dict(connections or {}),
            variables=dict(variables or {}),
            env=dict(env or {}),
            **_stored_secrets(directory),
        )
        prepare_directory(settings)
        airflow = cls(settings, [])
        atexit.register(airflow.stop)
        try:
            on_progress("preparing the database")
            prepare_database(settings, airflow._airflow)
            on_progress(f"starting {', '.join(components)}")
            airflow._start_all(components, triggerers)
        except BaseException:
            airflow.stop()
            raise
        return airflow

    @classmethod
    def attach(cls, directory: Path) -> PrivateAirflow:
        """Take up the private Airflow that was started in the directory, running or not."""
        directory = Path(os.path.abspath(directory))  # noqa: PTH100 - as in start
        try:
            stored = json.loads((directory / STATE_FILE).read_text())
        except FileNotFoundError as error:
            raise AirflowStartError(f"no private Airflow was started in {directory}") from error
        return cls(Settings.from_json(stored["settings"]), [Component(**c) for c in stored["components"]])

    @property
    def is_running(self) -> bool:
        """Whether every component that was started lives."""
        return bool(self.components) and all(c.is_running() for c in self.components)

    @property
    def logs(self) -> dict[str, Path]:
        """The output of each component's processes, by label."""
        return {c.label: Path(c.log) for c in self.components}

    def password(self, user: str) -> str:
        """Give a user's generated password."""
        return read_passwords(self.directory)[user]

    def process_ids(self, component: str) -> list[int]:
        """Give the ids of a component's leading processes that live (two with two triggerers)."""
        return [c.pid for c in self.components if c.name == component and c.is_running()]

    def detach(self) -> None:
        """Let it run on when this Python process ends; ``attach`` takes it up again."""
        atexit.unregister(self.stop)

    def stop(self) -> None:
        """End all its processes, the forked ones and what tasks started too; the directory stays."""
        self.close()
        # The others report their end through the API server; it has nothing to save and waits for open browsers.
        terminate([c for c in self.components if c.name != "api-server"], grace_seconds=STOP_SECONDS)
        kill_all(self.components, self.directory)
        self.components = []
        self._store()
        # Only now: at the end of this Python process another attempt is made where this one was interrupted.
        atexit.unregister(self.stop)

    def kill(self, component: str, signal: int = signals.SIGKILL, index: int = 0) -> None:
        """Send a signal to a component's leading process and, with SIGKILL, end its children as well."""
        victim = next((c for c in self.components if (c.name, c.index) == (component, index)), None)
        if victim is None or not victim.is_running():
            raise AirflowStartError(f"no {component_label(component, index)} is running in {self.directory}")
        os.kill(victim.pid, signal)
        if signal == signals.SIGKILL:
            kill_all([victim], Path(os.devnull))
            self.components.remove(victim)
            self._store()

    def start_component(self, *components: str) -> None:
        """Start one more process of each component, or the one that was killed, and wait until they are ready."""
        self.components = [c for c in self.components if c.is_running()]
        since = datetime.now(UTC)
        for name in components:
            used = {c.index for c in self.components if c.name == name}
            self._launch(name, next(i for i in range(len(used) + 1) if i not in used))
        self._wait_until_ready(components, since)

    @property
    def _airflow(self) -> list[str]:
        # -P: nothing that lies in the directory is importable by accident.
        return [self.settings.python, "-P", "-m", "airflow"]

    def _start_all(self, components: Sequence[str], triggerers: int) -> None:
        since = datetime.now(UTC)
        for name in components:
            for index in range(triggerers if name == "triggerer" else 1):
                self._launch(name, index)
        self._wait_until_ready(components, since)

    def _launch(self, name: str, index: int) -> None:
        command = [*self._airflow, name]
        if name in ("scheduler", "triggerer"):
            command.append("--skip-serve-logs")
        self.components.append(launch(name, index, command, environment(self.settings), self.directory))
        self._store()

    def _wait_until_ready(self, components: Sequence[str], since: datetime) -> None:
        waiting = list(components)
        deadline = time.monotonic() + START_SECONDS
        while waiting:
            self._check_alive()
            waiting = [name for name in waiting if not self._is_ready(name, since)]
            if waiting and time.monotonic() > deadline:
                raise AirflowStartError(f"not ready after {START_SECONDS} s:\n{self._tails(waiting)}")
            time.sleep(READY_POLL_SECONDS)

    def _is_ready(self, name: str, since: datetime) -> bool:
        try:
            if name == "api-server":
                return bool(self.api("GET", "/monitor/health")["metadatabase"]["status"] == "healthy")
            query = {"job_type": JOB_TYPES[name], "job_state": "running", "start_date_gte": since.isoformat()}
            jobs: list[dict[str, Any]] = self.api("GET", "/jobs", params=query)["jobs"]
        except AirflowApiError as error:
            if error.status == 0:
                return False
            raise
        started = [c for c in self.components if c.name == name and c.created >= since.timestamp() - 1]
        return len(jobs) >= len(started)

    def _check_alive(self) -> None:
        reap(self.components)
        dead = [c for c in self.components if not c.is_running()]
        if dead:
            raise AirflowStartError("; ".join(f"{c.label} ended:\n{last_lines(Path(c.log))}" for c in dead))

    def _tails(self, names: Sequence[str]) -> str:
        return "\n".join(f"{c.log}:\n{last_lines(Path(c.log))}" for c in self.components if c.name in names)

    def _store(self) -> None:
        if not self.directory.exists():
            return
        state = {
            "settings": self.settings.as_json(),
            "components": [c.as_json() for c in self.components],
        }
        write_private(self.directory / STATE_FILE, state)


def _stored_secrets(directory: Path) -> dict[str, Any]:
    """Keep the keys of an earlier start: its database is encrypted with them."""
    path = directory / STATE_FILE
    return {"secrets": json.loads(path.read_text())["settings"]["secrets"]} if path.exists() else {}


def _refuse_running(directory: Path) -> None:
    if not (directory / STATE_FILE).exists():
        return
    earlier = PrivateAirflow.attach(directory)
    left = living_processes(earlier.components, directory)
    if left:
        raise AirflowStartError(
            f"a private Airflow already runs in {directory} ({earlier.url}, process {left[0].pid}); "
            "attach to it or stop it first"
        )
