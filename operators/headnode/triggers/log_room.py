"""Waits until Airflow has read what triggers have logged, before more is: else a triggerer may stand still for ever.

A triggerer's runner writes its logs into a socket that its supervisor reads. While the supervisor hands over new
triggers (with ``start_from_trigger`` each brings its whole DAG) it reads nothing, and a runner that waits for room in
the full socket takes over nothing: each waits for the other (Airflow 3.3.2, ``TriggerRunnerSupervisor._handle_request``
and ``structlog.BytesLogger.msg``; met with 1000 tasks of one DAG).
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import stat
import struct
import termios
from asyncio import AbstractEventLoop
from typing import Final
from weakref import WeakKeyDictionary

import structlog

# Airflow's own lines about triggers need the rest.
_SHARE: Final = 1 / 4
_LOOK_SECONDS: Final = 0.05

# One trigger looks, the others queue behind it.
_turns: WeakKeyDictionary[AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


async def room_in_log() -> None:
    """Wait until most of the log socket is empty; return at once where logs go elsewhere."""
    if not _is_full():
        return
    async with _turns.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
        while _is_full():  # noqa: ASYNC110 - nobody tells when a socket was read
            await asyncio.sleep(_LOOK_SECONDS)


def _is_full() -> bool:
    """Whether the supervisor has left more than a share of the log socket unread."""
    descriptor = _descriptor()
    if descriptor is None:
        return False
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return False
        # SIOCOUTQ, which Linux numbers alike: what the other end has not read yet, with the kernel's own overhead.
        (unread,) = struct.unpack("i", fcntl.ioctl(descriptor, termios.TIOCOUTQ, b"\0" * 4))
        with socket.socket(fileno=os.dup(descriptor)) as end:
            room = end.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    except OSError:  # a system that can't tell, or a runner that is ending
        return False
    return bool(unread > room * _SHARE)


def _descriptor() -> int | None:
    """Return the file descriptor that logs are written to, where Airflow has given its loggers one."""
    file = getattr(structlog.get_config().get("logger_factory"), "io", None)
    try:
        return int(file.fileno()) if file is not None else None
    except (AttributeError, OSError, ValueError):
        return None
