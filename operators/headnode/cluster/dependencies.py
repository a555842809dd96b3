"""Questions and orders about dependencies between jobs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection

from headnode.cluster.procedures import Procedure, ask, shell
from headnode.errors import CommandRefused, ControllerUnavailable, UnreadableAnswer
from headnode.slurm.dependencies import NEVER_SATISFIED
from headnode.slurm.refusals import Refusal, classify_refusal, message_of

_ID = re.compile(r"([0-9]+)(?:[_+]\S*)?")


def known_jobs(job_ids: Collection[str]) -> Procedure[set[str]]:
    """Return those of ``job_ids`` that slurmctld still knows, ended or not.

    Raises:
        ControllerUnavailable: squeue failed.
        UnreadableAnswer: the answer was cut.
    """
    lines = yield from _ask_squeue(job_ids, "all", "%i", purpose="asking for the jobs that are depended on")
    found = [(line, _ID.fullmatch(line.strip())) for line in lines if line.strip()]
    if unread := [line for line, match in found if match is None]:
        raise UnreadableAnswer(f"squeue's line {unread[0][:200]!r} is no job id")
    return {match[1] for _, match in found if match is not None} & set(job_ids)


def never_satisfied(job_ids: Collection[str]) -> Procedure[dict[str, str]]:
    """Return those of ``job_ids`` that wait in vain, with what squeue says of their dependency: ``afterok:3(failed)``.

    Of a heterogeneous job any component may say so.

    Raises:
        ControllerUnavailable: squeue failed.
        UnreadableAnswer: the answer was cut.
    """
    lines = yield from _ask_squeue(job_ids, "PENDING", "%i|%E|%r", purpose="asking what the job waits for")
    found: dict[str, str] = {}
    for line in filter(None, lines):
        name, dependency, reason = [*line.split("|", 2), "", ""][:3]
        match = _ID.fullmatch(name)
        if match is None or not reason:
            raise UnreadableAnswer(f"squeue's line {line[:200]!r} has not the form that was asked for")
        if reason.startswith(NEVER_SATISFIED) and match[1] in job_ids:
            found[match[1]] = dependency
    return found


def _ask_squeue(job_ids: Collection[str], states: str, form: str, *, purpose: str) -> Procedure[list[str]]:
    # One id is asked for twice, because squeue fails on a single id that it does not know (src/squeue/opts.c).
    ids = ",".join([*sorted(job_ids, key=int), min(job_ids, key=int)])
    command = ["squeue", "--noheader", f"--states={states}", f"--jobs={ids}", f"--format={form}"]
    output = yield from ask(shell(shlex.join(command), purpose=purpose))
    if output.status != 0:
        raise ControllerUnavailable(f"squeue failed: {message_of(output.stderr)}")
    return output.stdout.split("\n")


def set_dependency(job_id: str, dependency: str) -> Procedure[None]:
    """Let a waiting job, all of its elements or components, depend on ``dependency`` from now on; empty is on nothing.

    Raises:
        ControllerUnavailable: the controller does not answer at present; the same may be asked again.
        CommandRefused: Slurm refused; the job waits for what it waited for.
    """
    command = ["scontrol", "update", f"JobId={job_id}", f"Dependency={dependency}"]
    output = yield from ask(shell(shlex.join(command), purpose="changing the job's dependency"))
    if output.status == 0:
        return
    said = message_of(output.stderr or output.stdout)
    if classify_refusal(said) in {Refusal.PERMANENT, Refusal.POLICY}:
        raise CommandRefused(f"the dependency of job {job_id} can't be changed: {said}")
    raise ControllerUnavailable(f"the dependency of job {job_id} could not be changed: {said}")
