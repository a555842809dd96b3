"""Exactly one job for each submission: take ownership, hand the script to sbatch, write the id down.

One locked remote step does it and can be repeated at any time: once the id is written, the step only reads it. The
id is written by the host itself, so a connection that breaks in mid-step loses nothing. Only where sbatch itself gave
no trustworthy answer is the job looked up by its tag, in squeue and in sacct, before anything is sent again.
"""

from __future__ import annotations

import base64
import hashlib
import shlex
from dataclasses import dataclass
from typing import Final

from headnode.cluster.place import JobPlace
from headnode.cluster.procedures import Output, Pause, Procedure, ask, shell
from headnode.cluster.queries import find_by_tag
from headnode.errors import CommandRefused, ControllerUnavailable, OutcomeUnknown, UnreadableAnswer
from headnode.slurm import commands
from headnode.slurm.refusals import Refusal, classify_refusal, message_of, remedy_for
from headnode.ssh.port import Command

# sbatch itself retries for up to two minutes when the controller is busy (src/sbatch/sbatch.c, MAX_RETRIES).
SUBMIT_TIMEOUT_SECONDS: Final = 240.0
EARLIER_JOBS_POLL_SECONDS: Final = 2.0
# Longer than slurmctld's MessageTimeout (10 s by default), after which a lost request can't arrive any more.
SETTLE_SECONDS: Final = 20.0
MAX_ATTEMPTS: Final = 8


@dataclass(frozen=True, kw_only=True)
class SubmitRequest:
    """One job to hand over. ``code`` is a gzipped tar archive that is unpacked where the job runs."""

    place: JobPlace
    script: str
    code: bytes | None = None

    @property
    def code_sha256(self) -> str | None:
        """The content's hash, which names it on the cluster."""
        return hashlib.sha256(self.code).hexdigest() if self.code is not None else None


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """A job that exists. ``adopted`` tells that an earlier step had submitted it already."""

    job_id: str
    directory: str
    adopted: bool


class Superseded(CommandRefused):
    """A later try of the task has taken over; this one must not submit any more."""


# sbatch hands its umask on to the job, which must have the user's own.
_STEP: Final = r"""
mask=$(umask)
umask 077
mkdir -p "$task" 2>/dev/null || { echo "unwritable $task"; return 0; }
exec 9>>"$task/.lock" || { echo "unwritable $task"; return 0; }
flock -w 150 9 || { echo "locked"; return 0; }
trap '' HUP PIPE
touch "$task/owners"
if ! grep -qx "$owner" "$task/owners"; then
  printf '%s\n' "$owner" >> "$task/owners" || { echo "unwritable $task"; return 0; }
elif [ "$(tail -n 1 "$task/owners")" != "$owner" ]; then
  echo "superseded $(tail -n 1 "$task/owners")"; return 0
fi
printf 'directory %s\n' "$job"
if [ -s "$job/job_id" ]; then printf 'adopted %s\n' "$(cat "$job/job_id")"; return 0; fi
earlier=
for other in "$task"/*-*/; do
  other=${other%/}
  case "${other##*/}" in "$owner"-*|'*-*') continue;; esac
  if [ -s "$other/ended" ]; then continue; fi
  if [ -s "$other/job_id" ]; then earlier="$earlier $(cat "$other/job_id")"
  elif [ -s "$other/submitting" ]; then
    echo "unresolved ${other##*/} $(cat "$other/submitting") $(( $(date +%s) - $(stat -c %Y "$other/submitting") ))"
    return 0
  fi
done
if [ -n "$earlier" ]; then
  ids=$(printf '%s' "$earlier" | tr -s ' ' ',' | sed 's/^,//')
  left=$(squeue --noheader --jobs="$ids,$ids" --format=%F 2>"$task/squeue.err")
  status=$?
  if [ $status -ne 0 ]; then printf 'unseen %s\n' "$(tail -c 4000 "$task/squeue.err" | base64 -w0)"; return 0; fi
  left=$(printf '%s\n' "$left" | grep -x '[0-9][0-9]*' | sort -u)
  if [ -n "$left" ]; then scancel $left; echo "earlier" $left; return 0; fi
  for other in "$task"/*-*/; do
    case "$other" in "$task/$owner"-*) ;; *) date +%s > "$other/ended";; esac
  done
fi
attempt=0
if [ -s "$job/submitting" ]; then
  attempt=$(cat "$job/submitting")
  if [ "$attempt" != "$resolved" ]; then
    echo "unresolved $key $attempt $(( $(date +%s) - $(stat -c %Y "$job/submitting") ))"; return 0
  fi
fi
if [ -n "$code" ] && [ ! -d "$root/code/$code" ]; then echo "nocode"; return 0; fi
mkdir -p "$job/work" || { echo "unwritable $job"; return 0; }
if [ -n "$code" ]; then cp -R "$root/code/$code/." "$job/work/" || { echo "unwritable $job"; return 0; }; fi
printf '%s' "$script" > "$job/script.sh" && echo $((attempt + 1)) > "$job/submitting" \
  || { echo "unwritable $job"; return 0; }
cd "$job/work" || return 0
(umask "$mask"; sbatch --parsable --chdir="$job/work" --output="$job/output.log" --open-mode=append \
  --comment="$tag" "$job/script.sh") >"$job/sbatch.out" 2>"$job/sbatch.err" 9>&-
status=$?
id=$(sed -n 's/^\([0-9][0-9]*\)\(;.*\)\{0,1\}$/\1/p' "$job/sbatch.out" | tail -n 1)
if [ $status -eq 0 ] && [ -n "$id" ]; then
  printf '%s\n' "$id" > "$job/job_id.new" && mv "$job/job_id.new" "$job/job_id" && rm -f "$job/submitting"
  printf 'submitted %s\n' "$id"
else
  printf 'refused %s %s %s\n' $((attempt + 1)) "$status" \
    "$(cat "$job/sbatch.out" "$job/sbatch.err" | tail -c 4000 | base64 -w0)"
fi
"""


def submit(request: SubmitRequest, *, settle_seconds: float = SETTLE_SECONDS) -> Procedure[Submitted]:
    """Submit the job of ``request``, or find the one that was submitted before.

    Raises:
        CommandRefused: Slurm or the file system refused; the message says why.
        Superseded: a later try of the task owns its directory.
        ControllerUnavailable: nothing was submitted, the controller does not answer at present.
        OutcomeUnknown: whether a job exists can't be found out.
        TransportError: the connection failed; the procedure may be run again.
    """
    resolved = 0
    for _ in range(MAX_ATTEMPTS):
        reply = yield from _step(request, resolved)
        if isinstance(reply, Submitted):
            return reply
        attempt, said = reply
        if said is not None and (refusal := classify_refusal(said)) is not Refusal.OUTCOME_UNKNOWN:
            yield from _withdraw(request.place, attempt)
            raise _refused(refusal, message_of(said))
        job_id = yield from find_settled(request.place.key, settle_seconds)
        if job_id is not None:
            yield from write_job_id(request.place, request.place.key, job_id)
        resolved = attempt
    raise OutcomeUnknown(
        f"sbatch gave no trustworthy answer {MAX_ATTEMPTS} times, and no job with the tag"
        f" {commands.tag(request.place.key)!r} appeared; look at the cluster before the task is run again"
    )


def _step(request: SubmitRequest, resolved: int) -> Procedure[Submitted | tuple[int, str | None]]:
    """Run the locked step until it says something about this submission: submitted, or (attempt, sbatch's words)."""
    while True:
        output = yield from ask(_step_command(request, resolved))
        replies = dict(line.partition(" ")[::2] for line in output.stdout.splitlines() if line)
        if (job_id := replies.get("submitted") or replies.get("adopted")) is not None:
            adopted = "adopted" in replies
            return Submitted(job_id=job_id, directory=replies["directory"], adopted=adopted)
        if "refused" in replies:
            attempt, _, said = replies["refused"].split(" ", 2)
            return int(attempt), base64.b64decode(said).decode("utf-8", "replace")
        if "unresolved" in replies:
            key, attempt, _ = replies["unresolved"].split()
            if key == request.place.key:
                return int(attempt), None
            yield from _resolve_earlier(request.place, key)
        elif "nocode" in replies:
            yield from _upload_code(request)
        elif "earlier" in replies:
            ids = " ".join(dict.fromkeys(replies["earlier"].split()))
            yield Pause(EARLIER_JOBS_POLL_SECONDS, f"job {ids} of an earlier try is cancelled and has still to end")
        elif "locked" in replies:
            yield Pause(EARLIER_JOBS_POLL_SECONDS, "another process is submitting this task's job")
        else:
            raise _step_error(output, replies)


def _step_command(request: SubmitRequest, resolved: int) -> Command:
    place = request.place
    body = (
        f"{place.shell_variables()}\n"
        f"resolved={resolved} code={request.code_sha256 or ''} tag={shlex.quote(commands.tag(place.key))}\n"
        f"script={shlex.quote(request.script)}\n{_STEP}"
    )
    return shell(body, purpose="submitting the job", timeout_seconds=SUBMIT_TIMEOUT_SECONDS)


def _step_error(output: Output, replies: dict[str, str]) -> Exception:
    if "superseded" in replies:
        return Superseded(
            f"a later try of this task (task instance {replies['superseded']}) has taken over; nothing was submitted"
        )
    if "unwritable" in replies:
        return CommandRefused(
            f"the directory {replies['unwritable']} on the cluster can't be written: {output.stderr.strip()[-300:]}."
            " Check the quota and the connection's work_directory extra"
        )
    if "unseen" in replies:
        said = base64.b64decode(replies["unseen"]).decode("utf-8", "replace")
        return ControllerUnavailable(f"squeue can't tell whether earlier jobs of this task ended: {message_of(said)}")
    return UnreadableAnswer(
        f"the submission step ended with status {output.status} and said"
        f" {(output.stderr or output.stdout).strip()[-300:]!r}"
    )


def _refused(refusal: Refusal, message: str) -> Exception:
    if refusal is Refusal.NOT_SUBMITTED:
        return ControllerUnavailable(f"sbatch: {message}")
    if refusal is Refusal.POLICY:
        return CommandRefused(f"sbatch refused the job for now: {message}; {remedy_for(message)}", kind="policy")
    return CommandRefused(f"sbatch refused the job: {message}; {remedy_for(message)}")


def find_settled(key: str, settle_seconds: float = SETTLE_SECONDS) -> Procedure[str | None]:
    """Look the job of an unclear submission up, a second time when a request under way must have arrived.

    Raises:
        ControllerUnavailable: squeue or sacct failed, so that nothing is known.
    """
    job_id = yield from find_by_tag(key)
    if job_id is None:
        yield Pause(settle_seconds, "sbatch gave no clear answer; looking for the job once more")
        job_id = yield from find_by_tag(key)
    return job_id


def _resolve_earlier(place: JobPlace, key: str) -> Procedure[None]:
    job_id = yield from find_settled(key)
    if job_id is not None:
        yield from write_job_id(place, key, job_id)
    else:
        body = f'{place.shell_variables()}\nrm -f "$task/{shlex.quote(key)}/submitting"'
        yield from ask(shell(body, purpose="closing an earlier submission"))


def write_job_id(place: JobPlace, key: str, job_id: str) -> Procedure[None]:
    """Write the id of a job that was looked up into its directory, where the next step finds it.

    Raises:
        CommandRefused: the directory can't be written.
    """
    body = (
        f"{place.shell_variables()}\njob=$task/{shlex.quote(key)}\numask 077\n"
        f'printf "%s\\n" {shlex.quote(job_id)} > "$job/job_id.new" && mv "$job/job_id.new" "$job/job_id"'
        ' && rm -f "$job/submitting"'
    )
    output = yield from ask(shell(body, purpose="writing down the job's id"))
    if output.status != 0:
        raise CommandRefused(f"job {job_id} runs, but its id can't be written down: {output.stderr.strip()[-300:]}")


def _withdraw(place: JobPlace, attempt: int) -> Procedure[None]:
    """Forget an attempt that is known to have submitted nothing."""
    body = f'{place.shell_variables()}\n[ "$(cat "$job/submitting")" != {attempt} ] || rm -f "$job/submitting"'
    yield from ask(shell(body, purpose="closing a refused submission"))


def _upload_code(request: SubmitRequest) -> Procedure[None]:
    """Put the code under its content's hash; another uploader of the same content does no harm."""
    assert request.code is not None  # noqa: S101 - the step asks for code only where there is some
    body = (
        f"{request.place.shell_variables()}\numask 077\ncode={request.code_sha256}\n"
        'mkdir -p "$root/code" && new=$(mktemp -d "$root/code/.new.XXXXXX") || return 1\n'
        f"printf '%s' {base64.b64encode(request.code).decode()} | base64 -d > \"$new.tgz\" || return 1\n"
        '[ "$(sha256sum < "$new.tgz" | cut -c1-64)" = "$code" ] || return 2\n'
        'tar -xzf "$new.tgz" -C "$new" || return 1\n'
        'rm -f "$new.tgz"\nmv -T "$new" "$root/code/$code" 2>/dev/null || rm -rf "$new"\n[ -d "$root/code/$code" ]'
    )
    output = yield from ask(shell(body, purpose="uploading the code", timeout_seconds=120.0))
    if output.status != 0:
        raise CommandRefused(
            f"the code can't be stored in the connection's work directory: {output.stderr.strip()[-300:]}"
            f" (status {output.status})"
        )
