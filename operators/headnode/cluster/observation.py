"""One look at a cluster: everything that is waited for there, asked in one command.

Its parts are answered one by one, so that a slurmctld that does not answer hides no file.
"""

from __future__ import annotations

import base64
import re
import shlex
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from headnode.cluster.conditions import (
    Condition,
    JobNamed,
    NamedJobSeen,
    NoMaintenance,
    Observation,
    PartitionFree,
    PathExists,
    PathState,
)
from headnode.cluster.procedures import Procedure, ask, shell
from headnode.errors import CommandRefused, ControllerUnavailable, HeadnodeError, PathUnreadable, UnreadableAnswer
from headnode.slurm.nodes import parse_nodes, sinfo
from headnode.slurm.reservations import SCONTROL_RESERVATIONS, parse_reservations

T = TypeVar("T")

_DONE: Final = re.compile(r"\nheadnode:done (?P<status>[0-9]{1,3}) (?P<error>[A-Za-z0-9+/=]*)\n?")
# ``ask_part`` marks where the output of a command begins and how it ended. ``look`` prints of a path its kind, size and
# time of change, and its name without ``~``. A file system that hangs must not keep back the rest of the answer.
_FUNCTIONS: Final = r"""
export SLURM_TIME_FORMAT=%s LC_ALL=C
ask_part() {
  printf 'headnode:part %s\n' "$1"; shift
  { error=$("$@" 2>&1 >&3); status=$?; } 3>&1
  printf '\nheadnode:done %s %s\n' "$status" "$(printf %s "$error" | head -c 2000 | base64 -w0)"
}
look() {
  path=$1
  case "$path" in "~") path=$HOME;; "~/"*) path=$HOME/${path#"~/"};; esac
  [ "$SECONDS" -lt PATHS_LIMIT ] || { echo 'other paths took too long' >&2; return 1; }
  timeout -s KILL PATH_LIMIT stat -L -c '%F|%s|%.9Y' -- "$path" || return
  printf %s "$path" | base64 -w0
  [ -r "$path" ] || { echo 'Permission denied' >&2; return 1; }
  [ -d "$path" ] || return 0
  echo
  timeout -s KILL PATH_LIMIT find -H "$path" -ignore_readdir_race -mindepth 1 -maxdepth 1 -printf '%s %T@\n' | awk '
    BEGIN { entries = 0; size = 0; newest = "0" }
    { entries++; size += $1; if ($2 + 0 >= newest + 0) newest = $2 }
    END { printf "%d|%.0f|%s\n", entries, size, newest }'
  return "${PIPESTATUS[0]}"
}
""".replace("PATHS_LIMIT", "60").replace("PATH_LIMIT", "20")
# So that Slurm's commands, which wait for a silent slurmctld, and paths together stay below the command's own limit.
_BOUNDED: Final = "timeout -s KILL 25"
_BOUNDED_ACCOUNTING: Final = "timeout -s KILL 60"
_NOT_THERE: Final = ("No such file or directory", "Not a directory")
_NO_ACCOUNTING: Final = ("Slurm accounting storage is disabled", "accounting_storage/none")


@dataclass(frozen=True, kw_only=True)
class _Part:
    output: str
    status: int
    error: str


def observe(conditions: Sequence[Condition]) -> Procedure[Observation]:
    """Look at what ``conditions`` ask for: paths, partitions, reservations and jobs by name, each once, in their order.

    Raises:
        UnreadableAnswer: the answer was cut.
    """
    paths = list(dict.fromkeys(each.path for each in conditions if isinstance(each, PathExists)))
    names: dict[str, set[str]] = {}
    minutes = 1.0
    for each in conditions:
        if isinstance(each, JobNamed):
            names.setdefault(each.user, set()).add(each.name)
            minutes = max(minutes, each.submitted_within_seconds / 60)
    users = sorted(names)
    lines = [f"ask_part path:{number} look {shlex.quote(path)}" for number, path in enumerate(paths)]
    lines += _slurm_lines(conditions)
    for number, user in enumerate(users):
        lines += _job_lines(number, user, names[user], minutes)
    body = "\n".join([_FUNCTIONS, "printf 'headnode:now %s\\n' \"$(date +%s)\"", *lines])
    output = yield from ask(shell(body, purpose="looking at what is waited for", timeout_seconds=240.0))
    now, parts = _split(output.stdout, expected=[line.split(" ", 2)[1] for line in lines])
    return Observation(
        now=now,
        paths={path: _or_error(_path_state, path, parts[f"path:{n}"]) for n, path in enumerate(paths)},
        nodes=_or_error(_slurm, parse_nodes, parts["nodes"]) if "nodes" in parts else (),
        reservations=_or_error(_slurm, parse_reservations, parts["reservations"]) if "reservations" in parts else (),
        jobs={user: _or_error(_jobs, user, parts[f"queue:{n}"], parts[f"past:{n}"]) for n, user in enumerate(users)},
    )


def _job_lines(number: int, user: str, names: Collection[str], minutes: float) -> list[str]:
    whose = f"--user={shlex.quote(user)}" if user else '--user="$(id -un)"'
    past = f"--starttime=now-{round(minutes) + 1}minutes --format=JobID,Submit,JobName"
    # slurmdbd's database refuses a question with characters that its own names can't hold (MariaDB's error 1267), for
    # all names that are in it. Jobs of such names are seen as long as slurmctld knows them.
    known = [name for name in names if _in_latin_1(name)]
    ask_sacct = f"{_BOUNDED_ACCOUNTING} sacct --noheader --parsable2 --allocations {whose} {_named(known)} {past}"
    ask_squeue = f"{_BOUNDED} squeue --noheader --states=all {whose} {_named(names)} '--format=%F|%V|%j'"
    return [
        f"ask_part queue:{number} {ask_squeue}",
        f"ask_part past:{number} {ask_sacct if known else 'true'}",
    ]


def _named(names: Collection[str]) -> str:
    return shlex.quote("--name=" + ",".join(sorted(names)))


def _in_latin_1(name: str) -> bool:
    return all(ord(character) < 256 for character in name)  # noqa: PLR2004 - the end of Latin-1


def _slurm_lines(conditions: Iterable[Condition]) -> list[str]:
    partitions: set[str] = set()
    reservations = False
    for each in conditions:
        if isinstance(each, PartitionFree | NoMaintenance):
            partitions |= {each.partition} if each.partition else set()
            reservations |= isinstance(each, NoMaintenance)
    lines = [f"ask_part nodes {_BOUNDED} {shlex.join(sinfo(partitions))}"] if partitions else []
    return lines + ([f"ask_part reservations {_BOUNDED} {shlex.join(SCONTROL_RESERVATIONS)}"] if reservations else [])


def _split(stdout: str, *, expected: Sequence[str]) -> tuple[int, Mapping[str, _Part]]:
    """Return the clock and the answers to the questions, which come in the order in which they were asked."""
    now = re.match(r"headnode:now ([0-9]{1,12})\n", stdout + "\n")
    if now is None:
        raise UnreadableAnswer("looking at what is waited for: the answer does not begin with the time")
    starts = [now.end() - 1]
    for name in expected:
        mark = f"\nheadnode:part {name}\n"
        starts.append(stdout.find(mark, starts[-1]))
        if starts[-1] < 0 or stdout.find(mark, starts[-1] + 1) >= 0:
            raise UnreadableAnswer(f"looking at what is waited for: there is no single answer to {name}")
    ends = [*starts[2:], len(stdout)]
    texts = (stdout[start:end] for start, end in zip(starts[1:], ends, strict=True))
    return int(now[1]), {name: _part(name, text) for name, text in zip(expected, texts, strict=True)}


def _part(name: str, text: str) -> _Part:
    _, _, answer = text[1:].partition("\n")
    at = f"\n{answer}".rfind("\nheadnode:done ")
    done = _DONE.fullmatch(f"\n{answer}", at) if at >= 0 else None
    try:
        said = base64.b64decode(done["error"], validate=True).decode("utf-8", "replace") if done is not None else ""
    except ValueError as error:
        raise UnreadableAnswer(f"looking at what is waited for: the answer to {name} is damaged: {error}") from error
    if done is None:
        raise UnreadableAnswer(f"looking at what is waited for: the answer to {name} does not end as it must")
    return _Part(output=answer[: max(0, at - 1)], status=int(done["status"]), error=said.strip())


def _or_error(read: Callable[..., T], *arguments: object) -> T | HeadnodeError:
    try:
        return read(*arguments)
    except HeadnodeError as error:
        return error


def _slurm(parse: Callable[[str], T], part: _Part) -> T:
    if part.status != 0:
        raise ControllerUnavailable(f"Slurm does not answer: {part.error or f'it was ended with status {part.status}'}")
    return parse(part.output)


def _path_state(path: str, part: _Part) -> PathState | None:
    if part.status != 0:
        if not part.output and part.error.endswith(_NOT_THERE):
            return None
        why = part.error or f"stat was ended with status {part.status}, as when a file system hangs"
        raise PathUnreadable(f"{path} can't be looked at: {why}")
    lines = part.output.split("\n")
    try:
        kind, size, mtime = lines[0].split("|")
        full = base64.b64decode(lines[1], validate=True).decode("utf-8", "replace")
        if kind != "directory":
            return PathState(path=full, size=int(size), mtime=_seconds(mtime))
        entries, size, newest = lines[2].split("|")
        changed = max(_seconds(mtime), _seconds(newest), key=float)
        return PathState(path=full, size=int(size), mtime=changed, entries=int(entries))
    except (ValueError, IndexError) as error:
        raise UnreadableAnswer(f"what stat says of {path} can't be read: {part.output[:200]!r}") from error


def _seconds(text: str) -> str:
    if not re.fullmatch(r"-?[0-9]{1,11}(\.[0-9]{1,10})?", text):
        raise ValueError(text)
    return text


def _jobs(user: str, queue: _Part, past: _Part) -> list[NamedJobSeen]:
    for part in (queue, past):
        if "Invalid user" in part.error:
            raise CommandRefused(f"the cluster knows no user {user!r}: {part.error}")
    rows = _slurm(_lines, queue)
    if not any(mark in past.error for mark in _NO_ACCOUNTING):
        rows = rows + _slurm(_lines, past)
    return [_job(row) for row in rows if row]


def _lines(text: str) -> list[str]:
    return text.split("\n")


def _job(row: str) -> NamedJobSeen:
    match = re.fullmatch(r"(?P<id>[0-9]{1,10})(?:[_+][^|]*)?\|(?P<submitted>[0-9]{1,12})\|(?P<name>.*)", row)
    if match is None:
        raise UnreadableAnswer(f"the line {row[:200]!r} about a job has not the form that was asked for")
    return NamedJobSeen(job_id=match["id"], name=match["name"], submitted_at=int(match["submitted"]))
