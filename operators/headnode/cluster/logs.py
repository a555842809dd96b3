"""Reading what jobs write: their logs by byte offset, all in one round trip, and their results."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from headnode.cluster.procedures import Procedure, ask, shell
from headnode.errors import CommandRefused, JobFailed, UnreadableAnswer

MAX_LOG_BYTES_PER_READ: Final = 128 * 1024
MAX_RESULT_BYTES: Final = 256 * 1024


@dataclass(frozen=True, kw_only=True)
class LogPosition:
    """Where to read on in a job's log. ``offset`` None is: where the last reader stopped, as the host remembers."""

    directory: str
    offset: int | None = None


@dataclass(frozen=True, kw_only=True)
class LogPiece:
    """Bytes ``start`` to ``start + len(data)`` of a log that is ``size`` bytes long."""

    start: int
    size: int
    data: bytes

    @property
    def end(self) -> int:
        """The offset to read on from."""
        return self.start + len(self.data)


_READ: Final = r"""
read_piece() {
  file=$1/output.log
  if [ "$2" = resume ]; then start=$(cat "$1/log_offset" 2>/dev/null || echo 0); else start=$2; fi
  case "$start" in ''|*[!0-9]*) start=0;; esac
  [ "$2" = resume ] || printf '%s\n' "$start" > "$1/log_offset"
  if [ -f "$file" ]; then size=$(stat -c %s "$file"); else size=0; fi
  printf '%s %s ' "$start" "$size"
  if [ "$size" -gt "$start" ]; then tail -c +$((start + 1)) "$file" | head -c MAXIMUM | base64 -w0; fi
  printf '\n'
}
""".replace("MAXIMUM", str(MAX_LOG_BYTES_PER_READ))


def read_logs(positions: Sequence[LogPosition]) -> Procedure[list[LogPiece]]:
    """Return the next piece of each log, in the order of ``positions``.

    Raises:
        UnreadableAnswer: the answer was cut.
    """
    calls = [
        f"read_piece {shlex.quote(at.directory)} {'resume' if at.offset is None else at.offset}" for at in positions
    ]
    output = yield from ask(shell(_READ + "\n".join(calls), purpose="reading logs"))
    lines = [line for line in output.stdout.split("\n") if line]
    if len(lines) != len(positions):
        raise UnreadableAnswer(f"reading logs: {len(lines)} pieces came for {len(positions)} logs")
    return [_parse_piece(line) for line in lines]


def _parse_piece(line: str) -> LogPiece:
    try:
        start, size, data = line.split(" ")
        return LogPiece(start=int(start), size=int(size), data=base64.b64decode(data, validate=True))
    except ValueError as error:
        raise UnreadableAnswer(f"reading logs: {line[:100]!r} is no piece of a log: {error}") from error


def read_result(directory: str, *, is_array: bool) -> Procedure[Any]:
    """Return what the job wrote as JSON to ``$HEADNODE_RESULT``, None if nothing; of an array a list in element order.

    Raises:
        JobFailed: the result is too large or no JSON.
        CommandRefused: the files can't be read.
    """
    pattern = "result.*.json" if is_array else "result.json"
    body = (
        f"cd {shlex.quote(directory)} || return 1\ntotal=0\nfor file in {pattern}; do\n"
        '  [ -f "$file" ] || continue\n  size=$(stat -c %s "$file") || return 1\n  total=$((total + size))\n'
        f'  if [ $total -gt {MAX_RESULT_BYTES} ]; then printf "large %s\\n" "$total"; return 0; fi\n'
        '  printf "%s %s\\n" "$file" "$(base64 -w0 < "$file")"\ndone'
    )
    output = yield from ask(shell(body, purpose="reading the job's result"))
    if output.status != 0:
        raise CommandRefused(f"the job's result in {directory} can't be read: {output.stderr.strip()[-300:]}")
    found: dict[int, Any] = {}
    for name, _, content in (line.partition(" ") for line in output.stdout.split("\n") if line):
        if name == "large":
            raise JobFailed(
                f"the job's result is {content} bytes long, and more than {MAX_RESULT_BYTES} don't go into an XCom:"
                " write a file on the cluster and put its path into $HEADNODE_RESULT"
            )
        element = name.removeprefix("result.").removesuffix("json").rstrip(".")
        if element and not (element.isascii() and element.isdigit()):
            continue  # a file of the job's own
        found[int(element or 0)] = _parse_json(base64.b64decode(content), f"{directory}/{name}")
    if is_array:
        return [found[element] for element in sorted(found)] or None
    return found.get(0)


def _parse_json(content: bytes, path: str) -> Any:
    try:
        return json.loads(content)
    except ValueError as error:
        raise JobFailed(f"the job's result in {path} is no JSON: {error}") from error
