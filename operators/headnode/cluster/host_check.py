"""What a login host is like for headnode: its start-up files, Slurm's commands, its clock, the work directory.

The host is looked at by one script, which changes nothing but the work directory: that is made where it is missing,
and a file is written, locked and removed in it.
"""

from __future__ import annotations

import base64
import math
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from headnode.cluster.findings import Finding, warning, wrong
from headnode.cluster.procedures import Procedure, ask, shell
from headnode.errors import UnreadableAnswer
from headnode.ssh.port import Command

COMMANDS: Final = "Slurm's commands"
WORK_DIRECTORY: Final = "Work directory"
_NEEDED: Final = ("sbatch", "squeue", "scontrol", "scancel", "sacct")
_WANTED: Final = ("sinfo",)
# Where sites and vendors (Bright, AWS ParallelCluster, OpenHPC, Cray) put them.
_LIKELY_PLACES: Final = (
    "/opt/slurm/bin",
    "/opt/slurm/current/bin",
    "/opt/slurm/default/bin",
    "/usr/local/slurm/bin",
    "/usr/local/bin",
    "/usr/slurm/bin",
    "/cm/shared/apps/slurm/current/bin",
    "/cm/local/apps/slurm/current/bin",
)
_CLOCK_SECONDS: Final = 30.0  # of one-time codes, which are the first to suffer
_SCARCE_KIBIBYTES: Final = 100 * 1024
_SCARCE_INODES: Final = 1000
_LOOK: Final = r"""
say() { printf '%s %s\n' "$1" "$(printf %s "$2" | base64 -w0)"; }
say clock "$(date +%s)"
say user "$(id -un)"
say shell "$SHELL"
say path "$PATH"
for name in $commands; do say "$name" "$(command -v "$name")"; done
if ! command -v sbatch >/dev/null; then
  login=$(timeout 15 "${SHELL:-/bin/bash}" -lc 'command -v sbatch' 2>/dev/null | grep '^/' | tail -n 1)
  for place in ${login:+"${login%/sbatch}"} $places; do
    if [ -x "$place/sbatch" ]; then say found "$place"; break; fi
  done
fi
export LC_ALL=C
case "$root" in "~/"*) root=$HOME/${root#"~/"};; esac
say root "$root"
error=$(umask 077; mkdir -p "$root" 2>&1) || { say refused "$error"; return 0; }
say mode "$(stat -c '%A' "$root")"
say filesystem "$(stat -f -c %T "$root")"
say space "$(df -Pk "$root" | tail -n 1)"
say inodes "$(df -Pi "$root" | tail -n 1)"
probe=$(mktemp -d "$root/.check-XXXXXX" 2>&1) || { say refused "$probe"; return 0; }
error=$(dd if=/dev/urandom of="$probe/file" bs=65536 count=16 conv=fsync 2>&1) || say refused "$error"
error=$( { flock -n 9; } 9>"$probe/lock" 2>&1 ) || say lockless "${error:-flock ended with an error}"
rm -rf "$probe"
"""


@dataclass(frozen=True, kw_only=True)
class HostSeen:
    """What the script said, by its words, and what start-up files printed before it."""

    said: Mapping[str, str]
    noise: str = ""

    @property
    def slurm_directory(self) -> str | None:
        """Where Slurm's commands are, though not in PATH."""
        return self.said.get("found")


def look_at_host(work_directory: str) -> Procedure[HostSeen]:
    """Return what the login host is like.

    Raises:
        UnreadableAnswer: the answer was cut.
    """
    body = "\n".join(
        [
            f"commands={shlex.quote(' '.join((*_NEEDED, *_WANTED)))} places={shlex.quote(' '.join(_LIKELY_PLACES))}",
            f"root={shlex.quote(work_directory)}",
            _LOOK.strip("\n"),
        ]
    )
    command: Command = shell(body, purpose="looking at the host")
    output = yield from ask(command)
    return HostSeen(said=read_words(output.stdout), noise=output.noise)


def read_words(stdout: str) -> dict[str, str]:
    """Return the script's answer: on each line a word and a text in base64.

    Raises:
        UnreadableAnswer: a line is of another form.
    """
    said = {}
    for line in filter(None, stdout.split("\n")):
        word, _, text = line.partition(" ")
        try:
            said[word] = base64.b64decode(text, validate=True).decode("utf-8", "replace").rstrip("\n")
        except ValueError as error:
            raise UnreadableAnswer(f"looking at the host: the line {line[:200]!r} can't be read") from error
    return said


def judge_host(seen: HostSeen, *, clock_ahead_seconds: float) -> list[Finding]:
    """Return what to say of the host; ``clock_ahead_seconds`` is how far its clock is ahead of this machine's."""
    return [_commands(seen), *_work_directory(seen.said), _login_shell(seen), _clock(clock_ahead_seconds)]


def _commands(seen: HostSeen) -> Finding:
    said = seen.said
    missing = [name for name in _NEEDED if not said.get(name)]
    if not missing:
        absent = [name for name in _WANTED if not said.get(name)]
        place = said["sbatch"].rpartition("/")[0] or "PATH"
        if absent:
            return warning(COMMANDS, f"in {place}, without {', '.join(absent)}", "Sensors of partitions can't work")
        return Finding(what=COMMANDS, value=f"in {place}", is_detail=True)
    value = f"{', '.join(missing)} can't be found by commands over SSH, whose PATH is {said.get('path', '')}"
    if seen.slurm_directory is not None:
        return wrong(
            COMMANDS,
            f"{value}; but they are in {seen.slurm_directory}",
            f"Set the connection's slurm_path to {seen.slurm_directory}",
        )
    return wrong(
        COMMANDS,
        f"{value}, nor in the usual places",
        "Log in as usual, run `command -v sbatch` there (after `module load slurm` where the site has modules), and set"
        " the connection's slurm_path to the directory that it prints; if it prints nothing, this host is no login"
        " node of a Slurm cluster",
    )


_REFUSALS: Final = (
    (
        re.compile(r"No space left|quota exceeded|File too large", re.IGNORECASE),
        "is full",
        "Remove files there, or set the connection's work_directory to a place with room, e.g. on scratch",
    ),
    (
        re.compile(r"Read-only file system"),
        "can't be written",
        "Set the connection's work_directory to a place that login nodes may write",
    ),
    (
        re.compile(r"Permission denied|Operation not permitted"),
        "can't be written",
        "Set the connection's work_directory to a directory of your own",
    ),
)


def _work_directory(said: Mapping[str, str]) -> list[Finding]:
    root = said.get("root", "")
    if "refused" in said:
        reason = said["refused"].strip().split("\n")[0]
        for pattern, state, remedy in _REFUSALS:
            if pattern.search(reason):
                return [wrong(WORK_DIRECTORY, f"{root} {state} ({reason})", remedy)]
        return [wrong(WORK_DIRECTORY, f"{root} can't be written ({reason})", "Set the connection's work_directory")]
    if "lockless" in said:
        return [
            wrong(
                WORK_DIRECTORY,
                f"{root} has no locks ({said['lockless']}), without which a job could be submitted twice",
                "Set the connection's work_directory to a file system with flock, e.g. the home",
            )
        ]
    return [_room(root, said), *_doubts(root, said)]


def _room(root: str, said: Mapping[str, str]) -> Finding:
    kibibytes, inodes = _available(said.get("space", "")), _available(said.get("inodes", ""))
    room = "" if kibibytes is None else f", {_readable(kibibytes)} free"
    value = f"{root} can be written and locked ({said.get('filesystem', 'a file system')}{room})"
    remedy = "Remove files there, or set the connection's work_directory to a place with more room"
    if kibibytes is not None and kibibytes < _SCARCE_KIBIBYTES:
        return warning(WORK_DIRECTORY, value, remedy)
    if inodes is not None and inodes < _SCARCE_INODES and not _is_uncounted(said.get("inodes", "")):
        return warning(WORK_DIRECTORY, f"{value[:-1]}, {inodes} more files)", remedy)
    return Finding(what=WORK_DIRECTORY, value=value)


def _doubts(root: str, said: Mapping[str, str]) -> list[Finding]:
    doubts = []
    own = ("/tmp/", "/var/tmp/", "/dev/shm/")  # nosec B108  # noqa: S108 - compared with, nothing is put there
    if said.get("filesystem") in ("tmpfs", "ramfs") or root.startswith(own):
        doubts.append(
            warning(
                WORK_DIRECTORY,
                f"{root} looks like a place that each node has for itself",
                "Set the connection's work_directory to one that all nodes see, or jobs can't find their files",
            )
        )
    if "w" in said.get("mode", "")[5:]:
        doubts.append(
            warning(
                WORK_DIRECTORY,
                f"others than you may write in {root} ({said['mode']})",
                f"They could change what your jobs run: `chmod go-w {root}`",
            )
        )
    return doubts


def _available(line: str) -> int | None:
    """Return the fourth column of df's line, whose last one, the place, may hold blanks."""
    words = line.split()
    return int(words[3]) if len(words) >= 6 and re.fullmatch("[0-9]{1,18}", words[3]) else None  # noqa: PLR2004


def _is_uncounted(line: str) -> bool:
    """Whether the file system counts no inodes, as btrfs does, for which df prints zeros."""
    return line.split()[1:2] in (["0"], ["-"])


def _readable(kibibytes: float) -> str:
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        if kibibytes < 1024:  # noqa: PLR2004
            return f"{kibibytes:.0f} {unit}"
        kibibytes /= 1024
    return f"{kibibytes:.0f} PiB"


def _login_shell(seen: HostSeen) -> Finding:
    shell_name = seen.said.get("shell", "") or "the login shell"
    if not seen.noise:
        return Finding(what="Login shell", value=f"{shell_name}, prints nothing by itself", is_detail=True)
    first = seen.noise.split("\n")[0][:80]
    return warning(
        "Login shell",
        f"{shell_name} prints to the output of commands: {first!r}",
        "headnode's commands bear it, but transfers by rsync and SFTP break: begin ~/.bashrc on the cluster with"
        " `[[ $- == *i* ]] || return`, or print only where a terminal is",
    )


def _clock(ahead_seconds: float) -> Finding:
    if math.isnan(ahead_seconds):
        return warning("Clock", "unknown", "`date +%s` prints no number on the host")
    if abs(ahead_seconds) <= _CLOCK_SECONDS:
        return Finding(what="Clock", value="agrees with this machine's", is_detail=True)
    word = "ahead of" if ahead_seconds > 0 else "behind"
    return warning(
        "Clock",
        f"the host's is {abs(ahead_seconds):.0f} s {word} this machine's",
        "One-time codes and certificates depend on it: let NTP set this machine's; if it does, tell the site",
    )
