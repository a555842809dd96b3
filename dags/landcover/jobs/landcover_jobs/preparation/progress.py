"""How far a tile is: a line in the log every ten seconds."""

from __future__ import annotations

import threading
import time

from landcover_jobs.job import say

_SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Counts finished blocks and their pixels, and says how fast they come and when the last one may."""

    def __init__(self, name: str, *, blocks: int, pixels: int) -> None:
        self._name = name
        self._blocks, self._pixels = blocks, pixels  # what this job has to do
        self._blocks_done = self._pixels_done = 0
        self._began = self._said = time.monotonic()
        self._lock = threading.Lock()

    def done(self, pixels: int) -> None:
        """Note one more finished block of so many pixels; safe to call from several threads."""
        with self._lock:
            self._blocks_done += 1
            self._pixels_done += pixels
            now = time.monotonic()
            if now - self._said < _SECONDS_BETWEEN_LINES and self._blocks_done < self._blocks:
                return
            self._said = now
            say(f"{self._name}: {self.text(now - self._began)}")

    def text(self, seconds: float) -> str:
        """Return the state after so many seconds: blocks, pixels a second, and what is left."""
        speed = self._pixels_done / max(seconds, 1e-3)
        left = (self._pixels - self._pixels_done) / max(speed, 1e-3)
        state = f"{self._blocks_done} of {self._blocks} blocks, {speed:,.0f} pixels/s"
        return state if self._blocks_done == self._blocks else f"{state}, about {left:,.0f} s left"
