"""Ctrl-C at the right moment: what must not be torn apart is done to its end before a program is interrupted."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, Final, Self

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """While it is entered, Ctrl-C and SIGTERM raise ``KeyboardInterrupt``: at once, but within ``held`` after its end.

    A second one is never held. Outside of the main thread signals stay as they are.
    """

    def __init__(self) -> None:
        self._seen = 0
        self._holding = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {each: signal.signal(each, self._interrupt) for each in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Let a first signal wait until the block has ended."""
        seen, self._holding = self._seen, True
        try:
            yield
        finally:
            self._holding = False
        if self._seen > seen:
            raise KeyboardInterrupt

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        self._seen += 1
        if not self._holding or self._seen > 1:
            raise KeyboardInterrupt
