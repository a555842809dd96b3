"""The extras of a connection that say how a login is made: certificates, agents, jump hosts, codes, ssh's own files."""

from __future__ import annotations

import base64
import binascii
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from headnode.errors import HeadnodeError

_TRUE: Final = frozenset({"true", "1", "yes"})
_JUMP: Final = re.compile(r"(?:(?P<user>[^@]+)@)?(?P<host>\[[0-9a-fA-F:.%]+\]|[^@:\[\]]+)(?::(?P<port>\d+))?")
_JUMP_FIELDS: Final = frozenset(
    {"host", "port", "user", "key_file", "certificate_file", "host_key", "password", "totp_secret"}
)
_LARGEST_PORT: Final = 65535


class ConnectionInvalid(HeadnodeError, ValueError):
    """A field of the Airflow connection can't be right; the message names it and the remedy."""


@dataclass(frozen=True, kw_only=True, repr=False)
class JumpHost:
    """A host on the way. What is None is taken from the connection: its user, its keys; a code is never shared."""

    host: str
    port: int = 22
    username: str | None = None
    key_file: str | None = None
    certificate_file: str | None = None
    host_key: str | None = None
    password: str | None = None
    totp_secret: str | None = None

    def __repr__(self) -> str:
        return f"<jump host {self.host}:{self.port}>"


def parse_login_extras(conn_id: str, extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of ``SSHSettings`` that this module knows.

    Raises:
        ConnectionInvalid: an extra can't be right.
    """
    if extra.get("certificate") and extra.get("certificate_file"):
        raise ConnectionInvalid(f"connection {conn_id!r} has both certificate and certificate_file; keep one of them")
    if extra.get("jump") and extra.get("host_proxy_cmd"):
        raise ConnectionInvalid(f"connection {conn_id!r} has both jump and host_proxy_cmd; keep one of them")
    return {
        "certificate_file": extra.get("certificate_file") or None,
        "certificate": extra.get("certificate") or None,
        "agent_path": str(extra.get("agent_path") or "").strip() or None,
        "identities_only": str(extra.get("identities_only", False)).lower() in _TRUE,
        "ssh_config": _ssh_config(conn_id, extra),
        "jump": _jump(conn_id, extra.get("jump")),
        "macs": _names(conn_id, "macs", extra.get("macs")),
        "totp_secret": _totp_secret(conn_id, extra.get("totp_secret")),
        "totp_period_seconds": _seconds(conn_id, "totp_period_seconds", extra.get("totp_period_seconds"), 30),
        "control_path": _control_path(conn_id, extra.get("control_path")),
        "credential_command": _command(conn_id, extra.get("credential_command")),
        "credential_command_seconds": float(
            _seconds(conn_id, "credential_command_seconds", extra.get("credential_command_seconds"), 120)
        ),
    }


def _names(conn_id: str, field: str, given: Any) -> tuple[str, ...]:
    """Return a list of names that is given as a list or, as OpenSSH writes it, with commas."""
    names = re.split(r"[,\s]+", given.strip()) if isinstance(given, str) and given.strip() else given or []
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) and name for name in names):
        raise ConnectionInvalid(f"connection {conn_id!r}: {field} must be a list of names, not {given!r}")
    return tuple(names)


def _ssh_config(conn_id: str, extra: Mapping[str, Any]) -> str | None:
    path = extra.get("ssh_config")
    if not path:
        return None
    if not isinstance(path, str) or not path.startswith(("/", "~")):
        raise ConnectionInvalid(
            f"connection {conn_id!r}: ssh_config must be the path of a configuration file of ssh, such as"
            f" '~/.ssh/config', not {path!r}"
        )
    if extra.get("jump") or extra.get("host_proxy_cmd"):
        raise ConnectionInvalid(
            f"connection {conn_id!r}: with ssh_config the way leads as that file says (ProxyJump, ProxyCommand); remove"
            " jump and host_proxy_cmd"
        )
    return path


def _jump(conn_id: str, given: Any) -> tuple[JumpHost, ...]:
    hops = given.split(",") if isinstance(given, str) else given or []
    if not isinstance(hops, list):
        raise ConnectionInvalid(f"connection {conn_id!r}: jump must be a list of [user@]host[:port], not {type(given)}")
    return tuple(_jump_host(conn_id, hop) for hop in hops)


def _jump_host(conn_id: str, given: Any) -> JumpHost:
    if isinstance(given, Mapping):
        if unknown := sorted(set(given) - _JUMP_FIELDS):
            raise ConnectionInvalid(
                f"connection {conn_id!r}: a jump host may name {', '.join(sorted(_JUMP_FIELDS))}, not"
                f" {', '.join(unknown)}"
            )
        hop = _jump_host(conn_id, str(given.get("host") or ""))
        fields = {name: str(given[name]) for name in _JUMP_FIELDS - {"host", "port", "user"} if given.get(name)}
        fields["totp_secret"] = _totp_secret(conn_id, fields.get("totp_secret"))  # type: ignore[assignment]
        return JumpHost(
            host=hop.host,
            port=_port(conn_id, given.get("port") or hop.port),
            username=given.get("user") or hop.username,
            **fields,
        )
    match = _JUMP.fullmatch(given.strip()) if isinstance(given, str) else None
    if match is None or match["host"].startswith("-"):
        raise ConnectionInvalid(f"connection {conn_id!r}: a jump host is written [user@]host[:port], not {given!r}")
    return JumpHost(
        host=match["host"].strip("[]"), port=_port(conn_id, match["port"] or 22), username=match["user"] or None
    )


def _port(conn_id: str, given: Any) -> int:
    text = str(given)
    if not text.isdecimal() or not 0 < int(text) <= _LARGEST_PORT:
        raise ConnectionInvalid(f"connection {conn_id!r}: {given!r} is no port")
    return int(text)


def _totp_secret(conn_id: str, given: Any) -> str | None:
    """Return the base32 text without spaces; what is refused is not shown, since it may be nearly right."""
    if not given:
        return None
    text = re.sub(r"[\s-]", "", str(given)).upper().rstrip("=")
    try:
        base64.b32decode(text + "=" * (-len(text) % 8))
    except (binascii.Error, ValueError) as error:
        raise ConnectionInvalid(
            f"connection {conn_id!r}: totp_secret is no base32 text; it is the 'secret' that the site showed beside the"
            " QR code, not a code of six digits"
        ) from error
    return text


def _control_path(conn_id: str, given: Any) -> str | None:
    if not given:
        return None
    if not isinstance(given, str) or not given.startswith(("/", "~")) or "%" in given:
        raise ConnectionInvalid(
            f"connection {conn_id!r}: control_path must be the whole path of the socket, as `ssh -G HOST` prints it,"
            f" without any %, not {given!r}"
        )
    return given


def _command(conn_id: str, given: Any) -> tuple[str, ...]:
    try:
        words = shlex.split(given) if isinstance(given, str) else given or []
    except ValueError as error:
        raise ConnectionInvalid(f"connection {conn_id!r}: credential_command can't be split: {error}") from error
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ConnectionInvalid(f"connection {conn_id!r}: credential_command must be a program and its arguments")
    return tuple(words)


def _seconds(conn_id: str, field: str, given: Any, default: int) -> int:
    if given in (None, ""):
        return default
    text = str(given).strip()
    if not text.isdecimal() or int(text) == 0:
        raise ConnectionInvalid(f"connection {conn_id!r}: {field} must be a whole number of seconds, not {given!r}")
    return int(text)
