"""Logs in within the budget, in an event loop or without one; what is to be done, ``login_steps`` says."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Final, Generic, ParamSpec, Protocol, TypeVar

from headnode.errors import TransportError
from headnode.ssh.ledger import Slot
from headnode.ssh.login_steps import Steps, Try, Wait, command_steps, login_steps, turn_steps
from headnode.ssh.settings import SSHSettings

_LOG: Final = logging.getLogger("headnode.ssh")
# A wait is spoken of when it is no moment, and again from time to time.
_SAY_AFTER_SECONDS: Final = 2.0
_SAY_AGAIN_SECONDS: Final = 60.0


class _Closable(Protocol):
    def close(self) -> None: ...


T = TypeVar("T")
C = TypeVar("C", bound=_Closable)
P = ParamSpec("P")
Say = Callable[[str], None]


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
