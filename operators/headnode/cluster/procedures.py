"""Procedures: what is asked of a cluster, written once as generators and run by an async and by a sync driver.

A procedure yields a ``Command`` and is sent its ``Answer``, or yields a ``Pause`` and is sent None. What the
transport raises is raised inside the procedure, at the yield.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from headnode.errors import CommandRefused, HeadnodeError, UnreadableAnswer
from headnode.slurm.visible import visible, visible_block
from headnode.ssh.port import Answer, Command, Transport

T = TypeVar("T")

_BEGIN: Final = "headnode:begin"
_END: Final = "headnode:end:"
_LONG_ANSWER_BYTES: Final = 64 * 1024
_SENDABLE: Final = re.compile(r"[^\x00\ud800-\udfff]*")
_STATUS: Final = re.compile("[0-9]{1,3}")


@dataclass(frozen=True)
class Pause:
    """Wait before the next command; ``reason`` is for whoever wonders what is waited for."""

    seconds: float
    reason: str


Procedure = Generator[Command | Pause, Any, T]


@dataclass(frozen=True)
class _Done(Generic[T]):
    value: T


def _advance(procedure: Procedure[T], answer: Answer | None, error: HeadnodeError | None) -> Command | Pause | _Done[T]:
    try:
        return procedure.throw(error) if error is not None else procedure.send(answer)
    except StopIteration as stop:
        return _Done(stop.value)


async def _advance_async(
    procedure: Procedure[T], answer: Answer | None, error: HeadnodeError | None
) -> Command | Pause | _Done[T]:
    if answer is not None and len(answer.stdout) > _LONG_ANSWER_BYTES:
        return await asyncio.to_thread(_advance, procedure, answer, error)
    return _advance(procedure, answer, error)


async def drive(procedure: Procedure[T], transport: Transport, *, on_pause: Callable[[Pause], None] | None = None) -> T:
    """Run ``procedure`` over an async transport and return its result.

    Long answers are read in a thread, so that the event loop, which all jobs share, goes on meanwhile.
    """
    answer: Answer | None = None
    error: HeadnodeError | None = None
    while not isinstance(step := await _advance_async(procedure, answer, error), _Done):
        answer = error = None
        try:
            if isinstance(step, Command):
                answer = await transport.run(step)
            else:
                if on_pause is not None:
                    on_pause(step)
                await asyncio.sleep(step.seconds)
        except HeadnodeError as raised:
            error = raised
    return step.value


def drive_sync(
    procedure: Procedure[T],
    run: Callable[[Command], Answer],
    *,
    sleep: Callable[[float], None] = time.sleep,
    on_pause: Callable[[Pause], object] | None = None,
) -> T:
    """Run ``procedure`` with a blocking ``run`` and return its result."""
    answer: Answer | None = None
    error: HeadnodeError | None = None
    while not isinstance(step := _advance(procedure, answer, error), _Done):
        answer = error = None
        try:
            if isinstance(step, Command):
                answer = run(step)
            else:
                if on_pause is not None:
                    on_pause(step)
                sleep(step.seconds)
        except HeadnodeError as raised:
            error = raised
    return step.value


@dataclass(frozen=True, kw_only=True)
class Output:
    """What a framed shell script printed between its marks, and the status it ended with.

    ``noise`` is what start-up files printed before it.
    """

    stdout: str
    stderr: str
    status: int
    noise: str = ""


def shell(body: str, *, purpose: str, timeout_seconds: float = 60.0) -> Command:
    """Return the command that runs ``body`` in bash, whatever the login shell is, and marks where its output begins.

    Start-up files that print, and answers that were cut, are told apart by the marks. ``body`` may use ``return`` but
    not ``exit``. It travels on standard input, so that nothing of it shows in the host's list of processes; nor does
    bash show it where the login's BASH_ENV has it show what it runs.

    Raises:
        CommandRefused: no shell can be sent this text.
    """
    script = (
        "{ set +xv; } 2>/dev/null\n"
        f"headnode_main() {{\n{body}\n}}\n"
        f"printf '\\n{_BEGIN}\\n'\nheadnode_main </dev/null\nprintf '\\n{_END}%s\\n' \"$?\"\n"
    )
    if not _SENDABLE.fullmatch(script):
        raise CommandRefused(f"{visible(purpose)}: a NUL character or half a character can't be sent to a shell")
    return Command(text="/bin/bash -s", stdin=script.encode(), purpose=purpose, timeout_seconds=timeout_seconds)


def ask(command: Command) -> Procedure[Output]:
    """Send a command made by ``shell`` and return what it printed between its marks.

    Raises:
        UnreadableAnswer: a mark is missing, so that the answer is not whole.
    """
    answer: Answer = yield command
    text = answer.stdout.decode("utf-8", "replace")
    # Errors are told in messages and logs of ours, where nobody's text may act on a terminal.
    stderr = visible_block(answer.stderr.decode("utf-8", "replace"), mark="")
    framed = _framed(text)
    if framed is None:
        what = stderr.strip()[-300:] or text.strip()[-300:] or "nothing"
        if answer.exit_status in (126, 127):
            raise CommandRefused(f"{command.purpose}: the host has no usable /bin/bash ({what})")
        raise UnreadableAnswer(f"{command.purpose}: the answer was cut or is no answer; the host said {what!r}")
    output, status = framed
    noise = text.partition(f"{_BEGIN}\n")[0].strip()
    return Output(stdout=output, stderr=stderr, status=status, noise=noise)


def _framed(text: str) -> tuple[str, int] | None:
    """Return what is between the first begin and the last end, as the output itself may hold lines like the marks."""
    begin = 0 if text.startswith(f"{_BEGIN}\n") else text.find(f"\n{_BEGIN}\n") + 1
    end = text.rfind(f"\n{_END}")
    start = begin + len(_BEGIN) + 1
    if not text.startswith(f"{_BEGIN}\n", begin) or end < start - 1:
        return None
    status = text[end + 1 + len(_END) :].partition("\n")[0]
    return (text[start : max(start, end)], int(status)) if _STATUS.fullmatch(status) else None
