"""How rsync reaches a host by OpenSSH in exactly the way that the Airflow connection says, or why it can't."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from headnode.ssh.settings import SSHSettings

# The host's name in rsync's arguments; the real one is in the configuration, where no character of it means anything.
ALIAS: Final = "headnode-host"
_OPTIONS: Final = {
    "kex": "KexAlgorithms",
    "ciphers": "Ciphers",
    "macs": "MACs",
    "keys": "HostKeyAlgorithms",
    "pubkeys": "PubkeyAcceptedAlgorithms",
}
# Ways in that are left to the connection that is open already: files go over it by SFTP.
_OTHER_WAYS: Final = (
    *("certificate", "certificate_file", "agent_path", "totp_secret", "credential_command", "ssh_config", "jump"),
)


def why_not(settings: SSHSettings) -> str | None:
    """Return what in the connection OpenSSH can't be told without a terminal, None where there is nothing."""
    if settings.control_path is None and (problem := _beyond_ssh(settings)) is not None:
        return problem
    values = (settings.host, settings.username, settings.key_file, settings.known_hosts, settings.host_proxy_cmd)
    shown = [value for value in (*values, settings.control_path) if value]
    if any(ord(character) < 32 or character == '"' for value in shown for character in value):  # noqa: PLR2004 - ASCII
        return "a field of the connection has characters that ssh's configuration can't hold"
    return None


def _beyond_ssh(settings: SSHSettings) -> str | None:
    if settings.password is not None:
        return "the connection has a password"
    if settings.private_key_passphrase is not None:
        return "the connection's key has a passphrase"
    if others := [name for name in _OTHER_WAYS if getattr(settings, name)]:
        return f"the connection has {others[0]}, for which its own login is used"
    if not set(dict(settings.disabled_algorithms)) <= set(_OPTIONS):
        return "the connection disables algorithms that ssh has no option for"
    return None


def render_config(settings: SSHSettings, *, known_hosts: str, identity: str | None) -> str:
    """Return an ssh_config for the connection alone; ``identity`` is the file of its key.

    ``known_hosts`` is the file that holds the host's key. Files of the user that runs Airflow are not read otherwise.
    """
    return "".join(f"{name} {value}\n" for name, value in _lines(settings, known_hosts, identity))


def _lines(settings: SSHSettings, known_hosts: str, identity: str | None) -> Iterator[tuple[str, str]]:
    yield "Host", ALIAS
    yield "HostName", _literal(settings.host)
    yield "Port", str(settings.port)
    yield "User", _quoted(settings.username)
    yield "BatchMode", "yes"
    if settings.control_path is not None:
        yield "ControlMaster", "no"
        yield "ControlPath", _quoted(_literal(settings.control_path))
        yield "ProxyCommand", "false"  # without the connection by hand there is no way
        return
    yield "StrictHostKeyChecking", "yes"
    yield "UserKnownHostsFile", _quoted(_literal(known_hosts))
    yield "GlobalKnownHostsFile", "/dev/null"
    yield "CheckHostIP", "no"
    yield "UpdateHostKeys", "no"
    if identity is not None:
        yield "IdentityFile", _quoted(_literal(identity))
        yield "IdentitiesOnly", "yes"
        yield "IdentityAgent", "none"
    elif not settings.look_for_keys:
        yield "PubkeyAuthentication", "no"
    if settings.host_proxy_cmd is not None:
        yield "ProxyCommand", _literal(settings.host_proxy_cmd)
    if settings.macs:
        yield "MACs", ",".join(settings.macs)
    if settings.ciphers:
        yield "Ciphers", ",".join(settings.ciphers)
    for kind, names in settings.disabled_algorithms:
        if not {"ciphers": settings.ciphers, "macs": settings.macs}.get(kind):
            yield _OPTIONS[kind], "-" + ",".join(names)
    yield "Compression", "yes" if settings.compress else "no"
    yield "ConnectTimeout", str(max(1, round(settings.connect_timeout_seconds)))
    yield "ServerAliveInterval", str(max(1, round(settings.keepalive_seconds)))
    yield "ServerAliveCountMax", "3"
    yield "ControlPath", "none"
    yield "RequestTTY", "no"
    yield "ForwardAgent", "no"
    yield "ForwardX11", "no"


def render_known_host(settings: SSHSettings) -> str | None:
    """Return the line of a known_hosts file for the host key that the connection names, None where it names none."""
    if settings.host_key is None:
        return None
    name = settings.host if settings.port == 22 else f"[{settings.host}]:{settings.port}"  # noqa: PLR2004 - ssh
    return f"{name} {settings.host_key}\n"


def _literal(value: str) -> str:
    return value.replace("%", "%%")


def _quoted(value: str) -> str:
    return f'"{value}"'
