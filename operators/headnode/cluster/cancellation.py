"""Ending a task's job whatever stage it is in: not yet submitted, being submitted, waiting or running."""

from __future__ import annotations

from typing import Final

from headnode.cluster.place import JobPlace
from headnode.cluster.procedures import Pause, Procedure, ask, shell
from headnode.cluster.queries import cancel
from headnode.cluster.submission import EARLIER_JOBS_POLL_SECONDS, find_settled
from headnode.errors import CommandRefused, UnreadableAnswer

_WITHDRAW: Final = r"""
umask 077
mkdir -p "$task" || return 1
exec 9>>"$task/.lock" || return 1
flock -w 45 9 || { echo locked; return 0; }
touch "$task/owners" || return 1
if grep -qx "$owner" "$task/owners" && [ "$(tail -n 1 "$task/owners")" != "$owner" ]; then
  [ "$(tail -n 1 "$task/owners")" = withdrawn ] || { echo superseded; return 0; }
else
  grep -qx "$owner" "$task/owners" || printf '%s\n' "$owner" >> "$task/owners"
  echo withdrawn >> "$task/owners" || return 1
fi
if [ -s "$job/job_id" ]; then printf 'job %s\n' "$(cat "$job/job_id")"
elif [ -s "$job/submitting" ]; then echo unclear
else echo none; fi
"""


def withdraw(place: JobPlace) -> Procedure[str | None]:
    """Make sure that no job of ``place`` runs or ever will; return the id of the one that was cancelled.

    Where a later try owns the task's directory nothing is done: that try ends the jobs before it.

    Raises:
        CommandRefused: the task's directory can't be written.
        ControllerUnavailable: the job's end could not be verified.
        TransportError: the connection failed; the procedure may be run again.
    """
    while True:
        body = f"{place.shell_variables()}\n{_WITHDRAW}"
        output = yield from ask(shell(body, purpose="withdrawing the job"))
        if output.status != 0:
            raise CommandRefused(f"the job can't be withdrawn: {output.stderr.strip()[-300:]}")
        reply = (output.stdout.split() or [""])[0]
        if reply != "locked":
            break
        yield Pause(EARLIER_JOBS_POLL_SECONDS, "a submission of this task's job is under way")
    if reply in {"none", "superseded"}:
        return None
    if reply not in {"job", "unclear"}:
        raise UnreadableAnswer(f"withdrawing the job: the host said {output.stdout[-300:]!r}")
    job_id = output.stdout.split()[1] if reply == "job" else (yield from find_settled(place.key))
    if job_id is not None:
        yield from cancel([job_id])
    return job_id
