"""A script that runs on the login host itself, detached from whoever started it, and its log by byte offset."""

from __future__ import annotations

import base64
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from headnode.cluster.procedures import Procedure, ask, shell
from headnode.errors import CommandRefused, UnreadableAnswer

LOG_BYTES_PER_READ: Final = 128 * 1024

# A host that answers for another one (they take turns behind one name) can't tell whether a process of it lives.
_START: Final = r"""
umask 077
mkdir -p "$run" || { echo "unwritable $run"; return 0; }
if [ -s "$run/process" ] && [ ! -s "$run/end" ]; then
  read -r process host < "$run/process"
  if [ "$host" = "$(uname -n)" ] && kill -0 "$process" 2>/dev/null; then echo "goes-on $process"; return 0; fi
fi
rm -f "$run/end" "$run/process" "$run/result"
: > "$run/log"
write_files || { echo "unwritable $run"; return 0; }
cd "$run" || return 1
setsid nohup bash -c 'bash -l "$0/script.sh"; echo $? > "$0/end.new"; mv "$0/end.new" "$0/end"' "$run" \
  >"$run/log" 2>&1 </dev/null &
printf '%s %s\n' $! "$(uname -n)" > "$run/process"
echo "started $!"
"""
_FOLLOW: Final = r"""
read -r process host < "$run/process" || { echo "unknown"; return 0; }
if [ -s "$run/end" ]; then echo "ended $(cat "$run/end")"
elif [ "$host" != "$(uname -n)" ] || kill -0 "$process" 2>/dev/null; then echo "runs"
else sleep 1; if [ -s "$run/end" ]; then echo "ended $(cat "$run/end")"; else echo "killed"; fi
fi
head -c 4096 "$run/result" 2>/dev/null | base64 -w0; echo
tail -c "+$((offset + 1))" "$run/log" | head -c "$bytes" | base64 -w0
"""
_STOP: Final = r"""
read -r process host < "$run/process" 2>/dev/null || return 0
if [ ! -s "$run/end" ] && [ "$host" = "$(uname -n)" ]; then kill -TERM -- "-$process" 2>/dev/null || :; fi
"""


@dataclass(frozen=True, kw_only=True)
class LoginRun:
    """Where a script runs: the folder ``<work_directory>/environments/on-login-host/runs/<name>``.

    It is as deep below the work directory as a job's own is, so that one finds the other's environments.
    """

    work_directory: str
    name: str

    def __post_init__(self) -> None:
        """Refuse a name that would lead elsewhere. Raises ValueError."""
        if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", self.name):
            raise ValueError(f"{self.name!r} must consist of letters, digits and dashes")

    def shell_variables(self) -> str:
        """Return the lines that set ``run`` in a remote script."""
        return (
            f"root={shlex.quote(self.work_directory)}\n"
            'case "$root" in "~/"*) root=$HOME/${root#"~/"};; esac\n'
            f"run=$root/environments/on-login-host/runs/{self.name}"
        )


@dataclass(frozen=True, kw_only=True)
class RunSeen:
    """How far it is: ``exit_code`` is None while it runs, and -1 where it was killed.

    ``result`` is what it has written to ``$HEADNODE_RESULT``, up to 4 KiB.
    """

    exit_code: int | None
    result: str
    log: bytes


def start_run(run: LoginRun, *, script: str, files: Mapping[str, bytes]) -> Procedure[bool]:
    """Start the script, or find that it still goes on; return whether it was started now.

    It finds its folder, with ``files`` in it, as ``$HEADNODE_DIRECTORY``, and may write to ``$HEADNODE_RESULT``.

    Raises:
        CommandRefused: the folder can't be written to.
    """
    own = f'export HEADNODE_DIRECTORY="$PWD" HEADNODE_RESULT="$PWD/result"\n{script}\n'
    writing = [
        f'  printf %s {base64.b64encode(content).decode()} | base64 -d > "$run"/{shlex.quote(name)} || return 1'
        for name, content in {**files, "script.sh": own.encode()}.items()
    ]
    body = "\n".join([run.shell_variables(), "write_files() {", *writing, "}", _START.strip("\n")])
    output = yield from ask(shell(body, purpose="starting a build on the login host"))
    word, _, rest = output.stdout.strip().partition(" ")
    if word == "unwritable":
        raise CommandRefused(f"starting a build on the login host: {rest} can't be written to: {output.stderr.strip()}")
    if word not in ("started", "goes-on"):
        raise UnreadableAnswer(f"starting a build on the login host: the host said {output.stdout.strip()[-300:]!r}")
    return word == "started"


def follow_run(run: LoginRun, *, offset: int) -> Procedure[RunSeen]:
    """Return how far it is, and what its log has after ``offset`` bytes.

    Raises:
        UnreadableAnswer: the answer is not whole, or the run's folder is gone.
    """
    body = "\n".join([run.shell_variables(), f"offset={offset} bytes={LOG_BYTES_PER_READ}", _FOLLOW.strip("\n")])
    output = yield from ask(shell(body, purpose="reading the log of a build on the login host"))
    state, result, log = [*output.stdout.split("\n"), "", ""][:3]
    found = re.fullmatch(r"(runs|killed|ended ([0-9]{1,3}))", state)
    if not found:
        raise UnreadableAnswer(f"reading the log of a build on the login host: the host said {state[-300:]!r}")
    try:
        decoded = base64.b64decode(result, validate=True), base64.b64decode(log, validate=True)
    except ValueError as error:
        raise UnreadableAnswer(f"reading the log of a build on the login host: it arrived damaged ({error})") from error
    codes = {"runs": None, "killed": -1}
    code = codes[state] if state in codes else int(found[2])
    return RunSeen(exit_code=code, result=decoded[0].decode("utf-8", "replace"), log=decoded[1])


def stop_run(run: LoginRun) -> Procedure[None]:
    """End it, where it runs on the host that answers."""
    yield from ask(shell(f"{run.shell_variables()}\n{_STOP}", purpose="ending a build on the login host"))


def remove_run(run: LoginRun) -> Procedure[None]:
    """Remove the folder of a run that has ended; what it has built is elsewhere."""
    yield from ask(
        shell(f'{run.shell_variables()}\nrm -rf "$run"', purpose="removing a build's folder on the login host")
    )
