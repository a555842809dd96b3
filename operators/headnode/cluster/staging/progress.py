"""How far a transfer is, in words for the task's log; the clock is an argument."""

from __future__ import annotations

from typing import Final

REPORT_SECONDS: Final = 10.0
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def render_bytes(count: float) -> str:
    """Return a size for people, e.g. ``1.5 GiB``."""
    power = 0
    while abs(count) >= 1000 and power < len(_UNITS) - 1:  # noqa: PLR2004 - at most three digits
        count, power = count / 1024, power + 1
    return f"{count:.0f} {_UNITS[0]}" if power == 0 else f"{count:.1f} {_UNITS[power]}"


def render_seconds(seconds: float) -> str:
    """Return a time for people, e.g. ``2:05:00`` or ``0:07``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Progress:
    """Counts what arrived of one transfer, and says so no more often than every ``REPORT_SECONDS``."""

    def __init__(self, *, total_bytes: int, total_files: int, began: float) -> None:
        self.total_bytes = total_bytes
        self.total_files = total_files
        self.sent_bytes = 0
        self.sent_files = 0
        self._began = began
        self._said = began

    def advance(self, *, sent_bytes: int, sent_files: int = 0, now: float) -> str | None:
        """Count more bytes and files; return a line where it is time for one."""
        return self.reached(sent_bytes=self.sent_bytes + sent_bytes, sent_files=self.sent_files + sent_files, now=now)

    def reached(self, *, sent_bytes: int, sent_files: int, now: float) -> str | None:
        """Set the counts; return a line where it is time for one."""
        self.sent_bytes, self.sent_files = sent_bytes, sent_files
        if now - self._said < REPORT_SECONDS:
            return None
        self._said = now
        return self.line(now)

    def line(self, now: float) -> str:
        """Return bytes, files, rate and what remains."""
        seconds = max(now - self._began, 1e-3)
        rate = self.sent_bytes / seconds
        text = (
            f"{render_bytes(self.sent_bytes)} of {render_bytes(self.total_bytes)},"
            f" {self.sent_files} of {self.total_files} files, {render_bytes(rate)}/s"
        )
        left = self.total_bytes - self.sent_bytes
        return f"{text}, {render_seconds(left / rate)} left" if left > 0 and rate > 0 else text
