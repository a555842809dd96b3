"""Reading what the elements of arrays write: their results, and the ends of their logs, of thousands in one command."""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from headnode.cluster.logs import MAX_RESULT_BYTES, decode_base64, parse_count, parse_result
from headnode.cluster.procedures import Procedure, ask, shell
from headnode.errors import CommandRefused, JobFailed, UnreadableAnswer

_FIND: Final = "find . -maxdepth 1 -type f -name 'result.[0-9]*.json'"
# A handful of processes for each directory, whatever the number of files in it. grep puts the file's name before each
# line; an empty file has none, so sizes are listed as well.
_READ_RESULTS: Final = rf"""
total=0
for directory in "${{directories[@]}}"; do
  cd "$directory" || return 1
  bytes=$({_FIND} -printf '%s\n' | awk '{{ sum += $1 }} END {{ printf "%.0f\n", sum }}') || return 1
  total=$((total + bytes))
done
if [ $total -gt {MAX_RESULT_BYTES} ]; then printf 'large %s\n' "$total"; return 0; fi
number=0
for directory in "${{directories[@]}}"; do
  cd "$directory" || return 1
  {_FIND} -printf '%f\n' | sed "s/^/file $number /"
  {_FIND} -printf '%f\0' | LC_ALL=C xargs -0 -r grep -aH '' -- | sed "s/^/text $number /"
  number=$((number + 1))
done
"""
_FILE: Final = re.compile(r"file (?P<at>[0-9]{1,9}) result\.(?P<element>[0-9]{1,9})\.json")
_TEXT: Final = re.compile(r"text (?P<at>[0-9]{1,9}) result\.(?P<element>[0-9]{1,9})\.json:(?P<line>.*)", re.DOTALL)
_FAULTS_SHOWN: Final = 5

# As in ``logs``, one process looks at all files, and only those that hold something cost more.
_READ_ENDS: Final = r"""
declare -A sizes
while read -r bytes name; do sizes[$name]=$bytes; done < <(stat -c '%s %n' "${files[@]}" 2>/dev/null)
for file in "${files[@]}"; do
  bytes=${sizes[$file]:-0}
  printf '%s ' "$bytes"
  [ "$bytes" -eq 0 ] || tail -c "$longest" -- "$file" | base64 -w0
  printf '\n'
done
"""


@dataclass(frozen=True, kw_only=True)
class LogEnd:
    """The last bytes of a log that is ``size`` bytes long."""

    size: int
    data: bytes

    @property
    def is_whole(self) -> bool:
        """Whether nothing was left out."""
        return len(self.data) >= self.size


def read_element_results(directories: Sequence[str]) -> Procedure[list[dict[int, Any]]]:
    """Return what elements wrote as JSON to ``$HEADNODE_RESULT``, by their numbers, for each job directory.

    Raises:
        JobFailed: the results are too large in all, or one is no JSON.
        CommandRefused: the files can't be read.
        UnreadableAnswer: the answer has not the form that was asked for.
    """
    body = f"directories=({shlex.join(directories)})\n{_READ_RESULTS}"
    output = yield from ask(shell(body, purpose="reading the elements' results", timeout_seconds=120.0))
    if output.status != 0:
        raise CommandRefused(f"the elements' results can't be read: {output.stderr.strip()[-300:]}")
    if (large := re.fullmatch(r"large ([0-9]+)", output.stdout.strip())) is not None:
        raise JobFailed(
            f"the elements' results are {large[1]} bytes long in all, and more than {MAX_RESULT_BYTES} don't go into"
            " an XCom: let each element write a file on the cluster, and put its path (or nothing) into"
            " $HEADNODE_RESULT"
        )
    return _parse_results(output.stdout, directories)


def _parse_results(stdout: str, directories: Sequence[str]) -> list[dict[int, Any]]:
    texts: list[defaultdict[int, list[str]]] = [defaultdict(list) for _ in directories]
    for line in filter(None, stdout.split("\n")):
        match = _FILE.fullmatch(line) or _TEXT.fullmatch(line)
        if match is None:
            if line.startswith("file "):
                continue  # a file of the job's own
            raise UnreadableAnswer(f"reading the elements' results: {line[:200]!r} has not the form that was asked for")
        if int(match["at"]) >= len(texts):
            raise UnreadableAnswer(
                f"reading the elements' results: {line[:200]!r} is of a directory that was not asked"
            )
        found = texts[int(match["at"])][int(match["element"])]
        if line.startswith("text "):
            found.append(match["line"])
    results: list[dict[int, Any]] = [{} for _ in directories]
    faults = []
    for at, by_element in enumerate(texts):
        for element, lines in by_element.items():
            try:
                results[at][element] = parse_result("\n".join(lines), f"{directories[at]}/result.{element}.json")
            except JobFailed as error:
                faults.append(str(error))
    if faults:
        more = f" (and {len(faults) - _FAULTS_SHOWN} more)" if len(faults) > _FAULTS_SHOWN else ""
        raise JobFailed(f"the results of elements can't be read: {'; '.join(faults[:_FAULTS_SHOWN])}{more}")
    return results


def read_log_ends(paths: Sequence[str], *, max_bytes: int) -> Procedure[list[LogEnd]]:
    """Return the last ``max_bytes`` of each file, in the order of ``paths``; a missing file is empty.

    Raises:
        UnreadableAnswer: the answer was cut.
    """
    body = f"files=({shlex.join(paths)})\nlongest={max_bytes}\n{_READ_ENDS}"
    output = yield from ask(shell(body, purpose="reading the elements' logs", timeout_seconds=120.0))
    lines = [line for line in output.stdout.split("\n") if line]
    if len(lines) != len(paths):
        raise UnreadableAnswer(f"reading the elements' logs: {len(lines)} lines came for {len(paths)} files")
    return [_parse_end(line) for line in lines]


def _parse_end(line: str) -> LogEnd:
    try:
        size, data = line.split(" ")
        return LogEnd(size=parse_count(size), data=decode_base64(data))
    except ValueError as error:
        raise UnreadableAnswer(f"reading the elements' logs: {line[:100]!r} is no end of a log: {error}") from error
