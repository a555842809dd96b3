"""How to reach a head node, read from the fields of an Airflow connection.

The extras are those of ``apache-airflow-providers-ssh``, so that an existing connection of type ``ssh`` works as it
is; headnode's own extras come on top.
"""

from __future__ import annotations

import getpass
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from headnode.errors import HostKeyRefused
from headnode.ssh.budget import Budget
from headnode.ssh.login_extras import ConnectionInvalid, JumpHost, parse_login_extras

__all__ = ["ClusterSettings", "ConnectionInvalid", "JumpHost", "SSHSettings", "parse_connection"]

_TRUE: Final = frozenset({"true", "1", "yes"})
DEFAULT_WORK_DIRECTORY: Final = "~/.headnode"


@dataclass(frozen=True, kw_only=True, repr=False)
class SSHSettings:
    """One way into one host. Secrets are kept out of ``repr``.

    ``host_key`` is ``<type> <base64>`` as in a known_hosts file; without it ``known_hosts`` (or the user's own
    known_hosts file) must hold the host. ``hosts`` are all login nodes of the cluster, in the order in which they are
    tried, ``host`` first; empty where there is only ``host``. ``slurm_path`` is a directory that each command's PATH
    begins with. ``budget`` None is no bound at all, for tests.
    Times are in seconds.

    With ``ssh_config`` the host is an alias in that file, and ``config_decides`` names what the connection leaves to it
    (User, Port). ``agent_path`` is an agent's socket, or "none". docs/ssh.md says what each field does.
    """

    conn_id: str
    host: str
    hosts: tuple[str, ...] = ()
    port: int = 22
    username: str
    password: str | None = None
    key_file: str | None = None
    private_key: str | None = None
    private_key_passphrase: str | None = None
    certificate_file: str | None = None
    certificate: str | None = None
    agent_path: str | None = None
    identities_only: bool = False
    totp_secret: str | None = None
    totp_period_seconds: int = 30
    credential_command: tuple[str, ...] = ()
    credential_command_seconds: float = 120.0
    ssh_config: str | None = None
    config_decides: tuple[str, ...] = ()
    control_path: str | None = None
    jump: tuple[JumpHost, ...] = ()
    host_key: str | None = None
    known_hosts: str | None = None
    host_proxy_cmd: str | None = None
    look_for_keys: bool = True
    compress: bool = True
    ciphers: tuple[str, ...] = ()
    macs: tuple[str, ...] = ()
    disabled_algorithms: tuple[tuple[str, tuple[str, ...]], ...] = ()
    connect_timeout_seconds: float = 30.0
    keepalive_seconds: float = 30.0
    max_sessions: int = 8
    slurm_path: str | None = None
    budget: Budget | None = None

    def __repr__(self) -> str:
        return f"<SSH settings of connection {self.conn_id!r}: {self.username}@{self.host}:{self.port}>"


@dataclass(frozen=True, kw_only=True)
class ClusterSettings:
    """What headnode itself needs to know about a cluster. Times are in seconds.

    ``settle_seconds`` is how long a lost request may still arrive at slurmctld: longer than its MessageTimeout (10 s
    by default). ``lost_after_seconds`` is how long a job may be unknown to squeue and sacct before it is lost.
    """

    ssh: SSHSettings
    work_directory: str = DEFAULT_WORK_DIRECTORY
    poll_seconds: float = 10.0
    poll_max_seconds: float = 60.0
    settle_seconds: float = 20.0
    lost_after_seconds: float = 600.0
    account: str | None = None
    site: str | None = None


def parse_connection(
    *,
    conn_id: str,
    host: str | None,
    port: int | None,
    login: str | None,
    password: str | None,
    extra: Mapping[str, Any],
    budget_directory: str | None = None,
    triggerers: int = 1,
) -> ClusterSettings:
    """Return the settings in the fields of an Airflow connection.

    ``budget_directory`` is where this machine keeps its budgets of logins, which ``triggerers`` machines share.

    Raises:
        ConnectionInvalid: a field is missing or unreadable.
        HostKeyRefused: the connection asks not to check the host's key.
    """
    hosts = _hosts(conn_id, host, extra.get("hosts"))
    host = host or next(iter(hosts), None)
    if not host:
        raise ConnectionInvalid(f"connection {conn_id!r} names no host; set its Host field to the cluster's login node")
    _refuse_unchecked_host_keys(conn_id, host, port or 22, extra)
    if extra.get("key_file") and extra.get("private_key"):
        raise ConnectionInvalid(f"connection {conn_id!r} has both key_file and private_key; keep one of them")
    number = _Numbers(conn_id, extra)
    ssh = SSHSettings(
        conn_id=conn_id,
        host=host,
        hosts=hosts,
        port=port or 22,
        username=login or getpass.getuser(),
        password=(password or "").strip() or None,
        key_file=extra.get("key_file") or None,
        private_key=extra.get("private_key") or None,
        private_key_passphrase=extra.get("private_key_passphrase") or extra.get("passphrase") or None,
        host_key=_host_key(conn_id, extra.get("host_key")),
        known_hosts=extra.get("known_hosts") or None,
        host_proxy_cmd=extra.get("host_proxy_cmd") or None,
        look_for_keys=str(extra.get("look_for_keys", True)).lower() in _TRUE,
        compress=str(extra.get("compress", True)).lower() in _TRUE,
        ciphers=_names(extra.get("ciphers")),
        disabled_algorithms=_disabled_algorithms(conn_id, extra.get("disabled_algorithms")),
        connect_timeout_seconds=number.positive("conn_timeout", 30.0),
        max_sessions=number.whole("max_sessions", SSHSettings.max_sessions),
        slurm_path=_slurm_path(conn_id, extra.get("slurm_path")),
        budget=_budget(number, budget_directory, triggerers),
        config_decides=tuple(name for name, given in (("User", login), ("Port", port)) if not given),
        **parse_login_extras(conn_id, extra),
    )
    slowest = number.positive("poll_max_seconds", 60.0)
    fastest = number.positive("poll_seconds", min(10.0, slowest))
    return ClusterSettings(
        ssh=ssh,
        work_directory=_work_directory(conn_id, extra.get("work_directory") or DEFAULT_WORK_DIRECTORY),
        poll_seconds=fastest,
        poll_max_seconds=max(slowest, fastest),
        settle_seconds=number.positive("settle_seconds", 20.0),
        lost_after_seconds=number.positive("lost_after_seconds", 600.0),
        account=extra.get("account") or None,
        site=extra.get("site") or None,
    )


def _hosts(conn_id: str, host: str | None, given: Any) -> tuple[str, ...]:
    """Return all login nodes, the one in the Host field first; nothing where there is only that one."""
    names = given.replace(",", " ").split() if isinstance(given, str) else given or []
    if not isinstance(names, list) or not all(isinstance(name, str) and name.strip() for name in names):
        raise ConnectionInvalid(f"connection {conn_id!r}: hosts must be a list of host names, not {given!r}")
    every = tuple(dict.fromkeys([*([host] if host else []), *(name.strip() for name in names)]))
    return every if len(every) > 1 or not host else ()


def _refuse_unchecked_host_keys(conn_id: str, host: str, port: int, extra: Mapping[str, Any]) -> None:
    for name in ("no_host_key_check", "ignore_hostkey_verification", "allow_host_key_change"):
        if str(extra.get(name, False)).lower() in _TRUE:
            raise HostKeyRefused(
                f"connection {conn_id!r} sets {name}, but headnode always checks host keys. Remove it, and store the"
                f" host's key: `ssh-keyscan -p {port} {host}` prints it; after comparing it with the site's"
                " documentation, put '<type> <key>' into the connection's host_key extra or the line into known_hosts."
            )


def _host_key(conn_id: str, text: Any) -> str | None:
    if not text:
        return None
    words = str(text).split() or [""]
    if len(words) == 1:
        words.insert(0, "ssh-rsa")  # providers-ssh reads a bare key so
    if words[0] not in _HOST_KEY_TYPES:
        raise ConnectionInvalid(
            f"connection {conn_id!r}: host_key is of the unknown type {words[0]!r}; write '<type> <base64>' as"
            " ssh-keyscan prints it after the host's name"
        )
    return " ".join(words[:2])


def _names(given: Any) -> tuple[str, ...]:
    return tuple(given.replace(",", " ").split()) if isinstance(given, str) else tuple(given or ())


_HOST_KEY_TYPES: Final = frozenset(
    {"ssh-rsa", "ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"}
)


# The kinds that paramiko, and so providers-ssh, knows.
_ALGORITHM_KINDS: Final = frozenset({"kex", "ciphers", "macs", "keys", "pubkeys", "compression"})


def _disabled_algorithms(conn_id: str, given: Any) -> tuple[tuple[str, tuple[str, ...]], ...]:
    if not given:
        return ()
    kinds_known = isinstance(given, Mapping) and given.keys() <= _ALGORITHM_KINDS
    if not kinds_known or not all(isinstance(names, list) for names in given.values()):
        raise ConnectionInvalid(
            f"connection {conn_id!r}: disabled_algorithms must name lists of algorithms by their kind"
            f" ({', '.join(sorted(_ALGORITHM_KINDS))}), not {given!r}"
        )
    return tuple((kind, tuple(map(str, names))) for kind, names in sorted(given.items()))


def _work_directory(conn_id: str, text: str) -> str:
    if not text.startswith(("/", "~/")) or any(mark in text for mark in "\n\r\0%\\"):
        raise ConnectionInvalid(
            f"connection {conn_id!r}: work_directory {text!r} must start with '/' or '~/' and may hold neither '%' nor"
            " backslashes nor newlines, because Slurm reads these in file names"
        )
    return text.rstrip("/")


def _slurm_path(conn_id: str, given: Any) -> str | None:
    if not given:
        return None
    if not isinstance(given, str) or not re.fullmatch(r"/[A-Za-z0-9._/+@-]*", given):
        raise ConnectionInvalid(
            f"connection {conn_id!r}: slurm_path must be the one directory that holds Slurm's commands, such as"
            f" '/opt/slurm/bin', not {given!r}"
        )
    return given


def _budget(number: _Numbers, directory: str | None, triggerers: int) -> Budget:
    if triggerers < 1:
        raise ConnectionInvalid(f"[headnode] triggerers in Airflow's configuration must be 1 or more, not {triggerers}")
    whole = Budget(
        logins_per_minute=number.positive("logins_per_minute", Budget.logins_per_minute),
        concurrent_logins=number.whole("concurrent_logins", Budget.concurrent_logins),
        commands_in_flight=number.whole("commands_in_flight", Budget.commands_in_flight),
        refused_retry_seconds=number.positive("refused_retry_seconds", Budget.refused_retry_seconds),
        directory=directory,
    )
    return whole.shared_by(triggerers)


@dataclass(frozen=True, repr=False)
class _Numbers:
    conn_id: str
    extra: Mapping[str, Any]

    def positive(self, name: str, default: float) -> float:
        value = self.extra.get(name)
        if value in (None, ""):
            return default
        try:
            number = float(str(value))
        except ValueError:
            number = 0.0
        if not 0 < number < float("inf"):
            raise ConnectionInvalid(f"connection {self.conn_id!r}: {name} must be a positive number, not {value!r}")
        return number

    def whole(self, name: str, default: int) -> int:
        number = self.positive(name, default)
        if number != int(number):
            raise ConnectionInvalid(f"connection {self.conn_id!r}: {name} must be a whole number, not {number:g}")
        return int(number)
