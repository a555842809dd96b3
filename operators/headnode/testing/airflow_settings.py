"""The environment that makes an Airflow private: one directory, loopback, generated secrets, short intervals."""

from __future__ import annotations

import base64
import json
import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from headnode.testing.airflow_processes import MARK, AirflowStartError

STATE_FILE = "private-airflow.json"
DATABASE_FILE = "airflow.db"
PASSWORDS_FILE = "passwords.json"
LOOPBACK = "127.0.0.1"
ANY_ADDRESSES = ("0.0.0.0", "::")  # nosec B104  # noqa: S104 - compared with, never bound to
# Below the range from which Linux takes the ports of outgoing connections, so that none of these is in the way.
PORTS = range(20000, 32768)

# Airflow puts <AIRFLOW_HOME>/config on sys.path. Its own names for this machine may need a slow or absent DNS.
HOST_MODULE = "private_airflow_host"
HOST_SOURCE = '"""The name under which a private Airflow knows itself."""\n\n\ndef name():\n    return "localhost"\n'


def new_secrets() -> dict[str, str]:
    """Generate the keys that Airflow's components share."""
    return {
        "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(os.urandom(32)).decode(),
        "AIRFLOW__API__SECRET_KEY": secrets.token_urlsafe(32),
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(48),
    }


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a private Airflow was started with; stored (mode 0600) so that it can be attached to."""

    directory: Path
    dags_folder: Path
    plugins_folder: Path | None
    python: str
    host: str
    port: int
    users: Mapping[str, str]
    connections: Mapping[str, str]
    variables: Mapping[str, str]
    env: Mapping[str, str]
    secrets: Mapping[str, str] = field(default_factory=new_secrets)

    @property
    def url(self) -> str:
        """Where this machine reaches the UI and the API."""
        return f"http://{LOOPBACK if self.host in ANY_ADDRESSES else self.host}:{self.port}"

    def as_json(self) -> dict[str, Any]:
        """Give the fields as JSON can hold them."""
        return {k: str(v) if isinstance(v, Path) else v for k, v in asdict(self).items()}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Settings:
        """Read what ``as_json`` gave."""
        plugins = stored["plugins_folder"]
        paths = {
            "directory": Path(stored["directory"]),
            "dags_folder": Path(stored["dags_folder"]),
            "plugins_folder": Path(plugins) if plugins else None,
        }
        return cls(**{**stored, **paths})


def environment(settings: Settings) -> dict[str, str]:
    """Give the whole environment of a private Airflow's processes; other Airflows' settings are left out of it."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("AIRFLOW_")}
    values = {
        **inherited,
        **_fixed(),
        **_places(settings),
        **settings.secrets,
        **{f"AIRFLOW_CONN_{name.upper()}": value for name, value in settings.connections.items()},
        **{f"AIRFLOW_VAR_{name.upper()}": value for name, value in settings.variables.items()},
        **settings.env,
    }
    return {name: str(value) for name, value in values.items()}


def _fixed() -> dict[str, str]:
    """Give the options that are the same for every private Airflow."""
    return {
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__HOSTNAME_CALLABLE": f"{HOST_MODULE}.name",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "1",
        "AIRFLOW__API__WORKERS": "1",
        # Also how long a stopping server waits for browsers that keep a connection open.
        "AIRFLOW__API__WORKER_TIMEOUT": "5",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
        "AIRFLOW__DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL": "1",
        # Files that change are read again at once; reading each of them every few seconds takes a whole core.
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "60",
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
        "AIRFLOW__SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "5",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": "False",
        # Airflow's log servers listen on every address. They are not started: the API server reads the files.
        # Port 1 of loopback refuses, and the traceback about that, at every look at a running task, is left out.
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": "1",
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": "1",
        "AIRFLOW__LOGGING__NAMESPACE_LEVELS": "airflow.utils.log.file_task_handler=CRITICAL",
        "_AIRFLOW__SKIP_DATABASE_EXECUTOR_COMPATIBILITY_CHECK": "1",
        "PYTHONUNBUFFERED": "1",
        "NO_COLOR": "1",
    }


def _places(settings: Settings) -> dict[str, str]:
    """Give the options that name this Airflow's directory, folders, port and users."""
    plugins = settings.plugins_folder or settings.directory / "plugins"
    return {
        MARK: str(settings.directory),
        "AIRFLOW_HOME": str(settings.directory),
        "AIRFLOW__CORE__DAGS_FOLDER": str(settings.dags_folder),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(plugins),
        "AIRFLOW__HEADNODE__BUDGET_DIRECTORY": str(settings.directory / "budget"),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{u}:{r}" for u, r in settings.users.items()),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(settings.directory / PASSWORDS_FILE),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{settings.url}/execution/",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{settings.directory / DATABASE_FILE}",
        "AIRFLOW__API__HOST": settings.host,
        "AIRFLOW__API__PORT": str(settings.port),
    }


def prepare_directory(settings: Settings) -> None:
    """Make the directory (mode 0700), the module that names the host, and a password for each user."""
    settings.directory.mkdir(parents=True, exist_ok=True)
    settings.directory.chmod(0o700)
    config = settings.directory / "config"
    config.mkdir(exist_ok=True)
    (config / f"{HOST_MODULE}.py").write_text(HOST_SOURCE)
    passwords = read_passwords(settings.directory)
    for user in settings.users:
        passwords.setdefault(user, secrets.token_urlsafe(12))
    write_private(settings.directory / PASSWORDS_FILE, passwords)


def read_passwords(directory: Path) -> dict[str, str]:
    """Read the generated passwords; none before the first start."""
    path = directory / PASSWORDS_FILE
    return dict(json.loads(path.read_text())) if path.exists() else {}


def write_private(path: Path, content: object) -> None:
    """Write JSON that only the owner may read, complete or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(json.dumps(content, indent=1))
    draft.replace(path)


def port_is_free(port: int, host: str = LOOPBACK) -> bool:
    """Tell whether a server could listen there now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def free_port(host: str = LOOPBACK) -> int:
    """Choose a port at random, so that two Airflows that start together do not choose the same."""
    for _ in range(200):
        port = PORTS.start + secrets.randbelow(len(PORTS))
        if port_is_free(port, host):
            return port
    raise AirflowStartError(f"no free port between {PORTS.start} and {PORTS.stop} on {host}")
