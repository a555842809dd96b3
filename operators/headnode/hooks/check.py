"""Checks an Airflow connection as a person would: for the *Test* button and for ``headnode check``."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.secrets.metastore import MetastoreBackend

from headnode.cluster.checking import check_cluster
from headnode.cluster.findings import Finding, Report, wrong
from headnode.cluster.procedures import drive
from headnode.errors import HeadnodeError, HostKeyRefused, TransportError
from headnode.hooks.connection import load_settings
from headnode.ssh.asyncssh_transport import AsyncSSHTransport
from headnode.ssh.control_master import ControlMasterTransport
from headnode.ssh.host_keys import describe, fingerprint
from headnode.ssh.port import Answer, Command
from headnode.ssh.settings import ClusterSettings, ConnectionInvalid, SSHSettings
from headnode.ssh.transports import transport_to

T = TypeVar("T")
Tell = Callable[[str], None]
_SSH_LOG: Final = logging.getLogger("headnode.ssh")


def check_connection(conn_id: str, *, on_progress: Tell = lambda _: None) -> Report:
    """Return what a check of the connection ``conn_id`` finds. It logs in once, as triggers do; no job is submitted.

    ``on_progress`` is told what is done next, in a few words.
    """
    try:
        settings = load_settings(conn_id)
    except (ConnectionInvalid, HostKeyRefused) as error:
        return Report(conn_id=conn_id, host="", findings=[_unusable(conn_id, error)])
    with _hearing(on_progress):
        findings = _run(_check(settings, on_progress))
    return Report(conn_id=conn_id, host=settings.ssh.host, findings=findings)


def _unusable(conn_id: str, error: HeadnodeError) -> Finding:
    """Return the finding for a connection without settings.

    Airflow itself says only that there is no such connection, whatever went wrong when it looked.
    """
    if isinstance(error.__cause__, AirflowNotFoundException) and os.environ.get("_AIRFLOW_PROCESS_CONTEXT") == "server":
        try:
            stored = MetastoreBackend().get_connection(conn_id)
            if stored is not None:
                stored.get_uri()
        except Exception as problem:  # noqa: BLE001 - whatever it is, a person is shown it
            return wrong(
                "Connection",
                f"{conn_id!r} can't be looked up in Airflow's database: {str(problem).strip().splitlines()[0]}",
                "Run this where Airflow runs, with its AIRFLOW_HOME and configuration (`airflow db check` tells whether"
                f" they are right), or give the connection in the variable AIRFLOW_CONN_{conn_id.upper()}",
            )
    return wrong("Connection", str(error))


def explain_error(conn_id: str, error: HeadnodeError) -> Finding:
    """Return what a check of the connection would say where something else ended in ``error``."""
    if isinstance(error, HostKeyRefused) and error.shown is not None:
        return wrong("Host key", *describe(error))
    if isinstance(error, ConnectionInvalid | HostKeyRefused):
        return _unusable(conn_id, error)
    return wrong("Login" if isinstance(error, TransportError) else "Answers", str(error))


async def _check(settings: ClusterSettings, on_progress: Tell) -> list[Finding]:
    transport = transport_to(settings.ssh, forced=True)  # the one who asks wants to know now
    try:
        on_progress(f"logging in to {_describe(settings.ssh, transport.host)}")
        findings = await drive(check_cluster(settings, clock=time.time), _Telling(transport, on_progress))
        key = _known_key(transport)
    except HostKeyRefused as refusal:
        return [wrong("Host key", *describe(refusal))]
    except TransportError as error:
        return [wrong("Login", str(error))]
    except HeadnodeError as error:
        return [Finding(what="Login", value=_describe(settings.ssh, transport.host)), wrong("Answers", str(error))]
    finally:
        entrance = _describe(settings.ssh, transport.host)  # of several hosts, the one that let us in
        await transport.close()
    site = [Finding(what="Site", value=settings.site, is_detail=True)] if settings.site else []
    return [*site, Finding(what="Login", value=entrance), *key, *findings, *_budget(settings.ssh)]


def _known_key(transport: AsyncSSHTransport | ControlMasterTransport) -> list[Finding]:
    if transport.host_key is None:
        return []
    value = f"{transport.host_key.split()[0]} {fingerprint(transport.host_key)}"
    return [Finding(what="Host key", value=value)]


def _describe(settings: SSHSettings, host: str) -> str:
    if settings.control_path is not None:
        return f"{settings.username}@{host}:{settings.port} over the connection that is open at {settings.control_path}"
    hops = ", ".join(f"{hop.host}:{hop.port}" for hop in settings.jump)
    through = f" through {hops}" if hops else " through a proxy command" if settings.host_proxy_cmd else ""
    return f"{settings.username}@{host}:{settings.port}{through}"


def _budget(settings: SSHSettings) -> list[Finding]:
    budget = settings.budget
    if budget is None:
        return []
    value = (
        f"from this machine up to {budget.logins_per_minute:g} logins a minute and {budget.commands_in_flight} commands"
        f" at a time, {settings.max_sessions} over one login"
    )
    return [Finding(what="Budget", value=value, is_detail=True)]


class _Telling:
    """A transport that says what it is asked for."""

    def __init__(self, transport: AsyncSSHTransport | ControlMasterTransport, tell: Tell) -> None:
        self._transport = transport
        self._tell = tell

    @property
    def host(self) -> str:
        return self._transport.host

    async def run(self, command: Command) -> Answer:
        if self._transport.logins:
            self._tell(command.purpose)
        return await self._transport.run(command)

    async def close(self) -> None:
        await self._transport.close()


@contextlib.contextmanager
def _hearing(tell: Tell) -> Iterator[None]:
    """Tell also what the SSH layer says meanwhile, as that it waits for its turn to log in."""

    class Hearing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            tell(record.getMessage())

    handler, level = Hearing(), _SSH_LOG.level
    _SSH_LOG.addHandler(handler)
    _SSH_LOG.setLevel(logging.INFO)
    try:
        yield
    finally:
        _SSH_LOG.removeHandler(handler)
        _SSH_LOG.setLevel(level)


def _run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run ``coroutine`` to its end; in a notebook, whose own event loop is running, beside that."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    with ThreadPoolExecutor(1) as beside:
        return beside.submit(asyncio.run, coroutine).result()
