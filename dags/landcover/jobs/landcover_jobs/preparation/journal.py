"""Which blocks of a tile are finished: a line of JSON for each, so that a killed job goes on where it was."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from landcover_jobs.preparation.block import Summary


class Journal:
    """Finished blocks, by their number in the order of `Frame.blocks`, and what was noted of each.

    A line is written once its block is on disk. What follows a line that is torn, by a kill or a node that went down,
    counts for nothing: those blocks are done again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.finished: dict[int, Summary] = {}
        self._lock = threading.Lock()
        self._file: TextIO | None = None

    def __enter__(self) -> Self:
        """Read what an earlier job finished, and open the file for more."""
        if self.path.is_file():
            os.truncate(self.path, self._read())
        self._file = self.path.open("a", encoding="utf-8")
        return self

    def _read(self) -> int:
        """Take in the blocks of all whole lines and return how many bytes these are."""
        whole = 0
        for line in self.path.read_bytes().splitlines(keepends=True):
            try:
                noted = json.loads(line)
                summary = Summary.from_dict(noted["summary"])
            except (ValueError, KeyError, TypeError):
                break
            if not line.endswith(b"\n"):
                break
            self.finished[int(noted["block"])] = summary
            whole += len(line)
        return whole

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file, which stays."""
        if self._file is not None:
            self._file.close()

    def add(self, block: int, summary: Summary) -> None:
        """Note a finished block; safe to call from several threads."""
        assert self._file is not None  # noqa: S101 - it is open between enter and exit
        line = json.dumps({"block": block, "summary": summary.as_dict()}) + "\n"
        with self._lock:
            self._file.write(line)
            self._file.flush()
            os.fsync(self._file.fileno())
            self.finished[block] = summary

    def clear(self) -> None:
        """Forget all blocks: what they were written to is gone."""
        assert self._file is not None  # noqa: S101 - it is open between enter and exit
        self._file.truncate(0)
        self.finished.clear()

    def whole(self, blocks: int) -> Summary:
        """Return what is noted of all blocks together, always added up in the same order."""
        total = self.finished[0]
        for number in range(1, blocks):
            total = total.merged(self.finished[number])
        return total
