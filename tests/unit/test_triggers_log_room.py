"""Triggers wait while nobody reads what they have logged: in a triggerer both sides would wait for each other."""

import asyncio
import contextlib
import socket

import pytest
import structlog
from airflow.sdk.log import configure_logging, reset_logging

from headnode.triggers.log_room import room_in_log


@pytest.fixture
def supervisor():
    """Let loggers write into a socket, as a triggerer's runner does, and return the end that its supervisor reads."""
    before = structlog.get_config()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        reset_logging()
        configure_logging(json_output=True, output=theirs.makefile("wb", buffering=0), sending_to_supervisor=True)
        try:
            yield ours
        finally:
            reset_logging()
            structlog.configure(**before)


def log_until_full():
    """Log as many lines as fill half of the socket."""
    log = structlog.get_logger()
    for _ in range(60):
        log.info("x" * 1000)


def read_all(end):
    """Read what is there."""
    end.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while end.recv(1 << 20):
            pass


def waits(seconds=0.3):
    """Tell whether a trigger would wait, looking for so long."""

    async def look():
        await asyncio.wait_for(room_in_log(), seconds)

    try:
        asyncio.run(look())
    except TimeoutError:
        return True
    return False


def test_they_wait_until_the_logs_are_read(supervisor):
    """Not where there is little, and no longer once it is read."""
    structlog.get_logger().info("a line")
    assert not waits()
    log_until_full()
    assert waits()
    read_all(supervisor)
    assert not waits()


def test_all_that_wait_go_on(supervisor):
    """One looks, the others queue behind it; a cancelled one takes nobody with it."""

    async def go():
        log_until_full()
        waiting = [asyncio.create_task(room_in_log()) for _ in range(20)]
        await asyncio.sleep(0.2)
        assert not any(task.done() for task in waiting)
        waiting[0].cancel()
        await asyncio.to_thread(read_all, supervisor)
        return await asyncio.gather(*waiting, return_exceptions=True)

    first, *others = asyncio.run(go())
    assert isinstance(first, asyncio.CancelledError)
    assert others == [None] * 19


def test_other_logs_are_not_waited_for(tmp_path):
    """A file, or a terminal, is never full."""
    before = structlog.get_config()
    with (tmp_path / "log").open("wb") as file:
        reset_logging()
        configure_logging(json_output=True, output=file, sending_to_supervisor=True)
        try:
            log_until_full()
            assert not waits()
        finally:
            reset_logging()
            structlog.configure(**before)
    structlog.reset_defaults()
    try:
        assert not waits()
    finally:
        structlog.configure(**before)
