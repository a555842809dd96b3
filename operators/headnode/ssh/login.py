"""A login within the budget: wait for a turn, offer nothing that was refused, go on to the next host where one is down.

Written once, as a generator that yields what is to be done, and run by an async and by a sync driver, as the
procedures of ``headnode.cluster`` are. What a login raises is raised inside the generator, at the yield.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Final, Generic, ParamSpec, Protocol, TypeVar

from headnode.errors import HostUnreachable, TransportError
from headnode.ssh.budget import SEEN_AGAIN_SECONDS, Turn
from headnode.ssh.failover import CurrentHost, all_unreachable, at_host
from headnode.ssh.ledger import HostLedger, Slot
from headnode.ssh.refused_logins import RefusedLogins, digest_of
from headnode.ssh.settings import SSHSettings

_LOG: Final = logging.getLogger("headnode.ssh")
# A wait is spoken of when it is no moment, and again from time to time.
_SAY_AFTER_SECONDS: Final = 2.0
_SAY_AGAIN_SECONDS: Final = 60.0
_SOON_SECONDS: Final = 0.1


class _Closable(Protocol):
    def close(self) -> None: ...


T = TypeVar("T")
C = TypeVar("C", bound=_Closable)
P = ParamSpec("P")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Wait:
    """Ask again after so many seconds; ``reason`` is for the log."""

    seconds: float
    reason: str


@dataclass(frozen=True)
class Try:
    """Log in with these settings, once."""

    settings: SSHSettings


Steps = Generator[Wait | Try, None, T]


def login_steps(settings: SSHSettings, *, forced: bool = False) -> Steps[None]:
    """Yield what a login takes. ``forced`` offers also what was refused before, because a person wants to know.

    Raises:
        HostUnreachable: no host of the connection can be reached at present.
        AuthenticationRefused: the host refuses the credentials, or did so before.
        TransportError: another reason why there is no login.
    """
    current = CurrentHost(settings)
    failures: list[HostUnreachable] = []
    for host in current.hosts():
        try:
            yield from _one_host(at_host(settings, host), forced=forced)
        except HostUnreachable as failure:
            failures.append(failure)
        else:
            current.works(host)
            return
    raise all_unreachable(settings, failures) from failures[-1]


def _one_host(settings: SSHSettings, *, forced: bool) -> Steps[None]:
    if settings.budget is None:
        yield Try(settings)
        return
    ledger = HostLedger(settings.budget, settings.host, settings.port)
    digest = digest_of(settings)
    memory = RefusedLogins(ledger, digest)
    slot = yield from _turn_to_log_in(ledger, memory, digest, forced=forced)
    try:
        try:
            if not forced:
                memory.check(claim=True)
            yield Try(settings)
        except TransportError as error:
            memory.remember(error)
            raise
        memory.forget()
    finally:
        slot.release()


def _turn_to_log_in(ledger: HostLedger, memory: RefusedLogins, digest: str, *, forced: bool) -> Steps[Slot]:
    ticket = uuid.uuid4().hex
    try:
        while True:
            if not forced:
                memory.check()
            # As long as nobody knows whether the host takes the credentials, one finds it out for all.
            answer = ledger.ask(ticket, alone=None if memory.proven else digest[:40])
            if isinstance(answer, Slot):
                return answer
            yield _wait_for_turn(answer, ledger)
    finally:
        ledger.leave(ticket)


def _wait_for_turn(place: Turn, ledger: HostLedger) -> Wait:
    most, window = ledger.budget.window
    others = f"; {place.ahead} come first" if place.ahead else ""
    reason = (
        f"waiting for a turn to log in at {ledger.host}:{ledger.port}: {most} within {window:g} s and"
        f" {ledger.budget.concurrent_logins} at a time may begin on this machine{others}"
    )
    if place.wait_seconds > 0:
        reason += f"; that is in {place.wait_seconds:.0f} s at the earliest"
    seconds = max(place.wait_seconds, _SOON_SECONDS * (1 + place.ahead)) * random.uniform(0.8, 1.2)  # noqa: S311
    return Wait(min(seconds, SEEN_AGAIN_SECONDS), reason)


def turn_steps(settings: SSHSettings) -> Steps[Slot]:
    """Yield waits until a login may be made, and return the slot that it has then.

    Raises:
        TransportError: the host has refused the credentials before.
    """
    if settings.budget is None:
        return Slot()
    ledger = HostLedger(settings.budget, settings.host, settings.port)
    digest = digest_of(settings)
    return (yield from _turn_to_log_in(ledger, RefusedLogins(ledger, digest), digest, forced=False))


def command_steps(settings: SSHSettings) -> Steps[Slot]:
    """Yield waits until one more command may be sent to the host, and return the slot that it has then."""
    if settings.budget is None:
        return Slot()
    ledger = HostLedger(settings.budget, settings.host, settings.port)
    most, pause = settings.budget.commands_in_flight, _SOON_SECONDS
    while (slot := ledger.command_slot()) is None:
        reason = f"waiting to send a command to {settings.host}: {most} of this machine run there already"
        yield Wait(pause * random.uniform(0.8, 1.2), reason)  # noqa: S311 - spreads load, hides nothing
        pause = min(pause * 1.5, 2.0)
    return slot


class _Speaker:
    """Says what is waited for, where it takes long."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._next = time.monotonic() + _SAY_AFTER_SECONDS

    def hear(self, wait: Wait) -> None:
        now = time.monotonic()
        if now + wait.seconds >= self._next:
            self._next = now + _SAY_AGAIN_SECONDS
            self._say(wait.reason)


@dataclass(frozen=True)
class _Done(Generic[T]):
    value: T


def _advance(steps: Steps[T], error: TransportError | None) -> Wait | Try | _Done[T]:
    try:
        return steps.throw(error) if error is not None else next(steps)
    except StopIteration as stop:
        return _Done(stop.value)


def log_in(
    settings: SSHSettings, login: Callable[[SSHSettings], C], *, forced: bool = False, say: Say = _LOG.info
) -> C:
    """Return the connection that ``login`` makes to one of the hosts, as soon as the budget allows it.

    Raises:
        TransportError: see ``login_steps``.
    """
    made: list[C] = []
    try:
        _drive(login_steps(settings, forced=forced), lambda at: made.append(login(at)), say)
    except BaseException:
        for connection in made:
            connection.close()
        raise
    return made[-1]


async def alog_in(
    settings: SSHSettings, login: Callable[[SSHSettings], Awaitable[C]], *, forced: bool = False, say: Say = _LOG.info
) -> C:
    """Do the same in an event loop, which never waits for a file.

    Raises:
        TransportError: see ``login_steps``.
    """
    made: list[C] = []

    async def attempt(at: SSHSettings) -> None:
        made.append(await login(at))

    try:
        await _adrive(login_steps(settings, forced=forced), attempt, say)
    except BaseException:
        for connection in made:
            connection.close()
        raise
    return made[-1]


@contextlib.contextmanager
def login_slot(settings: SSHSettings, *, say: Say = _LOG.info) -> Iterator[Slot]:
    """Hold a turn to log in, for a program that does so by itself; ``release`` it when the login is over.

    Raises:
        TransportError: the host has refused the credentials before, or the budget can't be kept.
    """
    slot = _drive(turn_steps(settings), _never, say)
    try:
        yield slot
    finally:
        slot.release()


@contextlib.contextmanager
def in_flight(settings: SSHSettings, *, say: Say = _LOG.info) -> Iterator[None]:
    """Hold one of the commands that may be in flight at the host of ``settings``.

    Raises:
        LedgerUnusable: the budget can't be kept.
    """
    slot = _drive(command_steps(settings), _never, say)
    try:
        yield
    finally:
        slot.release()


@contextlib.asynccontextmanager
async def ain_flight(settings: SSHSettings, *, say: Say = _LOG.info) -> AsyncIterator[None]:
    """Do the same in an event loop.

    Raises:
        LedgerUnusable: the budget can't be kept.
    """

    async def never(at: SSHSettings) -> None:
        _never(at)

    slot = await _adrive(command_steps(settings), never, say)
    try:
        yield
    finally:
        slot.release()


def _never(at: SSHSettings) -> None:
    raise AssertionError(f"no login at {at.host} was to be tried")


def _drive(steps: Steps[T], attempt: Callable[[SSHSettings], None], say: Say) -> T:
    speaker = _Speaker(say)
    error: TransportError | None = None
    with contextlib.closing(steps):
        while not isinstance(step := _advance(steps, error), _Done):
            error = None
            if isinstance(step, Wait):
                speaker.hear(step)
                time.sleep(step.seconds)
                continue
            try:
                attempt(step.settings)
            except TransportError as raised:
                error = raised
    return step.value


async def _adrive(steps: Steps[T], attempt: Callable[[SSHSettings], Awaitable[None]], say: Say) -> T:
    speaker = _Speaker(say)
    error: TransportError | None = None
    try:
        while not isinstance(step := await _in_thread(_advance, steps, error), _Done):
            error = None
            if isinstance(step, Wait):
                speaker.hear(step)
                await asyncio.sleep(step.seconds)
                continue
            try:
                await attempt(step.settings)
            except TransportError as raised:
                error = raised
    finally:
        await _in_thread(steps.close)
    return step.value


async def _in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run ``work`` in a thread, to its end even where this task is cancelled meanwhile."""
    running = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        while not running.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({running})
        if not running.cancelled():
            running.exception()  # what it raises now is nobody's any more
        raise
