"""Reading what jobs write: their logs by byte offset, all in one round trip, and their results."""

from __future__ import annotations

import base64
import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from headnode.cluster.procedures import Procedure, ask, shell
from headnode.errors import CommandRefused, JobFailed, UnreadableAnswer
from headnode.slurm.end_markers import MARKER_NAME

MAX_LOG_BYTES_PER_READ: Final = 128 * 1024
MAX_RESULT_BYTES: Final = 256 * 1024
STREAMS: Final[tuple[Literal["stdout", "stderr"], ...]] = ("stdout", "stderr")
LOG_NAMES: Final = ("output.log", "error.log")
RESULT_NAME: Final = "result.json"
_RESULT_NAME: Final = re.compile(r"result\.(?:(?P<element>[0-9]{1,9})\.)?json")


@dataclass(frozen=True, kw_only=True)
class LogPosition:
    """Where to read on in a file on the cluster; ``offset`` is in bytes."""

    path: str
    offset: int


@dataclass(frozen=True, kw_only=True)
class LogPiece:
    """Bytes ``start`` to ``start + len(data)`` of a log that is ``size`` bytes long."""

    start: int
    size: int
    data: bytes
    stream: Literal["stdout", "stderr"] = "stdout"

    @property
    def end(self) -> int:
        """The offset to read on from."""
        return self.start + len(self.data)


@dataclass(frozen=True, kw_only=True)
class FollowedLogs:
    """A job's two logs. ``offsets`` None is: where the last reader stopped, as the host remembers.

    ``remember`` has the host remember them, which is needed only where they have changed.
    """

    directory: str
    offsets: tuple[int, int] | None = None
    remember: bool = True


@dataclass(frozen=True, kw_only=True)
class LogsSeen:
    """The next pieces of a job's logs; ``script_over`` tells that its script has come to its end.

    ``no_result`` is that it came to its end and left no result; False is unknown, too.
    """

    pieces: tuple[LogPiece, LogPiece]
    script_over: bool
    no_result: bool


_NOT_OVER: Final = "-"
_OVER: Final = "over"
_NO_RESULT: Final = "over-without-result"
# One process (stat) looks at all files; only a file that has grown costs more.
_READ: Final = (
    r"""
declare -A sizes
while read -r bytes name; do sizes[$name]=$bytes; done < <(stat -c '%s %n' "${files[@]}" 2>/dev/null)
piece() {
  local bytes=${sizes[$1]:-0}
  printf '%s %s ' "$2" "$bytes"
  if [ "$bytes" -gt "$2" ]; then tail -c +$(($2 + 1)) "$1" | head -c MAXIMUM | base64 -w0; fi
  printf '\n'
}
number() { case "$1" in ''|*[!0-9]*) echo 0;; *) echo "$1";; esac; }
logs() {
  local out=$2 err=$3
  if [ "$out" = resume ]; then
    out= err=
    [ ! -s "$1/log_offset" ] || read -r out err < "$1/log_offset"
    out=$(number "$out") err=$(number "$err")
  elif [ "$4" = remember ]; then printf '%s %s\n' "$out" "$err" > "$1/log_offset"; fi
  if [ ! -s "$1/END" ]; then echo -
  elif [ "${sizes[$1/RESULT]+there}" ]; then echo over
  else echo over-without-result; fi
  piece "$1/output.log" "$out"
  piece "$1/error.log" "$err"
}
""".replace("MAXIMUM", str(MAX_LOG_BYTES_PER_READ))
    .replace("END", MARKER_NAME)
    .replace("RESULT", RESULT_NAME)
)


def _script(files: Sequence[str], calls: Sequence[str]) -> str:
    return "\n".join([f"files=({shlex.join(files)})", _READ.strip("\n"), *calls])


def read_logs(jobs: Sequence[FollowedLogs]) -> Procedure[list[LogsSeen]]:
    """Return the next pieces of the logs of each job, in the order of ``jobs``.

    Raises:
        UnreadableAnswer: the answer was cut.
    """
    files = [f"{job.directory}/{name}" for job in jobs for name in (*LOG_NAMES, RESULT_NAME)]
    calls = []
    for job in jobs:
        out, err = job.offsets if job.offsets is not None else ("resume", "resume")
        calls.append(f"logs {shlex.quote(job.directory)} {out} {err} {'remember' if job.remember else 'keep'}")
    output = yield from ask(shell(_script(files, calls), purpose="reading logs"))
    lines = [line for line in output.stdout.split("\n") if line]
    if len(lines) != 3 * len(jobs):
        raise UnreadableAnswer(f"reading logs: {len(lines)} lines came for {len(jobs)} jobs")
    unknown = set(lines[::3]) - {_NOT_OVER, _OVER, _NO_RESULT}
    if unknown:
        raise UnreadableAnswer(f"reading logs: {min(unknown)[:100]!r} does not tell whether the script is over")
    return [
        LogsSeen(
            script_over=lines[at] != _NOT_OVER,
            no_result=lines[at] == _NO_RESULT,
            pieces=(_parse_piece(lines[at + 1], "stdout"), _parse_piece(lines[at + 2], "stderr")),
        )
        for at in range(0, len(lines), 3)
    ]


def read_pieces(positions: Sequence[LogPosition]) -> Procedure[list[LogPiece]]:
    """Return the next piece of each file, at most ``MAX_LOG_BYTES_PER_READ`` bytes; a missing file is empty.

    Raises:
        UnreadableAnswer: the answer was cut.
    """
    calls = [f"piece {shlex.quote(at.path)} {at.offset}" for at in positions]
    output = yield from ask(shell(_script([at.path for at in positions], calls), purpose="reading files"))
    lines = [line for line in output.stdout.split("\n") if line]
    if len(lines) != len(positions):
        raise UnreadableAnswer(f"reading files: {len(lines)} pieces came for {len(positions)} files")
    return [_parse_piece(line, "stdout") for line in lines]


def _parse_piece(line: str, stream: Literal["stdout", "stderr"]) -> LogPiece:
    try:
        start, size, data = line.split(" ")
        return LogPiece(start=parse_count(start), size=parse_count(size), data=decode_base64(data), stream=stream)
    except ValueError as error:
        raise UnreadableAnswer(f"reading logs: {line[:100]!r} is no piece of a log: {error}") from error


def decode_base64(text: str) -> bytes:
    """Return the bytes that ``base64 -w0`` printed as ``text``.

    Raises:
        ValueError: it is something else.
    """
    return base64.b64decode(text, validate=True)


def parse_count(text: str) -> int:
    """Return a number of bytes.

    Raises:
        ValueError: it is something else.
    """
    if not re.fullmatch("[0-9]{1,18}", text):
        raise ValueError(f"{text[:100]!r} is no number of bytes")
    return int(text)


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
        if name == "large" and content.isdigit():
            raise JobFailed(
                f"the job's result is {content} bytes long, and more than {MAX_RESULT_BYTES} don't go into an XCom:"
                " write a file on the cluster and put its path into $HEADNODE_RESULT"
            )
        match = _RESULT_NAME.fullmatch(name)
        if match is None:
            if name.startswith("result."):
                continue  # a file of the job's own
            raise UnreadableAnswer(f"reading the job's result: {name[:100]!r} is no result's name")
        found[int(match["element"] or 0)] = parse_result(_bytes_of(content, name), f"{directory}/{name}")
    if is_array:
        return [found[element] for element in sorted(found)] or None
    return found.get(0)


def _bytes_of(content: str, name: str) -> bytes:
    try:
        return decode_base64(content)
    except ValueError as error:
        raise UnreadableAnswer(f"reading the job's result: {name} arrived damaged ({error})") from error


def _integer(text: str) -> int:
    number = int(text)
    if not -(2**63) <= number < 2**64:
        raise ValueError(f"the number {text[:30]} has more than 64 bits, which Airflow can't store; write it as a text")
    return number


def parse_result(content: bytes | str, path: str) -> Any:
    """Return what a job wrote as its result, which must be JSON that can be an XCom.

    Raises:
        JobFailed: it is none.
    """
    try:
        result = json.loads(content, parse_int=_integer)
        json.dumps(result, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise JobFailed(f"the job's result in {path} holds half a character (a lone surrogate), as {error}") from error
    except (ValueError, RecursionError) as error:
        raise JobFailed(f"the job's result in {path} is no JSON: {error}") from error
    return result
