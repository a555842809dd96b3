"""What can go wrong on a cluster, to be done to a private one: each fault is a context manager.

A fault of a command puts a script in place of ``<cluster>/bin/<command>``, where SSH sessions look first; jobs and
``SlurmCluster.run`` don't see it. ``times`` limits how many calls meet the fault. What the ``with`` gives is a
``CommandFault``, which tells how many did: a test that never met its fault has tested nothing::

    with lost_answer(cluster, "sbatch") as fault:
        ...                                     # sbatch submits, and says that it timed out
    assert fault.hits() == 1

One fault at a time for each command. For connections that break see ``SshProxy``; for daemons that are away, nodes
that die and clocks that are wrong see ``SlurmCluster``.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from headnode.testing.cluster import SlurmCluster

TIMED_OUT: Final = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation"


@dataclass(frozen=True)
class CommandFault:
    """A fault that a command has at present."""

    directory: Path

    def hits(self) -> int:
        """Return how many calls have met the fault so far."""
        return sum(1 for _ in self.directory.iterdir())


# Each hit is a directory: making one is atomic, whatever runs at the same time.
_WRAPPER: Final = """\
#!/bin/sh
real() {{ {real} "$@"; }}
hits={hits}
number=1
while [ $number -le {times} ]; do
  if mkdir "$hits/$number" 2>/dev/null; then
{body}
  fi
  number=$((number + 1))
done
real "$@"
"""
_UNLIMITED: Final = 100_000


@contextlib.contextmanager
def replaced(cluster: SlurmCluster, command: str, body: str, *, times: int | None = None) -> Iterator[CommandFault]:
    """Put shell text in place of a Slurm command; in it ``real "$@"`` runs the command itself.

    ``times`` None is every call. Where the text comes to its end without ``exit``, the call goes on to the command.
    """
    hits = Path(tempfile.mkdtemp(prefix=f"{command}-", dir=_faults_directory(cluster)))
    wrapper = cluster.directory / "bin" / command
    counting = hits.with_suffix(".counting")
    shutil.copy2(wrapper, counting)
    text = _WRAPPER.format(
        real=shlex.quote(str(counting)),
        hits=shlex.quote(str(hits)),
        times=_UNLIMITED if times is None else times,
        body=body,
    )
    _install(wrapper, text)
    try:
        yield CommandFault(hits)
    finally:
        # Replaced in one step, since a call may begin at any moment; the copy stays for those that have begun.
        _install(wrapper, counting.read_text())


def lost_answer(
    cluster: SlurmCluster, command: str = "sbatch", *, message: str = TIMED_OUT, status: int = 1, times: int | None = 1
) -> contextlib.AbstractContextManager[CommandFault]:
    """Let the command do its work, and then say only that it failed."""
    body = f"real \"$@\" >/dev/null 2>&1\nprintf '%s\\n' {shlex.quote(message)} >&2\nexit {status}"
    return replaced(cluster, command, body, times=times)


def silent_failure(
    cluster: SlurmCluster, command: str = "sbatch", *, status: int = 1, times: int | None = 1
) -> contextlib.AbstractContextManager[CommandFault]:
    """Let the command do its work, and then exit with ``status`` and without a word."""
    return replaced(cluster, command, f'real "$@" >/dev/null 2>&1\nexit {status}', times=times)


def failing(
    cluster: SlurmCluster, command: str, *, message: str, status: int = 1, times: int | None = None
) -> contextlib.AbstractContextManager[CommandFault]:
    """Let the command fail with the message and do nothing."""
    return replaced(cluster, command, f"printf '%s\\n' {shlex.quote(message)} >&2\nexit {status}", times=times)


def hanging(
    cluster: SlurmCluster, command: str, *, seconds: float, after: bool = False, times: int | None = None
) -> contextlib.AbstractContextManager[CommandFault]:
    """Let the command take longer, before it does its work or ``after`` it (and before it answers)."""
    slow = (
        f'answer=$(real "$@"); status=$?\nsleep {seconds}\nprintf \'%s\\n\' "$answer"\nexit $status'
        if after
        else f'sleep {seconds}\nreal "$@"\nexit $?'
    )
    return replaced(cluster, command, slow, times=times)


def half_answer(
    cluster: SlurmCluster, command: str = "squeue", *, status: int = 0, times: int | None = None
) -> contextlib.AbstractContextManager[CommandFault]:
    """Let the command print half of its answer, cut in the middle of a line; half a line where there is none."""
    body = (
        f'answer=$(real "$@" 2>/dev/null)\n[ -n "$answer" ] || answer="1234567|RUNN"\n'
        f"printf '%.*s' $(( (${{#answer}} + 1) / 2 )) \"$answer\"\nexit {status}"
    )
    return replaced(cluster, command, body, times=times)


def lagging_accounting(
    cluster: SlurmCluster, *, seconds: float, times: int | None = None
) -> contextlib.AbstractContextManager[CommandFault]:
    """Let sacct know nothing of a job until so long after its end, as when slurmdbd is far behind."""
    # $1 of a line is the job's id, with its array index or step; the end of a job that runs is "Unknown".
    body = f"""\
answer=$(real "$@") || exit $?
old=$(SLURM_TIME_FORMAT=%s real --noheader --parsable2 --allocations --allusers --starttime=now-1days \\
  --format=JobID,End | awk -F'|' -v before=$(( $(date +%s) - {seconds:.0f} )) \\
  '$2 ~ /^[0-9]+$/ && $2 <= before {{ sub(/[_+.].*/, "", $1); printf " %s ", $1 }}')
printf '%s\\n' "$answer" | awk -v old="$old" '{{ id = $0; sub(/[^0-9].*/, "", id) }} index(old, " " id " ")'
exit 0"""
    return replaced(cluster, "sacct", body, times=times)


@contextlib.contextmanager
def banner(cluster: SlurmCluster, text: str) -> Iterator[None]:
    """Let the login shell of every new SSH session print ``text`` to standard output before the command runs."""
    place = _faults_directory(cluster)
    (place / "banner").write_text(text + "\n")
    script = place / "login"
    _install(
        script,
        f"#!/bin/sh\ncat {shlex.quote(str(place / 'banner'))}\n"
        'case "$SSH_ORIGINAL_COMMAND" in\n'
        "  internal-sftp) exec /usr/lib/openssh/sftp-server;;\n"
        '  "") exec "$SHELL" -l;;\n'
        '  *) exec "$SHELL" -c "$SSH_ORIGINAL_COMMAND";;\n'
        "esac\n",
    )
    with cluster.sshd_options(f"ForceCommand {script}"):
        yield


@contextlib.contextmanager
def read_only(directory: Path) -> Iterator[None]:
    """Let nothing be written in the directory."""
    if os.geteuid() != 0:
        mode = directory.stat().st_mode
        directory.chmod(0o555)
        try:
            yield
        finally:
            directory.chmod(mode)
        return
    # Permissions don't stop root, who may mount the directory upon itself instead.
    with _mounted(directory, "--bind", str(directory)):
        subprocess.run(["mount", "-o", "remount,bind,ro", directory], check=True, capture_output=True)
        yield


@contextlib.contextmanager
def small_disk(directory: Path, *, kibibytes: int) -> Iterator[None]:
    """Mount a file system of this size on the directory, which hides what is in it.

    Raises:
        PermissionError: this process may not mount, not by sudo without a password either.
    """
    owner = f"uid={os.getuid()},gid={os.getgid()}"
    with _mounted(directory, "-t", "tmpfs", "-o", f"size={kibibytes}k,{owner}", "tmpfs"):
        yield


@contextlib.contextmanager
def _mounted(directory: Path, *arguments: str) -> Iterator[None]:
    by_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    done = subprocess.run([*by_root, "mount", *arguments, directory], capture_output=True, text=True, check=False)
    if done.returncode:
        raise PermissionError(f"nothing can be mounted on {directory}: {done.stderr.strip()}")
    try:
        yield
    finally:
        # Lazily: jobs that were killed may still have their working directory there.
        subprocess.run([*by_root, "umount", "--lazy", directory], check=True, capture_output=True)


def _faults_directory(cluster: SlurmCluster) -> Path:
    place = cluster.directory / "faults"
    place.mkdir(exist_ok=True)
    return place


def _install(path: Path, text: str) -> None:
    new = path.with_name(f".{path.name}.new")
    new.write_text(text)
    new.chmod(0o755)
    new.replace(path)
