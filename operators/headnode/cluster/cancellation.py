"""Ending a task's jobs whatever stage they are in: not yet submitted, being submitted, waiting or running."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection
from typing import Final

from headnode.cluster.place import JobPlace
from headnode.cluster.procedures import Pause, Procedure, ask, shell
from headnode.cluster.queries import AskedJob, queue_snapshot
from headnode.cluster.submission import EARLIER_JOBS_POLL_SECONDS, SETTLE_SECONDS, find_settled
from headnode.errors import CommandRefused, ControllerUnavailable, UnreadableAnswer
from headnode.slurm import commands
from headnode.slurm.refusals import message_of

CANCEL_ATTEMPTS: Final = 5
CANCEL_PAUSE_SECONDS: Final = 2.0
_REPLY: Final = re.compile(
    r"(?:job (?P<key>[A-Za-z0-9-]{1,80}) (?P<job_id>[0-9]{1,10})|unclear (?P<unclear>[A-Za-z0-9-]{1,80}))"
)
_ALREADY_OVER: Final = ("already completing or completed", "already finished", "Invalid job id")

# Every job in the task's directory is listed, also those of tries before this one: a later try may have been ended
# before it could end them.
_WITHDRAW: Final = r"""
umask 077
mkdir -p "$task" || return 1
exec 9>>"$task/.lock" || return 1
flock -w 45 9; case $? in 0) ;; 1) echo locked; return 0;; *) return 1;; esac
touch "$task/owners" || return 1
if grep -qx "$owner" "$task/owners" && [ "$(tail -n 1 "$task/owners")" != "$owner" ]; then
  [ "$(tail -n 1 "$task/owners")" = withdrawn ] || { echo superseded; return 0; }
else
  grep -qx "$owner" "$task/owners" || printf '%s\n' "$owner" >> "$task/owners"
  echo withdrawn >> "$task/owners" || return 1
fi
echo withdrawn
for other in "$task"/*-*/; do
  other=${other%/} name=${other##*/}
  [ ! -d "$root/secrets/$name" ] || rm -rf "$root/secrets/$name"
  [ -d "$other" ] && [ ! -s "$other/ended" ] || continue
  if [ -s "$other/job_id" ]; then
    [ ! -s "$other/adopted" ] || name=$(cat "$other/adopted")
    printf 'job %s %s\n' "$name" "$(cat "$other/job_id")"
  elif [ -s "$other/submitting" ]; then printf 'unclear %s\n' "$name"; fi
done
"""


def withdraw(place: JobPlace, *, settle_seconds: float = SETTLE_SECONDS) -> Procedure[list[str]]:
    """Make sure that no job of this try (or of those before it) runs or ever will; return the ids of those cancelled.

    Where a later try owns the task's directory nothing is done: that try ends the jobs before it.

    Raises:
        CommandRefused: the task's directory can't be written.
        ControllerUnavailable: the jobs' end could not be verified.
        TransportError: the connection failed; the procedure may be run again.
    """
    while True:
        body = f"{place.shell_variables()}\n{_WITHDRAW}"
        output = yield from ask(shell(body, purpose="withdrawing the job"))
        if output.status != 0:
            raise CommandRefused(f"the job can't be withdrawn: {output.stderr.strip()[-300:]}")
        reply, *lines = output.stdout.split("\n")
        if reply != "locked":
            break
        yield Pause(EARLIER_JOBS_POLL_SECONDS, "a submission of this task's job is under way")
    if reply == "superseded":
        return []
    if reply != "withdrawn":
        raise UnreadableAnswer(f"withdrawing the job: the host said {output.stdout[-300:]!r}")
    jobs = {}
    for line in filter(str.strip, lines):
        match = _REPLY.fullmatch(line)
        if match is None:
            raise UnreadableAnswer(f"withdrawing the job: the host said {line[:300]!r}")
        key = match["key"] or match["unclear"]
        job_id = match["job_id"] or (yield from find_settled(place, key, settle_seconds))
        if job_id is not None:
            jobs[job_id] = AskedJob(job_id=job_id, key=key)
    return (yield from cancel(list(jobs.values()))) if jobs else []


def cancel(
    jobs: Collection[AskedJob] | Collection[str],
    *,
    attempts: int = CANCEL_ATTEMPTS,
    pause_seconds: float = CANCEL_PAUSE_SECONDS,
) -> Procedure[list[str]]:
    """Cancel ``jobs`` and see that they are gone, or are ending, in squeue; return the ids of those that were there.

    Only what squeue shows is cancelled, and of jobs with a key only what is theirs: job ids come round again.

    Raises:
        ControllerUnavailable: the jobs are still in the queue, or nothing is known, after ``attempts``.
    """
    asked = {
        job.job_id: job for job in (each if isinstance(each, AskedJob) else AskedJob(job_id=each) for each in jobs)
    }
    cancelled: dict[str, None] = {}
    trouble = "scancel was accepted, but the job is still in the queue"
    for attempt in range(attempts + 1):
        if attempt > 1:
            yield Pause(pause_seconds, "the cancelled job is still in the queue")
        try:
            seen = yield from queue_snapshot(list(asked.values()))
        except (ControllerUnavailable, UnreadableAnswer) as error:
            trouble = str(error)
            continue
        left = [job_id for job_id, entry in seen.entries.items() if set(entry.counts) != {"COMPLETING"}]
        if not left:
            return list(cancelled)
        if attempt == attempts:
            break
        cancelled |= dict.fromkeys(left)
        done = yield from ask(shell(shlex.join(commands.scancel(left)), purpose="cancelling"))
        if done.status != 0 and not any(mark in done.stderr for mark in _ALREADY_OVER):
            trouble = message_of(done.stderr)
    raise ControllerUnavailable(f"cancelling {', '.join(asked)} could not be verified: {trouble}")
