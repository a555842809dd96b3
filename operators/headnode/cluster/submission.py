"""Exactly one job for each submission: take ownership, hand the script to sbatch, write the id down.

One locked remote step does it and can be repeated at any time: once the id is written, the step only reads it. The
id is written by the host itself, so a connection that breaks in mid-step loses nothing. Only where sbatch itself gave
no trustworthy answer is the job looked up by its tag, in squeue and in sacct, before anything is sent again.
"""

from __future__ import annotations

import base64
import hashlib
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from headnode.cluster.place import JobPlace
from headnode.cluster.procedures import Output, Pause, Procedure, ask, shell
from headnode.cluster.queries import find_by_tag
from headnode.cluster.secrets import REMOVE, JobSecrets
from headnode.cluster.submission_step import decode_said, parse_replies, render_step
from headnode.errors import CommandRefused, ControllerUnavailable, OutcomeUnknown, UnreadableAnswer
from headnode.slurm import commands
from headnode.slurm.end_markers import MARKER_NAME, parse_marker
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
    """One job to hand over.

    ``code`` is a gzipped tar archive that is unpacked where the job runs; ``code_sha256`` alone names one that is on
    the cluster already. ``options`` are further arguments of sbatch, which override the script's ``#SBATCH`` lines;
    ``files`` are written into the job's directory by their plain names; an array's elements have logs of their own.
    The last job of a try in ``adopt_owners`` is taken over where it runs the same script; those of all other earlier
    tries are cancelled.
    """

    place: JobPlace
    script: str
    code: bytes | None = None
    code_sha256: str | None = None
    options: tuple[str, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)
    is_array: bool = False
    adopt_owners: tuple[str, ...] = ()
    secrets: JobSecrets | None = None

    def __post_init__(self) -> None:
        """Name the code by its content, and refuse what would lead elsewhere.

        Raises:
            ValueError: a file's name or an owner's is not plain.
        """
        if self.code is not None:
            object.__setattr__(self, "code_sha256", hashlib.sha256(self.code).hexdigest())
        for name in (*self.files, *self.adopt_owners, *filter(None, [self.code_sha256])):
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
                raise ValueError(f"{name!r} must consist of letters, digits, dots and dashes")


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """A job that exists. ``adopted`` tells that an earlier step had submitted it already.

    ``key`` and ``directory`` are an earlier try's where its job was taken over.
    """

    job_id: str
    directory: str
    key: str
    adopted: bool


class Superseded(CommandRefused):
    """A later try of the task has taken over; this one must not submit any more."""


def submit(request: SubmitRequest, *, settle_seconds: float = SETTLE_SECONDS) -> Procedure[Submitted]:
    """Submit the job of ``request``, or find the one that was submitted before.

    Raises:
        CommandRefused: Slurm or the file system refused; the message says why.
        Superseded: a later try of the task owns its directory.
        JobSpecError: Airflow has not given the job's secrets, and it is not submitted yet.
        ControllerUnavailable: nothing was submitted, the controller does not answer at present.
        OutcomeUnknown: whether a job exists can't be found out.
        TransportError: the connection failed; the procedure may be run again.
    """
    resolved = 0
    for _ in range(MAX_ATTEMPTS):
        reply = yield from _step(request, resolved, settle_seconds)
        if isinstance(reply, Submitted):
            return reply
        attempt, said, directory = reply
        if said is not None and (refusal := classify_refusal(said)) is not Refusal.OUTCOME_UNKNOWN:
            yield from _withdraw(request.place, attempt)
            raise _refused(refusal, message_of(said))
        job_id = yield from find_settled(request.place, request.place.key, settle_seconds)
        if job_id is not None:
            try:
                yield from write_job_id(request.place, request.place.key, job_id)
            except CommandRefused:
                # The disk is full, but the job exists: whoever looks for it again finds it by its tag as well.
                return Submitted(job_id=job_id, directory=directory, key=request.place.key, adopted=True)
        resolved = attempt
    raise OutcomeUnknown(
        f"sbatch gave no trustworthy answer {MAX_ATTEMPTS} times, and no job with the tag"
        f" {commands.tag(request.place.key)!r} appeared; look at the cluster before the task is run again"
    )


def _step(
    request: SubmitRequest, resolved: int, settle_seconds: float
) -> Procedure[Submitted | tuple[int, str | None, str]]:
    """Run the locked step until it says something about this submission.

    That it is submitted, or the number of the attempt, sbatch's words and the job's directory.
    """
    while True:
        output = yield from ask(_step_command(request, resolved))
        replies = parse_replies(output.stdout)
        if (job_id := replies.get("submitted") or replies.get("adopted")) is not None:
            adopted = "adopted" in replies
            return Submitted(job_id=job_id, directory=replies["directory"], key=replies["key"], adopted=adopted)
        if "refused" in replies:
            attempt, _, said = replies["refused"].split(" ", 2)
            return int(attempt), decode_said(said), replies["directory"]
        if "unresolved" in replies:
            key, attempt, _ = replies["unresolved"].split()
            if key == request.place.key and "directory" in replies:
                return int(attempt), None, replies["directory"]
            if key == request.place.key:
                raise _step_error(output, {})
            yield from _resolve_earlier(request.place, key, settle_seconds)
        elif "nocode" in replies and request.code is not None:
            yield from _upload_code(request)
        elif "earlier" in replies:
            ids = " ".join(dict.fromkeys(replies["earlier"].split()))
            yield Pause(EARLIER_JOBS_POLL_SECONDS, f"job {ids} of an earlier try is cancelled and has still to end")
        elif "locked" in replies:
            yield Pause(EARLIER_JOBS_POLL_SECONDS, "another process is submitting this task's job")
        else:
            raise _withheld(request, replies) or _step_error(output, replies)


def _step_command(request: SubmitRequest, resolved: int) -> Command:
    body = render_step(
        request.place,
        script=request.script,
        resolved=resolved,
        code_sha256=request.code_sha256,
        options=request.options,
        files=request.files,
        is_array=request.is_array,
        adopt_owners=request.adopt_owners,
        secrets=request.secrets,
    )
    return shell(body, purpose="submitting the job", timeout_seconds=SUBMIT_TIMEOUT_SECONDS)


def _withheld(request: SubmitRequest, replies: Mapping[str, str]) -> Exception | None:
    return request.secrets.refusal if "nosecrets" in replies and request.secrets is not None else None


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
    if "lockless" in replies:
        said = decode_said(replies["lockless"])
        return CommandRefused(
            f"the connection's work directory can't be locked, so that nobody could see to it that one job is"
            f" submitted ({said.strip()}): set the work_directory extra to a file system with flock, e.g. the home"
        )
    if "nocode" in replies:
        return CommandRefused(
            "the code that was staged for this job is not in the connection's work directory any more;"
            " clear the task, so that it is staged again"
        )
    if "unseen" in replies:
        said = decode_said(replies["unseen"])
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


def find_settled(place: JobPlace, key: str, settle_seconds: float = SETTLE_SECONDS) -> Procedure[str | None]:
    """Look the job of an unclear submission up, a second time when a request under way must have arrived.

    A job that slurmctld has forgotten where there is no accounting is known by the marker that it left.

    Raises:
        ControllerUnavailable: squeue or sacct failed, so that nothing is known.
    """
    job_id = yield from find_by_tag(key)
    if job_id is None:
        yield Pause(settle_seconds, "sbatch gave no clear answer; looking for the job once more")
        job_id = yield from find_by_tag(key)
    return job_id or (yield from _find_by_marker(place, key))


def _find_by_marker(place: JobPlace, key: str) -> Procedure[str | None]:
    body = (
        f"{place.shell_variables()}\njob=$task/{shlex.quote(key)}\n"
        f'for file in "$job/{MARKER_NAME}" "$job/{MARKER_NAME}".[0-9]*; do\n'
        '  if [ -s "$file" ]; then cat "$file"; break; fi\ndone; return 0'
    )
    output = yield from ask(shell(body, purpose="looking for the job's own end marker"))
    marker = parse_marker(output.stdout)
    return marker.job_id if marker is not None else None


def _resolve_earlier(place: JobPlace, key: str, settle_seconds: float) -> Procedure[None]:
    job_id = yield from find_settled(place, key, settle_seconds)
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
    body = (
        f'{place.shell_variables()}\nif [ "$(cat "$job/submitting")" = {attempt} ]; then'
        f' rm -f "$job/submitting"; {REMOVE}; fi; return 0'
    )
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
