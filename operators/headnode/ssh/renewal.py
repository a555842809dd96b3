"""Short-lived credentials: the program that renews them is run once, for all processes of the machine, when they end.

The program is named by whoever administers Airflow, in the connection; no DAG can name one. What it prints may hold
secrets, so nothing of it is kept or shown except the last line that it writes to standard error when it fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import json
import logging
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import IO, Any, Final, TypeVar

from headnode.errors import AuthenticationRefused, CredentialExpired
from headnode.ssh.credentials import check_times, read_agent, read_offers
from headnode.ssh.ledger import ledger_root
from headnode.ssh.refused_logins import digest_of
from headnode.ssh.route import route_of
from headnode.ssh.settings import SSHSettings

_LOG: Final = logging.getLogger("headnode.ssh")
# Services that sign keys count requests (CSCS: five a day), so a program that failed is left alone for a while.
FIRST_PAUSE_SECONDS: Final = 60.0
LAST_PAUSE_SECONDS: Final = 1800.0
_SHOWN: Final = 300

T = TypeVar("T")


def check_credentials(settings: SSHSettings) -> None:
    """See that there is something to offer, without asking the host; renew it where the connection says how.

    It reads files and may run the connection's program, so it blocks.

    Raises:
        CredentialExpired: the time of all that could be offered is over.
        AuthenticationRefused: a key or certificate can't be read.
    """
    if not settings.credential_command:
        for hop in route_of(settings):
            check_times(hop)
        return
    before = digest_of(settings)
    try:
        _look(settings)
    except AuthenticationRefused as error:  # over, or not there yet
        renew(settings, before, error)
        _look(settings)


def log_in_renewing(settings: SSHSettings, login: Callable[[], T]) -> T:
    """Return what ``login`` returns; credentials that are over are renewed where the connection says how.

    Raises:
        CredentialExpired: they are over, and nobody has renewed them yet.
        TransportError: whatever else ``login`` raises.
    """
    before = _checked(settings)
    try:
        return login()
    except CredentialExpired as error:
        if before is None:
            raise
        renew(settings, before, error)
    return login()


async def alog_in_renewing(settings: SSHSettings, login: Callable[[], Awaitable[T]]) -> T:
    """Do the same in an event loop, which never waits for a file or a program.

    Raises:
        CredentialExpired: they are over, and nobody has renewed them yet.
        TransportError: whatever else ``login`` raises.
    """
    before = await asyncio.to_thread(_checked, settings)
    try:
        return await login()
    except CredentialExpired as error:
        if before is None:
            raise
        await asyncio.to_thread(renew, settings, before, error)
    return await login()


def _checked(settings: SSHSettings) -> str | None:
    """Check, and return the digest of what will be offered, None where there is no program to renew it."""
    check_credentials(settings)
    return digest_of(settings) if settings.credential_command else None


def renew(settings: SSHSettings, before: str, why: AuthenticationRefused) -> None:
    """Run the connection's program, unless another process has just done so.

    ``before`` is the digest of what was offered, or would have been.

    Raises:
        CredentialExpired: it failed, or did so a short while ago; the message holds ``why``.
    """
    program = settings.credential_command[0]
    with _alone(settings) as file:
        state = _state(file)
        if digest_of(settings) != before:
            return  # somebody has renewed it while this process waited
        # A key whose end only the host knows is refused when its time is over; one that is new, for other reasons.
        fresh = 0 <= time.time() - float(state.get("at", 0.0)) < LAST_PAUSE_SECONDS
        if state.get("renewed") == before and fresh and why.by_host:
            raise CredentialExpired(
                f"{why} The program {program!r} (credential_command) has renewed it already, and the host refuses it"
                " all the same."
            )
        failures = int(state.get("failures", 0)) if state.get("digest") == before else 0
        pause = min(FIRST_PAUSE_SECONDS * 2 ** max(0, failures - 1), LAST_PAUSE_SECONDS) if failures else 0.0
        again = float(state.get("at", 0.0)) + pause
        if failures and float(state["at"]) <= time.time() < again:
            raise CredentialExpired(
                f"{why} {state.get('problem', '')} It is run again in {again - time.time():.0f} s; or run it by hand."
            )
        problem = _run(settings)
        after = digest_of(settings)
        if problem is None and after == before:
            problem = f"The program {program!r} (credential_command) ended well, but nothing was renewed by it."
        if problem is not None:
            _store(file, {"digest": before, "failures": failures + 1, "at": time.time(), "problem": problem})
            raise CredentialExpired(f"{why} {problem}")
        _store(file, {"renewed": after, "at": time.time()})
        _LOG.info("the credentials of connection %r were renewed by %r", settings.conn_id, program)


def _look(settings: SSHSettings) -> None:
    for hop in route_of(settings):
        read_offers(hop)
        read_agent(hop)


def _run(settings: SSHSettings) -> str | None:
    """Run the program, and return what went wrong."""
    program, *arguments = settings.credential_command
    name = f"The program {program!r} (credential_command)"
    found = shutil.which(os.path.expanduser(program))  # noqa: PTH111 - a name without a slash stays as it is
    if found is None:
        return f"{name} is not on this machine, or can't be run."
    try:
        process = subprocess.Popen(
            [found, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        return f"{name} can't be run: {error.strerror}."
    try:
        _, said = process.communicate(timeout=settings.credential_command_seconds)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return f"{name} did not end within {settings.credential_command_seconds:g} s; it may have asked a question."
    if process.returncode == 0:
        return None
    lines = [line.strip() for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
    shown = f", and says {lines[-1][:_SHOWN]!r}" if lines else ""
    return f"{name} ended with status {process.returncode}{shown}."


@contextlib.contextmanager
def _alone(settings: SSHSettings) -> Iterator[IO[str]]:
    """Hold the lock of this connection's renewals, whose file keeps how the last one ended."""
    root = ledger_root(settings.budget.directory if settings.budget is not None else None)
    name = hashlib.sha256(repr((settings.conn_id, settings.host, settings.credential_command)).encode()).hexdigest()
    descriptor = os.open(
        Path(root) / f"renewal-{name[:24]}", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
    )
    with os.fdopen(descriptor, "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def _state(file: IO[str]) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        found = json.loads(file.read())
        if isinstance(found, dict):
            return found
    return {}


def _store(file: IO[str], state: dict[str, Any]) -> None:
    file.seek(0)
    file.truncate()
    file.write(json.dumps(state))
    file.flush()
